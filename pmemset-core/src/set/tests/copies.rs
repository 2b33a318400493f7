//! Copies of lengths up to a page to every alignment, with every flag set, against a byte model.
#![allow(unsafe_code, reason = "looks at slices of parts")]

use super::bytes::FLAG_SETS;
use super::fake::PAGE;
use super::world::{Memory, World};
use crate::arch::Cpu;
#[cfg(target_arch = "x86_64")]
use crate::arch::CpuidFacts;
use crate::sim::random::Random;
use crate::{Config, CopyFlags, Granularity, MapConfig, Part, Set};

const LENGTH_MAX: usize = 4096;
/// Up to here every length is tried: a copy changes its way for the last time at 256 bytes behind an alignment.
const EVERY_LENGTH_TO: usize = 640;
/// How far the others lie apart, but for the last ones before a page: a number that has no factor in common with 64,
/// nor with the number of combinations. They only repeat what was done; all of them take eight times as long,
/// unoptimised.
const LENGTH_STEP: usize = 11;
/// Bytes of the part, with room on both sides of what is stored.
const SIZE: usize = 4 * PAGE;

type WorldSet<'a, O = ()> = Set<'a, &'a World, &'a Memory<'a>, O>;

/// A part, and what its bytes have to be.
struct Bed<'s, 'w> {
    world: &'w World,
    part: Part<&'s WorldSet<'w>>,
    model: Vec<u8>,
}

impl Bed<'_, '_> {
    /// Does the same to the part and to the model, and compares every byte.
    fn check(
        &mut self,
        what: (&str, usize, usize, usize, CopyFlags),
        store: impl FnOnce(&Self),
        model: impl FnOnce(&mut [u8]),
    ) {
        store(self);
        self.world.take();
        model(&mut self.model);
        // SAFETY: nothing stores to the bytes now.
        let bytes = unsafe { self.part.as_slice(0, SIZE) }.unwrap();
        let (name, to, from, length, flags) = what;
        assert!(
            bytes == self.model,
            "{name}: {length} bytes from {from} to {to}, {flags:?}, {:?}, wrong at {:?}",
            self.world,
            bytes.iter().zip(&self.model).position(|(is, should)| is != should)
        );
    }

    /// Copies, moves and fills `length` bytes to `align` bytes from a page's start.
    fn all(&mut self, random: &mut Random, bytes: &[u8], (length, align): (usize, usize), flags: CopyFlags) {
        let to = PAGE + align;
        let from = random.below(64);
        let source = &bytes[from..from + length];
        self.check(
            ("copy", to, from, length, flags),
            |bed| bed.part.write_with(to, source, flags).unwrap(),
            |model| model[to..to + length].copy_from_slice(source),
        );
        // Half of them overlap, in either direction; some do not move at all.
        let near = length.clamp(1, 128);
        let shift = [random.below(near), random.below(2 * PAGE - 64)][random.below(2)];
        let from = if random.one_in(2) { to + shift } else { to.saturating_sub(shift) };
        self.check(
            ("move", to, from, length, flags),
            |bed| bed.part.copy_within(from..from + length, to, flags).unwrap(),
            |model| model.copy_within(from..from + length, to),
        );
        let value = random.word().to_le_bytes()[0];
        self.check(
            ("set", to, 0, length, flags),
            |bed| bed.part.fill(to, value, length, flags).unwrap(),
            |model| model[to..to + length].fill(value),
        );
    }
}

/// Ways to store: with wide registers, with integer registers, and without an instruction that writes back lines.
fn processors() -> Vec<(Cpu, Granularity)> {
    #[cfg(target_arch = "x86_64")]
    let able = [Cpu::detect(), Cpu::from_cpuid(&CpuidFacts { xcr0: 0, ..CpuidFacts::read() })];
    #[cfg(not(target_arch = "x86_64"))]
    let able = [Cpu::simulated(64), Cpu::simulated(64).storing_whole_words()];
    let all = [Granularity::Byte, Granularity::CacheLine, Granularity::Page];
    let pairs = able.into_iter().flat_map(|cpu| all.map(|granularity| (cpu, granularity)));
    pairs.chain([(Cpu::NONE, Granularity::Page)]).collect()
}

fn lengths() -> impl Iterator<Item = usize> {
    let tried =
        |length: &usize| *length <= EVERY_LENGTH_TO || *length >= LENGTH_MAX - 64 || length.is_multiple_of(LENGTH_STEP);
    (0..=LENGTH_MAX).filter(tried)
}

/// Every length that makes a difference at every alignment from 0 to 63. Flag sets, granularities and processors rotate
/// so that each length meets each flag set, and each alignment meets each combination of all three; the source's
/// alignment is random.
#[test]
fn every_length_at_every_alignment_agrees_with_a_byte_model() {
    if !super::UNLOCKED_CALLS {
        // Takes a minute, and no lock has a part in it.
        return;
    }
    let processors = processors();
    let worlds: Vec<World> = processors.iter().map(|(cpu, _)| World::on(*cpu, SIZE / PAGE)).collect();
    let sources: Vec<Memory<'_>> =
        worlds.iter().zip(&processors).map(|(world, (_, granularity))| Memory::new(world, *granularity)).collect();
    let sets: Vec<WorldSet<'_>> =
        worlds.iter().map(|world| Set::with_capacity(world, Config::new(Granularity::Page), 16)).collect();
    let mut random = Random::new(1);
    let bytes: Vec<u8> = (0..LENGTH_MAX + 64).map(|_| random.word().to_le_bytes()[0]).collect();
    let mut beds: Vec<Bed<'_, '_>> = Vec::new();
    for ((set, source), world) in sets.iter().zip(&sources).zip(&worlds) {
        let mapped = set.map(source, &MapConfig::new().length(SIZE)).unwrap().extent();
        let part = set.part_at(mapped.start()).unwrap();
        let model: Vec<u8> = (0..SIZE).map(|at| (at * 31 + at / 251).to_le_bytes()[0]).collect();
        part.write(0, &model).unwrap();
        beds.push(Bed { world, part, model });
    }
    let combinations = beds.len() * FLAG_SETS.len();
    assert!(!combinations.is_multiple_of(LENGTH_STEP), "the long ones meet all of them");
    for length in lengths() {
        for align in 0..64 {
            // 67 and the 70 combinations have no common factor.
            let combination = (length * 67 + align) % combinations;
            let flags = FLAG_SETS[combination % FLAG_SETS.len()];
            beds[combination / FLAG_SETS.len()].all(&mut random, &bytes, (length, align), flags);
        }
    }
}
