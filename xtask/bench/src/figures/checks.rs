//! What the shutdown state and the bad blocks cost a mapping.
#![allow(unsafe_code, reason = "the trait is unsafe")]

use std::os::fd::AsFd;

use pmemset_core::error::DeviceError;
use pmemset_core::{
    BadBlockPolicy, BadBlocks, Checked, Config, DeviceId, Granularity, Health, LiveRecordRef, MapConfig, Reservation,
    Set, ShutdownRecord, Source, Span, forward_source,
};
use pmemset_linux::{FileSource, Linux, Process, StripedRwLock};
use rustix::fd::BorrowedFd;

use super::{PAGE, Subject, tmpfs_file};
use crate::measure::{Contender, calls};
use crate::peers::plain::Plain;
use crate::report::Figure;

pub(crate) const SUBJECT: Subject = Subject {
    name: "checks",
    title: "map and remove one page of a source with shutdown state and bad blocks",
    unit: "parts",
    about: "Processor time for a part of one page in a caller's reservation: with both checks, with one, with none. The device \
            is a stand-in that answers at once; what sysfs and the medium of the record take comes on top.",
    run,
};

/// A file that has a memory module and no bad blocks.
struct Healthy<'a>(FileSource<BorrowedFd<'a>>);

// SAFETY: the file source keeps the promises; health maps nothing.
unsafe impl Source for Healthy<'_> {
    type Space = Process;

    forward_source!(self { Self(file) => file } except health);

    fn health(&self) -> Option<&dyn Health> {
        Some(self)
    }
}

impl Health for Healthy<'_> {
    fn shutdown(&self) -> Option<LiveRecordRef<'_>> {
        None
    }

    fn device(&self, id: &mut DeviceId) -> Result<u64, DeviceError> {
        id.push(b"8680-01-1234-00001000").map(|()| 5)
    }

    fn bad_block_policy(&self) -> BadBlockPolicy {
        BadBlockPolicy::Off
    }

    fn bad_blocks(&self, _: Span, _: &mut [Span]) -> BadBlocks {
        BadBlocks::None
    }
}

type Watched<'a> = Checked<Healthy<'a>, StripedRwLock>;

fn run(figure: &mut Figure) {
    let file = tmpfs_file(PAGE);
    let source = |state: bool, blocks: bool| -> Watched<'_> {
        let source = Checked::new(Healthy(FileSource::from_fd(file.as_fd()).unwrap()));
        let source = source.shutdown_record(state.then(ShutdownRecord::new));
        source.bad_block_detection(if blocks { BadBlockPolicy::Required } else { BadBlockPolicy::Off })
    };
    let sources = [source(true, true), source(true, false), source(false, true), source(false, false)];
    let reservation = Reservation::with_capacity(Linux::new(), 8 * PAGE, 8).unwrap();
    let set = Set::with_capacity(&reservation, Config::new(Granularity::Page), 8);
    let names = ["pmemset", "shutdown state alone", "bad blocks alone", "no checks"];
    let mut contenders: Vec<Contender<'_>> = Vec::new();
    for (name, source) in names.into_iter().zip(&sources) {
        let set = &set;
        contenders.push(calls(name, move || {
            let at = set.map(source, &MapConfig::new().length(PAGE)).unwrap().extent().start();
            set.remove_range(at, PAGE).unwrap();
        }));
    }
    let (plain, at) = (Plain { file: file.as_fd() }, reservation.extent().end() - PAGE);
    contenders.push(calls("plain calls", move || {
        plain.map_at(at, 0, 1);
        plain.remove_at(at, 1);
    }));
    figure.row("caller's addresses", 1, contenders);
}
