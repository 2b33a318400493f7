//! Where a table keeps what it has.

/// The arrays of a table: two keys, two values and a word of 32 bits for each entry that there is room for.
///
/// While a table is empty it does not matter what is in them.
pub(crate) trait Cells {
    /// What is kept beside a key.
    type Value;

    /// The most entries that such arrays ever have room for, known when it is compiled: where one leaf has all entries,
    /// there is no code for other nodes.
    const MOST: usize;

    fn keys(&self) -> &[usize];
    fn keys_mut(&mut self) -> &mut [usize];
    fn values(&self) -> &[Self::Value];
    fn values_mut(&mut self) -> &mut [Self::Value];
    /// As many as there is room for entries.
    fn rows(&self) -> &[u32];
    fn rows_mut(&mut self) -> &mut [u32];
}
