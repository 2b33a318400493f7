//! The exploration that decides what is read finds exactly what the one finds that tries every state: in small random
//! worlds both see the same outcomes.
#![allow(unsafe_code, reason = "stores to simulated memory")]

use core::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use pmemset_core::arch::StoreKind;
use pmemset_core::sim::{Call, Explore, Fault, Hardware, Machine, Medium, SimPlatform, SimSource};
use pmemset_core::support::Random;
use pmemset_core::{Extent, Granularity, Platform, Source};

const PAGE_BYTES: usize = 256;
const WORDS: usize = 20;
/// Three words of the first line, and one each of two more.
const FAVOURITES: [usize; 5] = [0, 1, 2, 8, 16];

/// One mapped page.
struct World {
    platform: SimPlatform,
    source: SimSource,
    window: Extent,
}

impl World {
    fn on(machine: &Machine) -> Self {
        let (platform, source) = (machine.platform(), machine.source(0));
        let window = platform.reserve(PAGE_BYTES, PAGE_BYTES).unwrap();
        // SAFETY: reserved just now.
        unsafe { source.map(window, 0) }.unwrap();
        Self { platform, source, window }
    }

    fn at(&self, byte: usize) -> *mut u8 {
        core::ptr::with_exposed_provenance_mut(self.window.start() + byte)
    }

    fn copy(&self, byte: usize, bytes: &[u8], kind: StoreKind) {
        // SAFETY: in the mapped page.
        unsafe { self.platform.copy(self.at(byte), bytes.as_ptr(), bytes.len(), kind) }
    }

    fn flush(&self, word: usize) {
        // SAFETY: mapped.
        unsafe { self.platform.write_back(self.window.slice(word * 8, 8).unwrap()) }
    }

    fn read(&self, word: usize) -> u64 {
        let mut bytes = [0; 8];
        // SAFETY: in the mapped page.
        unsafe { self.platform.read(bytes.as_mut_ptr(), self.at(word * 8), 8) };
        u64::from_le_bytes(bytes)
    }

    /// Does something that `random` decides; in the work also with the program's own instructions.
    fn act(&self, random: &mut Random, in_work: bool) {
        let word = if random.one_in(2) { random.of(&FAVOURITES) } else { random.below(WORDS) };
        let value = 1 + random.below(3) as u64;
        let kind = random.of(&[StoreKind::Cached, StoreKind::Streaming]);
        match random.below(10) {
            0 | 1 if in_work => {
                // SAFETY: in the mapped page.
                unsafe { self.at(word * 8).cast::<u64>().write_volatile(value) }
            }
            0..=3 => self.copy(word * 8, &value.to_le_bytes(), kind),
            // A piece of a unit, and of its neighbour.
            4 => self.copy(word * 8 + 5, &[random.of(&[1, 2, 3]); 6], kind),
            5 | 6 => self.flush(word),
            7 => self.platform.fence(),
            _ => {
                self.copy(word * 8, &value.to_le_bytes(), kind);
                self.flush(word);
                self.platform.fence();
            }
        }
        if random.one_in(6) && self.source.granularity() == Ok(Granularity::Page) {
            if in_work && random.one_in(3) {
                self.platform.machine().fail(Fault::nth(0).only(Call::Sync));
            }
            let _ = self.source.sync(self.window, 0);
        }
    }
}

/// What a check saw: what was told, and the place and value of everything that it read.
type Seen = (u64, Vec<(usize, u64)>);

/// Reads, stores and flushes by what it has read, and otherwise when it is run again after a cut.
fn look(machine: &Machine, program: u64, sums: bool) -> Seen {
    let mut trace = Vec::new();
    let world = World::on(machine);
    let boots = machine.kept().len();
    let mut state = program.wrapping_add(boots as u64);
    machine.keep(&[0].repeat(boots + 1));
    let told = machine.acknowledged();
    if sums {
        // Every favourite, of which only the sum counts.
        let mut sum = 0;
        for word in FAVOURITES {
            sum = (sum + world.read(word)) % 5;
            machine.summary(&sum);
        }
        return (told, vec![(0, sum)]);
    }
    for _ in 0..3 {
        let mut random = Random::new(state);
        let word = random.of(&FAVOURITES);
        let value = world.read(word);
        trace.push((word, value));
        state = state.wrapping_mul(31).wrapping_add(value);
        for _ in 0..random.below(3) {
            world.act(&mut random, false);
        }
        if random.one_in(3) {
            break;
        }
    }
    (told, trace)
}

/// Returns what both explorations of the world of `seed` have seen.
fn both(seed: u64, depth: usize, actions: usize) -> [BTreeSet<Seen>; 2] {
    let mut random = Random::new(seed);
    let line = Granularity::CacheLine;
    let granularity = random.of(&[line, line, Granularity::Page, Granularity::Byte]);
    let (program, check_program, sums) = (random.word(), random.word(), depth == 0 && random.one_in(4));
    let work = |machine: &Machine| {
        let _ = machine.add_source(Medium::new(PAGE_BYTES as u64).granularity(granularity));
        let world = World::on(machine);
        machine.settle();
        let mut random = Random::new(program);
        for action in 1..=actions {
            world.act(&mut random, true);
            if random.one_in(4) {
                machine.acknowledge(action as u64);
            }
        }
    };
    let (seen, eagerly) = (RefCell::new(BTreeSet::new()), Cell::new(true));
    let check = |machine: &Machine| {
        let outcome = look(machine, check_program, sums);
        // Runs with every byte decided are no part of what is found.
        if eagerly.get() || machine.decides_when_read() {
            seen.borrow_mut().insert(outcome);
        }
        Ok(())
    };
    let hardware = Hardware::new().page_bytes(PAGE_BYTES).address_space_bytes(4 * PAGE_BYTES);
    let explore = Explore::new(hardware).depth(depth);
    let eager = explore.eagerly(1 << 20, work, check).unwrap();
    assert_eq!(eager.sampled, 0);
    let eager = seen.take();
    eagerly.set(false);
    let explored = explore.run(work, check).unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
    explored.assert_complete();
    [eager, seen.take()]
}

fn campaign(depth: usize, actions: usize, worlds: u64) {
    let times = std::env::var("WORLDS_TIMES").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let mut outcomes = 0;
    for seed in 0..worlds * times {
        let [eager, found] = both(seed, depth, actions);
        let missed: Vec<_> = eager.difference(&found).collect();
        let invented: Vec<_> = found.difference(&eager).collect();
        assert!(missed.is_empty() && invented.is_empty(), "seed {seed}: missed {missed:?}, invented {invented:?}");
        outcomes += eager.len();
    }
    println!("SAME {} worlds, the check cut {depth} times: {outcomes} outcomes", worlds * times);
    assert!(outcomes as u64 > worlds * 2, "{outcomes}");
}

#[test]
fn same_outcomes() {
    campaign(0, 10, 300);
}

#[test]
fn same_outcomes_where_the_check_is_cut() {
    campaign(1, 7, 100);
}

#[test]
fn same_outcomes_where_the_check_is_cut_twice() {
    campaign(2, 4, 25);
}
