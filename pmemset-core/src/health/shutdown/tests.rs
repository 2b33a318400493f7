//! The record's bytes, the complete truth table, and the limits of ids.

use proptest::prelude::*;

use super::*;

impl ShutdownRecord {
    /// Returns the record of a device, with nothing mapped.
    pub(crate) fn of(id: &DeviceId, unsafe_shutdowns: u64) -> Self {
        let mut record = Self::new();
        record.become_that_of(id, unsafe_shutdowns);
        record
    }
}

fn id(text: &[u8]) -> DeviceId {
    let mut id = DeviceId::new();
    id.push(text).unwrap();
    id
}

/// A record as the C library's compiler lays it out on x86-64.
fn c_bytes(text: &[u8], count: u64, references: i32) -> [u8; ShutdownRecord::BYTES] {
    let mut bytes = [0; ShutdownRecord::BYTES];
    bytes[..text.len()].copy_from_slice(text);
    bytes[520..528].copy_from_slice(&count.to_le_bytes());
    bytes[528..532].copy_from_slice(&references.to_le_bytes());
    bytes
}

fn record(text: &[u8], count: u64, references: i32) -> ShutdownRecord {
    ShutdownRecord::from_bytes(&c_bytes(text, count, references))
}

#[test]
fn layout_is_the_c_librarys() {
    let record = record(b"8089-a2-1834-00001234", 0x0102_0304_0506_0708, -2);
    assert_eq!(record.device_id(), b"8089-a2-1834-00001234");
    assert_eq!((record.unsafe_shutdowns(), record.references()), (0x0102_0304_0506_0708, -2));
    let bytes = record.to_bytes();
    assert_eq!(bytes, c_bytes(b"8089-a2-1834-00001234", 0x0102_0304_0506_0708, -2));
    assert_eq!(&bytes[520..532], [8, 7, 6, 5, 4, 3, 2, 1, 0xfe, 0xff, 0xff, 0xff]);
    assert_eq!(ShutdownRecord::new().to_bytes(), [0; ShutdownRecord::BYTES]);
}

#[test]
fn ids_of_511_bytes_fit_and_no_more() {
    let mut longest = id(&[b'x'; 511]);
    assert_eq!(longest.push(b"y"), Err(DeviceError::IdTooLong));
    assert_eq!(longest.as_bytes(), [b'x'; 511]);
    assert_eq!(DeviceId::new().push(&[b'x'; 512]), Err(DeviceError::IdTooLong));
    assert_eq!(DeviceId::new().push(b"a\0b"), Err(DeviceError::IdTooLong), "would equal the id `a`");
    let mut two = id(&[b'x'; 510]);
    two.push(b"y").unwrap();
    let record = ShutdownRecord::of(&two, 7);
    assert_eq!(record.device_id(), two.as_bytes());
    assert!(!record.judge(0, &two, 7).id_changed);
    assert!(record.judge(0, &id(&[b'x'; 510]), 7).id_changed);
}

#[test]
fn id_without_an_end_is_no_devices() {
    let mut bytes = c_bytes(&[b'x'; 513], 7, 0);
    bytes[513..520].fill(0xee);
    let record = ShutdownRecord::from_bytes(&bytes);
    assert!(record.judge(0, &id(&[b'x'; 511]), 7).id_changed);
    assert_eq!(record.to_bytes()[..513], bytes[..513]);
    assert_eq!(record.to_bytes()[513..520], [0; 7]);
}

type Row = (&'static [i32], &'static [u32], &'static [bool], &'static [bool], PartState);

/// Specification 3.3: references, mapped by this process, same id, same count → state.
#[rustfmt::skip]
const TABLE: &[Row] = {
    const ANY_R: &[i32] = &[1, 2, i32::MAX];
    const NEGATIVE: &[i32] = &[-1, i32::MIN];
    const ANY_U: &[u32] = &[0, 1, u32::MAX];
    const SOME: &[u32] = &[1, u32::MAX];
    const ANY: &[bool] = &[true, false];
    &[
        (&[0],     ANY_U, ANY,      ANY,      PartState::Ok),
        (ANY_R,    SOME,  &[true],  &[true],  PartState::OkButAlreadyOpen),
        (ANY_R,    &[0],  &[true],  &[true],  PartState::OkButInterrupted),
        (ANY_R,    ANY_U, &[true],  &[false], PartState::Corrupted),
        (ANY_R,    ANY_U, &[false], ANY,      PartState::Indeterminate),
        (NEGATIVE, ANY_U, &[true],  &[true],  PartState::Ok),
        (NEGATIVE, ANY_U, &[true],  &[false], PartState::Corrupted),
        (NEGATIVE, ANY_U, &[false], ANY,      PartState::Indeterminate),
    ]
};

#[test]
fn truth_table_is_complete() {
    let mut rows = 0;
    for (references, mapped, same_id, same_count, state) in TABLE {
        for references in *references {
            for mapped in *mapped {
                for same_id in *same_id {
                    for same_count in *same_count {
                        let record = record(if *same_id { b"me" } else { b"other" }, 5, *references);
                        let current = if *same_count { 5 } else { 4 };
                        let verdict = record.judge(*mapped, &id(b"me"), current);
                        assert_eq!(verdict.state, *state, "{record:?}, {mapped} mapped");
                        assert_eq!((verdict.stored_count, verdict.current_count), (5, current));
                        assert_eq!((verdict.id_changed, verdict.references), (!same_id, *references));
                        rows += 1;
                    }
                }
            }
        }
    }
    // Every combination of 6 reference counts, 3 of mappings, id and count, once each.
    assert_eq!(rows, 6 * 3 * 2 * 2);
}

#[test]
fn states_have_bits_and_an_order() {
    use PartState::*;
    let worst_last = [Ok, OkButAlreadyOpen, OkButInterrupted, Indeterminate, Corrupted];
    for (rank, state) in worst_last.into_iter().enumerate() {
        assert_eq!(usize::from(state.severity()), rank);
        assert!(PartStates::from_bits(state as u64).unwrap().accepts(state));
        assert_eq!(state.worse(Corrupted), Corrupted);
        assert_eq!(Ok.worse(state), state);
    }
    let default: Vec<PartState> = worst_last.into_iter().filter(|state| PartStates::DEFAULT.accepts(*state)).collect();
    assert_eq!(default, [Ok, OkButAlreadyOpen]);
    assert_eq!(PartStates::all().bits(), 0x1f);
    assert_eq!(PartStates::from_bits(0x20), None);
}

proptest! {
    #[test]
    fn bytes_are_kept_but_for_the_padding(bytes in prop::collection::vec(any::<u8>(), ShutdownRecord::BYTES)) {
        let mut bytes: [u8; ShutdownRecord::BYTES] = bytes.try_into().unwrap();
        let record = ShutdownRecord::from_bytes(&bytes);
        bytes[513..520].fill(0);
        bytes[532..].fill(0);
        prop_assert_eq!(record.to_bytes(), bytes);
        prop_assert_eq!(ShutdownRecord::from_bytes(&bytes), record);
    }

    #[test]
    fn any_bytes_have_a_state(bytes in prop::collection::vec(any::<u8>(), ShutdownRecord::BYTES), mapped: u32, count: u64) {
        let record = ShutdownRecord::from_bytes(&bytes.try_into().unwrap());
        let verdict = record.judge(mapped, &id(b"8089"), count);
        prop_assert_eq!(verdict.state == PartState::Indeterminate, record.references() != 0);
    }
}
