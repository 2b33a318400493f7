//! What errors say: everything, and each thing once.

use core::error::Error;
use core::fmt::Write as _;

use pmemset_core::error::{
    BadBlocksError, ClearError, DeepFlushError, DeviceError, EmptyRange, LookupError, MapError, MapFailure,
    McsafeError, PersistError, PrepareError, RemoveError, RepairError, ReservationError, ReserveError,
};
use pmemset_core::{DeviceId, Errno, Extent, Granularity, GranularityLimit, PartState, ShutdownRecord, Span, code};

const CAUSE: Errno = Errno::NXIO;

fn window() -> Extent {
    Extent::new(0x4000, 0x1000).unwrap()
}

/// Prints an error with what it says of its causes, as programs and reporters do.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        write!(text, ": {error}").unwrap();
        cause = error.source();
    }
    text
}

/// One of each error that has a cause.
fn with_a_cause() -> Vec<(Box<dyn Error>, i32)> {
    macro_rules! each {
        ($($error:expr),+ $(,)?) => {
            vec![$({
                let error = $error;
                (Box::new(error) as Box<dyn Error>, error.code())
            }),+]
        };
    }
    let (segment, cause) = (window(), CAUSE);
    let persist = PersistError::Sync { segment, cause };
    each![
        BadBlocksError::NoBounds(cause),
        BadBlocksError::Failed(cause),
        ClearError::Failed(cause),
        ClearError::Unknown(BadBlocksError::Failed(cause)),
        DeviceError::Failed(cause),
        McsafeError::Failed(cause),
        persist,
        PersistError::FailedBefore { segment, cause },
        DeepFlushError::Persist(persist),
        DeepFlushError::Failed { segment, cause },
        MapFailure::Refused(cause),
        MapFailure::Outdated(cause),
        MapFailure::WindowLost(cause),
        MapError::AddressSpace { cause },
        MapError::Source { cause },
        MapError::CannotGrow { needed_bytes: 1, cause },
        MapError::FailedBefore { cause },
        MapError::Map { window: segment, cause },
        MapError::WindowLost { window: segment, cause },
        MapError::BadBlocksUnknown { reason: BadBlocksError::NoBounds(cause) },
        PrepareError::Length(cause),
        PrepareError::CannotGrow(cause),
        RemoveError::DeepFlush { segment, cause },
        RemoveError::FailedBefore { segment, cause },
        RemoveError::Unmap { segment, removed: Some(segment), cause },
        RepairError::Device(DeviceError::Failed(cause)),
        ReserveError::Failed(cause),
        ReservationError::AddressSpace { cause: ReserveError::Failed(cause) },
        ReservationError::Release { cause },
    ]
}

#[test]
fn an_error_says_its_cause_once() {
    for (error, code) in with_a_cause() {
        let text = chain(error.as_ref());
        assert_eq!(text.matches(&CAUSE.to_string()).count(), 1, "{text}");
        assert!(code == CAUSE.code() || code::name(code).is_some(), "{text}: {code}");
    }
}

#[test]
fn refusals_name_the_way_out() {
    let interrupted = {
        let mut bytes = ShutdownRecord::new().to_bytes();
        bytes[0] = b'd';
        bytes[528] = 1;
        ShutdownRecord::from_bytes(&bytes)
    };
    let mut id = DeviceId::new();
    id.push(b"d").unwrap();
    let verdict = interrupted.judge(0, &id, 4);
    assert_eq!(verdict.state, PartState::Corrupted);
    let (required, available) = (Granularity::Byte, Granularity::Page);
    let says: &[(MapError, &[&str])] = &[
        (
            MapError::UndesirablePartState { verdict },
            &["corrupted", "1 open mapping,", "was 0 and is 4", "repair_shutdown_state", "Config::acceptable_states"],
        ),
        (MapError::CannotCoalesce { at: 0x5000 }, &["0x5000", "alignment", "Config::reserve_ahead"]),
        (
            MapError::GranularityNotSupported { required, available, limit: GranularityLimit::NoDax },
            &["byte granularity", "page granularity only", "mounted with DAX", "MAP_SYNC"],
        ),
        (
            MapError::GranularityNotSupported { required, available, limit: GranularityLimit::NoWriteBack },
            &["cannot write back cache lines"],
        ),
        (MapError::LengthUnset, &["set a length"]),
        (MapError::BadBlock { block: Span::new(512, 512).unwrap() }, &["0x200..0x400", "clear"]),
    ];
    for (error, pieces) in says {
        let text = error.to_string();
        assert!(pieces.iter().all(|piece| text.contains(piece)), "{text}");
    }
    let mappings = [(1, "1 mapping:"), (2, "2 mappings:")];
    assert!(mappings.iter().all(|(mapped, text)| RepairError::InUse { mapped: *mapped }.to_string().contains(text)));
    let part = window();
    let removed = RemoveError::Unmap { segment: part, removed: None, cause: CAUSE };
    assert_eq!(removed.to_string(), format!("cannot unmap {part}: {CAUSE}"));
    assert_eq!(LookupError::NotMapped { address: 7 }.to_string(), "no part of the set has the address 0x7");
    assert_eq!(EmptyRange.to_string(), "the range is empty");
}
