//! Both explorations side by side, where the environment asks for it: the rows of the table in DESIGN.md.

use std::time::Instant;

use pmemset_core::sim::{Explore, Explored, Failure, Machine};

/// Explores; with `EAGERLY` in the environment also every state, in samples of `states_max`, and prints both.
pub(crate) fn compared<W, C>(
    name: &str,
    states_max: usize,
    explore: Explore,
    work: W,
    check: C,
) -> Result<Explored, Failure>
where
    W: Fn(&Machine),
    C: Fn(&Machine) -> Result<(), String>,
{
    let clock = Instant::now();
    let explored = explore.run(&work, &check);
    let seconds = clock.elapsed().as_secs_f64();
    if let (Ok(explored), true) = (&explored, std::env::var_os("EAGERLY").is_some()) {
        let clock = Instant::now();
        let eager = explore.eagerly(states_max, work, check).expect("the same verdict");
        let eager_seconds = clock.elapsed().as_secs_f64();
        println!("ROW {name}: {eager}, {eager_seconds:.3} s | {explored}, {seconds:.3} s");
    }
    explored
}
