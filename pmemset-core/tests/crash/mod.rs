//! What the crash tests of all structures share: words of a part, and an exploration of each mistake.

pub(crate) mod allocator;
pub(crate) mod checksums;
pub(crate) mod commit;
pub(crate) mod header;
pub(crate) mod log;
pub(crate) mod table;
pub(crate) mod tree;

use super::compare::compared;
use pmemset_core::sim::{Explore, Explored, Failure, Hardware, Machine, Medium, SimPlatform, SimSource};
use pmemset_core::{Config, CopyFlags, Granularity, MapConfig, Set};

const PAGE_BYTES: usize = 1024;

type SimSet<'s, O = ()> = Set<'s, SimPlatform, SimSource, O>;
/// The memory of a structure.
pub(crate) type Part<'s> = pmemset_core::Part<&'s SimSet<'static>>;

/// Durable when the call returns.
pub(crate) const DURABLY: CopyFlags = CopyFlags::empty();
/// Neither written back nor fenced.
pub(crate) const UNFLUSHED: CopyFlags = CopyFlags::NOFLUSH;
/// Written back, and not fenced.
pub(crate) const UNFENCED: CopyFlags = CopyFlags::TEMPORAL.union(CopyFlags::NODRAIN);
/// Stored around the cache, and not fenced.
pub(crate) const STREAMED: CopyFlags = CopyFlags::NODRAIN;

/// Returns the word at `offset`.
pub(crate) fn get(part: &Part<'_>, offset: usize) -> u64 {
    let mut bytes = [0; 8];
    part.read(offset, &mut bytes).unwrap();
    u64::from_le_bytes(bytes)
}

/// Stores words from `offset` on.
#[track_caller]
pub(crate) fn put(part: &Part<'_>, offset: usize, words: &[u64], flags: CopyFlags) {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    part.write_with(offset, &bytes, flags).unwrap();
}

fn with_part<T>(machine: &Machine, act: impl FnOnce(&Part<'_>) -> T) -> T {
    let set = SimSet::with_capacity(machine.platform(), Config::new(Granularity::CacheLine), 4);
    let mapped = set.map(machine.source(0), &MapConfig::new()).unwrap().extent();
    act(&set.part_at(mapped.start()).unwrap())
}

/// Cuts the power at every step of `work`, and `depth` times in a row within `check`.
pub(crate) fn explore(
    name: &str,
    depth: usize,
    work: impl Fn(&Machine, &Part<'_>),
    check: impl Fn(&Machine, &Part<'_>) -> Result<(), String>,
) -> Result<Explored, Failure> {
    let hardware = Hardware::new().page_bytes(PAGE_BYTES).address_space_bytes(8 * PAGE_BYTES);
    let work = |machine: &Machine| {
        let _ = machine.add_source(Medium::new(PAGE_BYTES as u64));
        with_part(machine, |part| {
            machine.settle();
            work(machine, part);
        });
    };
    let check = |machine: &Machine| with_part(machine, |part| check(machine, part));
    let explore = Explore::new(hardware).depth(depth);
    let explored = compared(name, 1024, explore, work, check);
    if let Err(failure) = &explored {
        // As a person does it, from what is printed.
        let replay = failure.replay.to_string().parse().unwrap();
        assert_eq!(explore.replay(&replay, work, check).as_ref(), Err(&failure.message));
    }
    explored
}

/// Makes sure that a structure is right without a mistake, and that each of `mistakes` is found: with few lost stores,
/// and the lines that made them.
pub(crate) fn all_are_found(mistakes: &[&str], explore: impl Fn(&str) -> Result<Explored, Failure>) {
    let right = explore("").unwrap_or_else(|failure| panic!("right, and refused: {failure}"));
    right.assert_complete();
    println!("RIGHT: {right}");
    assert!(right.unordered.is_empty(), "{right}");
    for mistake in mistakes {
        let failure = match explore(mistake) {
            Ok(explored) => panic!("{mistake}: not found; {explored}"),
            Err(failure) => failure,
        };
        println!("{mistake}: {failure}");
        assert!(failure.lost().len() <= 5, "{mistake}: {failure}");
        // Where a store came too early, nothing is lost; then the place of the cut says it.
        let cut = failure.cuts.first().map(|cut| cut.before);
        for place in failure.lost().iter().map(|unit| unit.place).chain([cut]) {
            let origin = place.and_then(|place| place.origin).expect("every step is made by a part");
            assert!(origin.file().contains("crash"), "{mistake}: {failure}");
        }
    }
}
