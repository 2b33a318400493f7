//! Who holds a lock, as one number.

/// The holders of a lock while a writer is the only one; otherwise they are its readers, and [`WAITING`].
pub(super) const WRITER: u32 = u32::MAX;
/// Whether a writer waits for the readers to go.
pub(super) const WAITING: u32 = 1 << 31;

/// Returns the holders with one reader more, if a reader may come in: no writer is there, or waits, and as many as can
/// be counted.
pub(super) fn one_reader_more(holders: u32) -> Option<u32> {
    (holders < WAITING.wrapping_sub(1)).then_some(holders.wrapping_add(1))
}

/// Returns the holders with a writer, if one may come in.
pub(super) fn writer_alone(holders: u32) -> Option<u32> {
    (holders & !WAITING == 0).then_some(WRITER)
}
