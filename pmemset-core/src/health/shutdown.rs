//! Shutdown state: whether stores of an earlier run may have been lost, judged by a record that the caller stores.

use bitflags::bitflags;

use super::error::{Counted, DeviceError};

const ID_FIELD_BYTES: usize = 513;
const COUNT_AT: usize = 520;
const REFERENCES_AT: usize = 528;

/// The identity of the memory behind a source: the ids of its modules, one after the other.
///
/// ```
/// use pmemset_core::DeviceId;
///
/// let mut id = DeviceId::new();
/// id.push(b"8089-a2-1234")?;
/// id.push(b"8089-a2-1235")?; // interleaved with another module
/// assert_eq!(id.as_bytes(), b"8089-a2-12348089-a2-1235");
/// # Ok::<(), pmemset_core::error::DeviceError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct DeviceId {
    // As in the record: a NUL behind the last byte.
    bytes: [u8; DeviceId::BYTES_MAX],
    length_bytes: usize,
}

impl DeviceId {
    /// The longest id in bytes; libpmemset's 512 include a NUL.
    #[doc(alias = "PMEMSET_SDS_DEVICE_ID_LEN")]
    pub const BYTES_MAX: usize = 511;

    /// Returns the empty id, which no device has.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: [0; Self::BYTES_MAX], length_bytes: 0 }
    }

    /// Makes the id empty.
    pub const fn clear(&mut self) {
        *self = Self::new();
    }

    /// Appends the id of one more module.
    ///
    /// ```
    /// use pmemset_core::DeviceId;
    /// use pmemset_core::error::DeviceError;
    ///
    /// let mut id = DeviceId::new();
    /// assert_eq!(id.push(&[b'a'; 512]), Err(DeviceError::IdTooLong));
    /// assert!(id.as_bytes().is_empty());
    /// ```
    ///
    /// # Errors
    ///
    /// - [`DeviceError::IdTooLong`]: it does not fit, or holds a byte that is 0; nothing is appended.
    pub fn push(&mut self, module: &[u8]) -> Result<(), DeviceError> {
        let end = self.length_bytes.saturating_add(module.len());
        match self.bytes.get_mut(self.length_bytes..end) {
            Some(free) if module.iter().all(|byte| *byte != 0) => {
                free.iter_mut().zip(module).for_each(|(to, from)| *to = *from);
                self.length_bytes = end;
                Ok(())
            }
            _ => Err(DeviceError::IdTooLong),
        }
    }

    /// Returns the id.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length_bytes).unwrap_or_default()
    }
}

impl Default for DeviceId {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "DeviceId({})", self.as_bytes().escape_ascii())
    }
}

/// Returns the `L` bytes of a record from `at` on.
fn field<const L: usize>(bytes: &[u8; ShutdownRecord::BYTES], at: usize) -> [u8; L] {
    bytes.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; L])
}

/// Sets the bytes of a record from `at` on.
fn put<const L: usize>(bytes: &mut [u8; ShutdownRecord::BYTES], at: usize, field: &[u8; L]) {
    if let Some(place) = bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *place = *field;
    }
}

/// The shutdown data state of a source (`struct pmemset_sds`), which the caller stores from one run to the next.
///
/// A new one is all zeros. [`to_bytes`](Self::to_bytes) has libpmemset's layout on LP64, little-endian: each library
/// can read the other's records.
///
/// ```
/// use pmemset_core::ShutdownRecord;
///
/// let record = ShutdownRecord::new(); // of a source that was never mapped
/// assert_eq!(ShutdownRecord::from_bytes(&record.to_bytes()).references(), 0);
/// ```
#[doc(alias = "pmemset_sds")]
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ShutdownRecord {
    id: [u8; ID_FIELD_BYTES],
    unsafe_shutdowns: u64,
    references: i32,
}

impl ShutdownRecord {
    /// The length of a record in bytes, as libpmemset lays it out (`struct pmemset_sds` on LP64).
    pub const BYTES: usize = 536;

    /// Returns the record of a source that has never been mapped (`PMEMSET_SDS_INITIALIZE`).
    #[doc(alias = "PMEMSET_SDS_INITIALIZE")]
    #[must_use]
    pub const fn new() -> Self {
        Self { id: [0; ID_FIELD_BYTES], unsafe_shutdowns: 0, references: 0 }
    }

    /// Returns the record in libpmemset's layout; padding is 0.
    ///
    /// ```
    /// let bytes = pmemset_core::ShutdownRecord::new().to_bytes(); // to be kept on another medium
    /// assert_eq!(bytes.len(), 536);
    /// ```
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        put(&mut bytes, 0, &self.id);
        put(&mut bytes, COUNT_AT, &self.unsafe_shutdowns.to_le_bytes());
        put(&mut bytes, REFERENCES_AT, &self.references.to_le_bytes());
        bytes
    }

    /// Returns the record that was written with [`to_bytes`](Self::to_bytes), or by libpmemset.
    ///
    /// Any bytes are a record. A damaged one does not have the device's id, so it is judged as another device's.
    ///
    /// ```
    /// let record = pmemset_core::ShutdownRecord::from_bytes(&[0; 536]);
    /// assert!(record.device_id().is_empty());
    /// ```
    #[must_use]
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let count = u64::from_le_bytes(field(bytes, COUNT_AT));
        Self {
            id: field(bytes, 0),
            unsafe_shutdowns: count,
            references: i32::from_le_bytes(field(bytes, REFERENCES_AT)),
        }
    }

    /// Returns the id of the device for which the record was made; empty in a new record.
    #[must_use]
    pub fn device_id(&self) -> &[u8] {
        self.id.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// Returns the unsafe shutdown count of the device when the record was made.
    #[must_use]
    pub const fn unsafe_shutdowns(&self) -> u64 {
        self.unsafe_shutdowns
    }

    /// Returns the number of mappings that the record counts; 0 after everything was flushed and unmapped.
    #[must_use]
    pub const fn references(&self) -> i32 {
        self.references
    }

    /// Judges the record against the device, by libpmemset's rules.
    ///
    /// `mapped` is the number of mappings that this process has of the source. Every record has a state.
    ///
    /// ```
    /// use pmemset_core::{DeviceId, PartState, ShutdownRecord};
    ///
    /// let mut id = DeviceId::new();
    /// id.push(b"8089-a2-1234")?;
    /// assert_eq!(ShutdownRecord::new().judge(0, &id, 3).state, PartState::Ok); // used for the first time
    /// # Ok::<(), pmemset_core::error::DeviceError>(())
    /// ```
    #[must_use]
    pub fn judge(&self, mapped: u32, id: &DeviceId, unsafe_shutdowns: u64) -> ShutdownVerdict {
        // An id has no zero in it, and in the record there is one behind it.
        let id_changed = self.id.strip_prefix(id.as_bytes()).is_none_or(|rest| rest.first() != Some(&0));
        let count_changed = self.unsafe_shutdowns != unsafe_shutdowns;
        let state = match (self.references, id_changed, count_changed) {
            (0, _, _) => PartState::Ok,
            (_, true, _) => PartState::Indeterminate,
            (_, false, true) => PartState::Corrupted,
            // Fewer than none is a damaged record of a source that was not counted as mapped.
            (i32::MIN..0, false, false) => PartState::Ok,
            (_, false, false) if mapped > 0 => PartState::OkButAlreadyOpen,
            (_, false, false) => PartState::OkButInterrupted,
        };
        ShutdownVerdict {
            state,
            stored_count: self.unsafe_shutdowns,
            current_count: unsafe_shutdowns,
            id_changed,
            references: self.references,
            mapped,
        }
    }

    /// Makes it the record of a device with nothing mapped: in place, because a second one on the stack would be a
    /// quarter of what a call may take.
    pub(crate) fn become_that_of(&mut self, id: &DeviceId, unsafe_shutdowns: u64) {
        self.id.fill(0);
        self.id.iter_mut().zip(id.as_bytes()).for_each(|(to, from)| *to = *from);
        self.unsafe_shutdowns = unsafe_shutdowns;
        self.references = 0;
    }

    /// Sets the number of mappings.
    pub(crate) fn set_references(&mut self, mappings: u32) {
        self.references = i32::try_from(mappings).unwrap_or(i32::MAX);
    }
}

impl Default for ShutdownRecord {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for ShutdownRecord {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "ShutdownRecord {{ device_id: {}, unsafe_shutdowns: {}, references: {} }}",
            self.device_id().escape_ascii(),
            self.unsafe_shutdowns,
            self.references
        )
    }
}

/// What may have happened to the bytes of a part since they were last known to be complete (`enum pmemset_part_state`).
///
/// The numbers are libpmemset's; [`severity`](Self::severity) puts the states in order.
///
/// ```
/// use pmemset_core::PartState;
///
/// let advice = |state| match state {
///     PartState::Ok | PartState::OkButAlreadyOpen => "go on",
///     PartState::OkButInterrupted => "recover, as after a crash of the program",
///     PartState::Indeterminate | PartState::Corrupted => "restore a copy, or check every byte",
/// };
/// assert_eq!(advice(PartState::Ok), "go on");
/// ```
#[doc(alias = "pmemset_part_state")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum PartState {
    /// The memory is on another device, and the record was in use on the old one.
    #[doc(alias = "PMEMSET_PART_STATE_INDETERMINATE")]
    Indeterminate = 1,
    /// All stores were flushed and the source unmapped; or it is used for the first time.
    #[doc(alias = "PMEMSET_PART_STATE_OK")]
    Ok = 2,
    /// This process has mapped the source already.
    #[doc(alias = "PMEMSET_PART_STATE_OK_BUT_ALREADY_OPEN")]
    OkButAlreadyOpen = 4,
    /// The source was not unmapped, and the device has lost nothing: the process has ended without unmapping.
    #[doc(alias = "PMEMSET_PART_STATE_OK_BUT_INTERRUPTED")]
    OkButInterrupted = 8,
    /// The source was not unmapped, and the device has lost power in a way that may have lost stores.
    #[doc(alias = "PMEMSET_PART_STATE_CORRUPTED")]
    Corrupted = 16,
}

impl core::fmt::Display for PartState {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Indeterminate => "indeterminate",
            Self::Ok => "ok",
            Self::OkButAlreadyOpen => "ok but already open",
            Self::OkButInterrupted => "ok but interrupted",
            Self::Corrupted => "corrupted",
        })
    }
}

impl PartState {
    /// Returns the rank of the state, 0 for the best.
    ///
    /// ```
    /// use pmemset_core::PartState;
    ///
    /// assert!(PartState::Corrupted.severity() > PartState::OkButInterrupted.severity());
    /// ```
    #[must_use]
    pub const fn severity(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::OkButAlreadyOpen => 1,
            Self::OkButInterrupted => 2,
            Self::Indeterminate => 3,
            Self::Corrupted => 4,
        }
    }

    /// Returns the worse of two states.
    ///
    /// ```
    /// use pmemset_core::PartState;
    ///
    /// assert_eq!(PartState::Ok.worse(PartState::Corrupted), PartState::Corrupted);
    /// ```
    #[must_use]
    pub const fn worse(self, other: Self) -> Self {
        if other.severity() > self.severity() { other } else { self }
    }
}

bitflags! {
    /// The states that a set accepts (`pmemset_config_set_acceptable_states`), libpmemset's bits.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct PartStates: u64 {
        /// [`PartState::Indeterminate`]
        const INDETERMINATE = 1;
        /// [`PartState::Ok`]
        const OK = 2;
        /// [`PartState::OkButAlreadyOpen`]
        const OK_BUT_ALREADY_OPEN = 4;
        /// [`PartState::OkButInterrupted`]
        const OK_BUT_INTERRUPTED = 8;
        /// [`PartState::Corrupted`]
        const CORRUPTED = 16;
    }
}

impl Default for PartStates {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl PartStates {
    /// The states that a set accepts by default.
    pub const DEFAULT: Self = Self::OK.union(Self::OK_BUT_ALREADY_OPEN);

    /// Returns whether `state` is one of them.
    ///
    /// ```
    /// use pmemset_core::{PartState, PartStates};
    ///
    /// assert!(PartStates::DEFAULT.accepts(PartState::Ok));
    /// assert!(!PartStates::DEFAULT.accepts(PartState::OkButInterrupted));
    /// ```
    #[must_use]
    pub const fn accepts(self, state: PartState) -> bool {
        self.bits() & state as u64 != 0
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for PartStates {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "PartStates({=u64:05b})", self.bits());
    }
}

/// The state of a part, and the facts that it was judged by.
///
/// ```
/// use pmemset_core::{DeviceId, ShutdownRecord};
///
/// let mut id = DeviceId::new();
/// id.push(b"module")?;
/// let verdict = ShutdownRecord::new().judge(0, &id, 3);
/// assert!(verdict.to_string().starts_with("shutdown state ok"));
/// # Ok::<(), pmemset_core::error::DeviceError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct ShutdownVerdict {
    /// The state.
    pub state: PartState,
    /// The unsafe shutdown count in the record.
    pub stored_count: u64,
    /// The unsafe shutdown count of the device.
    pub current_count: u64,
    /// Whether the record was made on another device.
    pub id_changed: bool,
    /// The mappings that the record counts: not 0 where it was in use.
    pub references: i32,
    /// The mappings of this source that this process has now.
    pub mapped: u32,
}

#[cfg(feature = "defmt")]
crate::code::as_it_is!(ShutdownVerdict);

impl core::fmt::Display for ShutdownVerdict {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { state, stored_count, current_count, id_changed, references, .. } = *self;
        let open = Counted(references.into(), "open mapping");
        write!(f, "shutdown state {state}: the record has {open}, the unsafe shutdown count was {stored_count} ")?;
        write!(f, "and is {current_count}{}", if id_changed { ", on another device" } else { "" })
    }
}

#[cfg(test)]
mod tests;
