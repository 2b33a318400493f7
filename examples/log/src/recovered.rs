//! What opening a log has found.

/// What opening a log has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Whether there was none, and one was made.
    pub made: bool,
    /// The sequence number of the oldest record.
    pub first: u64,
    /// The sequence number behind that of the newest record.
    pub next: u64,
    /// Whether what was behind the newest record was erased: records that a power cut has torn, that were truncated,
    /// or, with [`OnDamage::CutThere`](crate::OnDamage::CutThere), are damaged.
    pub erased: bool,
    /// The record behind the newest one, which is damaged or missing, with
    /// [`OnDamage::CutThere`](crate::OnDamage::CutThere).
    pub damaged: Option<u64>,
}
