//! Where a table keeps what it has.

/// The arrays of a table: two keys, two values and 32 bits of words for each entry that there is room for.
///
/// While a table is empty it does not matter what is in them.
pub(crate) trait Cells {
    /// What is kept beside a key.
    type Value;
    /// What a key is kept in.
    type Key;
    /// What a value is kept in.
    type Kept;
    /// What a word of an inner node is kept in.
    type Word;

    /// The most entries that such arrays ever have room for, known when it is compiled: where one leaf has all entries,
    /// there is no code for other nodes.
    const MOST: usize;

    /// Returns how many entries there is room for.
    fn room(&self) -> usize;

    fn keys(&self) -> &[Self::Key];
    fn values(&self) -> &[Self::Kept];
    fn rows(&self) -> &[Self::Word];

    // What is in one of these, got by way of `self`.
    fn key_in(cell: &Self::Key) -> usize;
    fn value_in(cell: &Self::Kept) -> Self::Value;
    fn word_in(cell: &Self::Word) -> usize;
}

/// Arrays that can be changed.
pub(crate) trait CellsMut: Cells {
    fn set_key(&mut self, at: usize, key: usize);
    fn set_value(&mut self, at: usize, value: Self::Value);
    fn set_row(&mut self, at: usize, word: usize);

    /// Copies `count` keys and values from `from` on to `to` on, as if by way of elsewhere; nothing if they are not all
    /// inside.
    fn shift_entries(&mut self, from: usize, to: usize, count: usize);
    /// Copies words so.
    fn shift_rows(&mut self, from: usize, to: usize, count: usize);
}
