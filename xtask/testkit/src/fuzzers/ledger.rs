//! Ledgers whose bytes are damaged: what they say then is what was kept last or before, or is doubted.

use bare::ledger::{Ledger, PLACE_BYTES};
use pmemset_core::sim::{Hardware, Machine, Medium, SimPlatform, SimSource};
use pmemset_core::support::Random;
use pmemset_core::{Config, CopyFlags, DeviceId, Granularity, MapConfig, PartState, Set, ShutdownRecord};

/// What a ledger says of a source.
type Said = (u64, [u8; ShutdownRecord::BYTES]);

/// A record of the device, with any count and any number of mappings.
fn record(random: &mut Random, id: &DeviceId) -> ShutdownRecord {
    let mut bytes = [0; ShutdownRecord::BYTES];
    bytes[..id.as_bytes().len()].copy_from_slice(id.as_bytes());
    bytes[520..528].copy_from_slice(&random.word().to_le_bytes());
    bytes[528] = random.word().to_le_bytes()[0];
    ShutdownRecord::from_bytes(&bytes)
}

/// Keeps some records, damages the place, and looks at what is left.
pub(crate) fn ledger(random: &mut Random) {
    let machine = Machine::new(Hardware::new().page_bytes(PLACE_BYTES).address_space_bytes(8 * PLACE_BYTES));
    let source = machine.add_source(Medium::new(PLACE_BYTES as u64));
    let set: Set<'_, SimPlatform, SimSource> =
        Set::with_capacity(machine.platform(), Config::new(Granularity::CacheLine), 4);
    let part = set.map(source, &MapConfig::new()).unwrap();
    let open = |is_sound: bool| Ledger::new(set.part_at(part.extent().start()).unwrap(), is_sound);
    let mut id = DeviceId::new();
    id.push(b"module").unwrap();

    // What was written to the place, one after another; the last two are still there.
    let mut states: Vec<Said> = vec![(0, ShutdownRecord::new().to_bytes())];
    for sequence in 0..random.below(5) as u64 {
        let mut ledger = open(true);
        let (count, found) = ledger.begin(0, &id, random.one_in(3)).unwrap();
        let state = (count, found.to_bytes());
        if states.last() != Some(&state) {
            states.push(state);
        }
        let record = record(random, &id);
        ledger.keep(0, &record, sequence + 1).unwrap();
        states.push((count, record.to_bytes()));
    }
    let mut damaged = false;
    if random.one_in(2) {
        for _ in 0..1 + random.below(4) {
            let (at, mut byte) = (random.below(PLACE_BYTES), [0]);
            part.read(at, &mut byte).unwrap();
            part.write(at, &[byte[0] ^ 1 << random.below(8)]).unwrap();
        }
        damaged = true;
    } else if random.one_in(2) {
        let (start, value) = (random.below(2) * PLACE_BYTES / 2, random.word().to_le_bytes()[0] | 1);
        part.fill(start, value, PLACE_BYTES / 2, CopyFlags::empty()).unwrap();
        damaged = true;
    }

    let (count, record) = open(true).begin(0, &id, false).unwrap();
    let said = (count, record.to_bytes());
    // What is damaged may leave the state before it, as a power cut does; what is left of neither is doubted.
    let believed = states.iter().rev().take(if damaged { 2 } else { 1 }).any(|state| *state == said);
    let doubted = damaged && record.judge(0, &id, count).state == PartState::Indeterminate;
    assert!(believed || doubted, "{said:?} is made up");
    assert!(count <= states.last().map_or(0, |(count, _)| *count) + 1, "a count that never was");
}
