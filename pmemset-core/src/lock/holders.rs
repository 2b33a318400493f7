//! Who holds a lock, as one number.

/// The holders of a lock while a writer is the only one; otherwise they are its readers.
pub(super) const WRITER: u32 = u32::MAX;

/// Returns the holders with one reader more, if a reader may come in: as many as can be counted.
pub(super) fn one_reader_more(holders: u32) -> Option<u32> {
    holders.checked_add(1).filter(|more| *more != WRITER)
}

/// Returns the holders with a writer, if one may come in.
pub(super) fn writer_alone(holders: u32) -> Option<u32> {
    (holders == 0).then_some(WRITER)
}
