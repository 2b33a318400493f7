//! pmemset programs for an ordinary Linux process: see `src/bin`.
