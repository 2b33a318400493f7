//! `defmt::Format` where it cannot be derived: defmt cuts `usize` to 32 bits, and what a lock guards is not logged.

#[cfg(feature = "defmt")]
mod by_hand {
    use defmt::{Format, Formatter, write};

    use crate::arch::Cpu;
    use crate::health::Collector;
    use crate::lock::RawLock;
    use crate::observer::FromFn;
    use crate::{BadBlocks, DeviceId, LiveRecord, LiveRecordRef, Observer, Source, WithLock};
    use crate::{Checked, Config, FailedWriteBack, MapConfig, Platform, Reservation, ReservationSlab};
    use crate::{Extents, Part, Parts, Refused, Segment, Segments, Set, SetRef, Shared, SharedPart, Slab};

    impl Format for BadBlocks {
        fn format(&self, f: Formatter<'_>) {
            match *self {
                Self::None => write!(f, "None"),
                Self::Listed { count, more } => {
                    write!(f, "Listed {{ count: {=u64}, more: {=bool} }}", count as u64, more);
                }
                Self::Unknown(cause) => write!(f, "Unknown({})", cause),
            }
        }
    }

    impl Format for Collector<'_> {
        fn format(&self, f: Formatter<'_>) {
            write!(f, "Collector {{ .. }}");
        }
    }

    impl Format for MapConfig {
        fn format(&self, f: Formatter<'_>) {
            let length = self.length_bytes().map(|length_bytes| length_bytes as u64);
            write!(f, "MapConfig {{ offset: {=u64}, length_bytes: {} }}", self.offset_bytes(), length);
        }
    }

    impl Format for Cpu {
        fn format(&self, f: Formatter<'_>) {
            let (line, store) = (self.line_bytes() as u64, self.narrowest_store_bytes() as u64);
            let (method, wide) = (self.method(), self.wide_stores());
            write!(
                f,
                "Cpu {{ method: {}, wide: {=bool}, line_bytes: {=u64}, narrowest_store_bytes: {=u64} }}",
                method, wide, line, store
            );
        }
    }

    impl Format for DeviceId {
        fn format(&self, f: Formatter<'_>) {
            write!(f, "DeviceId({=[u8]})", self.as_bytes());
        }
    }

    impl<O> Format for Config<O> {
        fn format(&self, f: Formatter<'_>) {
            let (required, ahead, acceptable) = (self.required, self.reserve_ahead_bytes as u64, self.acceptable);
            write!(
                f,
                "Config {{ required: {}, reserve_ahead_bytes: {=u64}, acceptable: {} }}",
                required, ahead, acceptable
            );
        }
    }

    impl<P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> Format for Set<'_, P, S, O> {
        fn format(&self, f: Formatter<'_>) {
            write!(f, "Set {{ capacity: {=u64}, .. }}", self.capacity() as u64);
        }
    }

    impl<S, const N: usize> Format for Slab<S, N> {
        fn format(&self, f: Formatter<'_>) {
            write!(f, "Slab {{ capacity: {=u64}, .. }}", N as u64);
        }
    }

    impl<R: SetRef> Format for Part<R> {
        fn format(&self, f: Formatter<'_>) {
            write!(f, "Part {{ extent: {}, granularity: {} }}", self.extent(), self.granularity());
        }
    }

    impl<R: SetRef> Format for SharedPart<R> {
        fn format(&self, f: Formatter<'_>) {
            write!(f, "SharedPart {{ extent: {}, coherent: {} }}", self.extent(), self.is_coherent());
        }
    }

    #[cfg(feature = "embedded-storage")]
    impl<R: SetRef, const W: usize, const E: usize> Format for crate::Flash<R, W, E> {
        fn format(&self, f: Formatter<'_>) {
            write!(f, "Flash {{ .. }}");
        }
    }

    #[cfg(feature = "embedded-io")]
    impl<R: SetRef> Format for crate::Cursor<R> {
        fn format(&self, f: Formatter<'_>) {
            write!(f, "Cursor {{ .. }}");
        }
    }

    impl<P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> Format for Parts<'_, '_, P, S, O> {
        fn format(&self, f: Formatter<'_>) {
            write!(f, "Parts {{ .. }}");
        }
    }

    impl<P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> Format for Extents<'_, '_, P, S, O> {
        fn format(&self, f: Formatter<'_>) {
            write!(f, "Extents {{ .. }}");
        }
    }

    impl<F> Format for FromFn<F> {
        fn format(&self, f: Formatter<'_>) {
            write!(f, "FromFn {{ .. }}");
        }
    }

    impl<R: SetRef> Format for Refused<R> {
        fn format(&self, f: Formatter<'_>) {
            write!(f, "Refused {{ part: {}, error: {} }}", self.part, self.error);
        }
    }

    impl<P: Platform> Format for Reservation<'_, P> {
        fn format(&self, f: Formatter<'_>) {
            write!(f, "Reservation {{ extent: {}, .. }}", self.extent());
        }
    }

    impl<const M: usize> Format for ReservationSlab<M> {
        fn format(&self, f: Formatter<'_>) {
            write!(f, "ReservationSlab {{ capacity: {=u64}, .. }}", M as u64);
        }
    }

    impl<P: Platform, L: RawLock, const MAX: usize> Format for WithLock<P, L, MAX> {
        fn format(&self, f: Formatter<'_>) {
            write!(f, "WithLock {{ .. }}");
        }
    }

    impl Format for FailedWriteBack {
        fn format(&self, f: Formatter<'_>) {
            write!(f, "FailedWriteBack({})", self.first());
        }
    }

    impl<S> Format for Segment<S> {
        fn format(&self, f: Formatter<'_>) {
            write!(f, "Segment {{ extent: {}, offset: {=u64} }}", self.extent, self.offset);
        }
    }

    impl<P, S, O> Format for Segments<'_, '_, P, S, O>
    where
        P: Platform,
        S: Source<Space = P::Space> + Clone,
        O: Observer<S>,
    {
        fn format(&self, f: Formatter<'_>) {
            write!(f, "Segments {{ .. }}");
        }
    }

    impl<S: Source> Format for Shared<S> {
        fn format(&self, f: Formatter<'_>) {
            write!(f, "Shared {{ sharing: {} }}", self.sharing());
        }
    }

    impl<S: Source, L: RawLock> Format for Checked<S, L> {
        fn format(&self, f: Formatter<'_>) {
            write!(f, "Checked {{ .. }}");
        }
    }

    impl<L: RawLock> Format for LiveRecord<L> {
        fn format(&self, f: Formatter<'_>) {
            write!(f, "LiveRecord {{ .. }}");
        }
    }

    impl Format for LiveRecordRef<'_> {
        fn format(&self, f: Formatter<'_>) {
            write!(f, "LiveRecordRef {{ .. }}");
        }
    }

    #[cfg(feature = "spin-lock")]
    impl Format for crate::lock::SpinRwLock {
        fn format(&self, f: Formatter<'_>) {
            write!(f, "SpinRwLock {{ .. }}");
        }
    }

    #[cfg(feature = "critical-section")]
    impl Format for crate::lock::CriticalSectionRwLock {
        fn format(&self, f: Formatter<'_>) {
            write!(f, "CriticalSectionRwLock {{ .. }}");
        }
    }
}

/// As [`every_public_type`], for what other crates' traits are for.
#[cfg(all(feature = "defmt", feature = "embedded-storage", feature = "embedded-io"))]
#[allow(dead_code, reason = "to be compiled is all that it is for")]
fn every_public_type_of_features<R: crate::SetRef>() {
    use crate::*;
    fn is<T: defmt::Format>() {}
    is::<Flash<R>>();
    is::<error::FlashError>();
    is::<Cursor<R>>();
    is::<error::CursorError>();
}

/// Does not compile where a public type has no `Format`.
#[cfg(feature = "defmt")]
#[allow(dead_code, reason = "to be compiled is all that it is for")]
fn every_public_type<P, S, L, O>()
where
    O: crate::Observer<S>,
    P: crate::Platform,
    S: crate::Source<Space = P::Space> + Clone + defmt::Format,
    L: crate::lock::RawLock,
{
    use crate::*;
    fn is<T: defmt::Format + ?Sized>() {}
    is::<arch::StoreKind>();
    is::<arch::Method>();
    is::<arch::Cpu>();
    is::<BadBlocks>();
    is::<BadBlockPolicy>();
    is::<support::Collector<'_>>();
    is::<Published>();
    is::<LiveRecord<L>>();
    is::<LiveRecordRef<'_>>();
    is::<Checked<S, L>>();
    is::<WithLock<P, L>>();
    is::<Coalescing>();
    is::<Config<O>>();
    is::<MapConfig>();
    is::<CopyFlags>();
    is::<Errno>();
    is::<Segment<S>>();
    is::<Segments<'_, '_, P, S, O>>();
    is::<Shared<S>>();
    is::<Sharing>();
    is::<SharedPart<&Set<'_, P, S, O>>>();
    is::<Answer>();
    is::<Event<'_, S>>();
    is::<observer::FromFn<O>>();
    is::<Extent>();
    is::<Span>();
    is::<Granularity>();
    is::<GranularityLimit>();
    #[cfg(feature = "contract")]
    is::<contract::Breach>();
    #[cfg(feature = "contract")]
    is::<contract::Outcome>();
    #[cfg(feature = "critical-section")]
    is::<lock::CriticalSectionRwLock>();
    #[cfg(feature = "spin-lock")]
    is::<lock::SpinRwLock>();
    is::<DeepFlush>();
    is::<Growth>();
    is::<FailedWriteBack>();
    is::<Reservation<'_, P>>();
    is::<ReservationSlab<1>>();
    is::<Slab<S, 1>>();
    is::<Part<&Set<'_, P, S, O>>>();
    is::<Parts<'_, '_, P, S, O>>();
    is::<Extents<'_, '_, P, S, O>>();
    is::<Refused<&Set<'_, P, S, O>>>();
    is::<Set<'_, P, S, O>>();
    is::<DeviceId>();
    is::<PartState>();
    is::<PartStates>();
    is::<ShutdownRecord>();
    is::<ShutdownVerdict>();
}

/// As [`every_public_type`], for errors.
#[cfg(feature = "defmt")]
#[allow(dead_code, reason = "to be compiled is all that it is for")]
fn every_public_error() {
    use crate::error;
    fn is<T: defmt::Format>() {}
    is::<error::ClearError>();
    is::<error::McsafeError>();
    is::<error::BadBlocksError>();
    is::<error::DeepFlushError>();
    is::<error::EmptyRange>();
    is::<error::GiveBackError>();
    is::<error::LookupError>();
    is::<error::MapError>();
    is::<error::MapFailure>();
    is::<error::PersistError>();
    is::<error::PrepareError>();
    is::<error::RemoveError>();
    is::<error::RepairError>();
    is::<error::ReserveError>();
    is::<error::ShareError>();
    is::<error::ReservationError>();
    is::<error::DeviceError>();
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    /// Calls `each` with every line of every source file in `folder`, but for simulated hardware, which needs `std`.
    fn lines(folder: &Path, each: &mut dyn FnMut(&str)) {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() && !entry.ends_with("sim") {
                lines(&entry, each);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                fs::read_to_string(&entry).unwrap().lines().for_each(&mut *each);
            }
        }
    }

    #[test]
    fn every_public_type_is_asked_for_its_format() {
        let mut types = 0;
        lines(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut |line| {
            let line = line.trim_start();
            let name = line.strip_prefix("pub struct ").or_else(|| line.strip_prefix("pub enum "));
            let name = name.and_then(|rest| rest.split(|c: char| !c.is_alphanumeric()).next());
            let Some(name) = name.filter(|name| !name.is_empty()) else { return };
            let asked = include_str!("format.rs")
                .lines()
                .filter_map(|line| line.trim_start().strip_prefix("is::<"))
                .any(|path| path.split(['<', '>', ':']).any(|piece| piece == name));
            assert!(asked, "{name} is not in the list of `every_public_type`");
            types += 1;
        });
        assert!(types > 40, "found only {types}");
    }

    #[test]
    fn no_derived_format_cuts_a_number() {
        let (mut derived, mut types) = (false, 0);
        lines(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut |line| {
            if line.contains("derive(defmt::Format)") {
                derived = true;
                types += 1;
            }
            assert!(!derived || !line.contains("usize"), "defmt cuts this to 32 bits: {line}");
            derived = derived && line.trim() != "}" && !line.ends_with(';');
        });
        assert!(types > 15, "found only {types}");
    }
}
