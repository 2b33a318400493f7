//! Two hosts on simulated memory, in every order of their steps, with every content of their caches, and cut at every
//! step.

use pmemset_core::sim::{Hardware, Host, Hosts, HostsExplored, HostsFailure, Machine, Medium, SimPlatform, SimSource};
use pmemset_core::{Config, Granularity, MapConfig, Set, SharedPart, Sharing};

use crate::mistake::{Mistake, Mistakes};
use crate::record::{RECORD_BYTES, Record};
use crate::{Consumer, Error, PAYLOAD_BYTES, Producer, format, length_for};

type SimSet = Set<'static, SimPlatform, SimSource>;
type SimPart<'s> = SharedPart<&'s SimSet>;

const GRANULARITIES: [Granularity; 2] = [Granularity::CacheLine, Granularity::Byte];

fn set(platform: SimPlatform) -> SimSet {
    Set::with_capacity(platform, Config::new(Granularity::Page), 1)
}

/// Maps the ring, to its last byte and no further.
fn part(set: &SimSet, source: SimSource) -> SimPart<'_> {
    set.map(source, &MapConfig::new()).unwrap().into_shared().unwrap()
}

fn payload(number: u64) -> [u8; PAYLOAD_BYTES] {
    core::array::from_fn(|at| number.wrapping_mul(31).wrapping_add(at as u64 / 8 + 1).to_le_bytes()[0])
}

fn failed(error: Error) -> String {
    error.to_string()
}

/// What the hosts do.
#[derive(Clone, Copy)]
struct Work {
    granularity: Granularity,
    slots: u64,
    records: u64,
    /// Records put before each commit.
    batch: u64,
    /// How often the producer looks for room before it gives up, and the consumer for records.
    tries: usize,
    cuts: usize,
    mistake: Option<Mistake>,
}

/// Three records in two slots: one of them is used again.
const TWO: Work =
    Work { granularity: Granularity::CacheLine, slots: 2, records: 3, batch: 1, tries: 4, cuts: 0, mistake: None };
/// Two records in one slot, which is used again.
const ONE: Work = Work { slots: 1, records: 2, tries: 3, ..TWO };

impl Work {
    /// Tells how many records were committed.
    fn produce(&self, host: &Host) -> Result<(), String> {
        let set = set(host.platform());
        let mut producer = Producer::open_with(part(&set, host.source(0)), Mistakes(self.mistake)).map_err(failed)?;
        if producer.published() < host.acknowledged() {
            return Err(format!("{} records committed, {} found", host.acknowledged(), producer.published()));
        }
        let mut number = producer.published();
        let mut tries = 0;
        while number < self.records && tries < self.tries {
            host.summary(&(tries, number, producer.known()));
            tries += 1;
            // Twice what was released, or one more.
            let released = host.acknowledged_by(1) / 2;
            if producer.push(&payload(number)).map_err(failed)? {
                number += 1;
                if number % self.batch == 0 || number == self.records {
                    producer.commit().map_err(failed)?;
                    host.acknowledge(number);
                }
            } else if number - released < self.slots {
                return Err(format!("no room for record {number}, and {released} were released"));
            }
        }
        Ok(())
    }

    /// Tells twice the number of records that were released, and one more while one is being dealt with.
    fn consume(&self, host: &Host) -> Result<(), String> {
        let set = set(host.platform());
        let mut consumer = Consumer::open_with(part(&set, host.source(0)), Mistakes(self.mistake)).map_err(failed)?;
        let (released, told) = (consumer.released(), host.acknowledged());
        if released < told / 2 || released > told.div_ceil(2) {
            return Err(format!("begins with record {released}, when {told} was told"));
        }
        let mut next = released;
        for tries in 0..self.tries {
            host.summary(&(tries, next, consumer.known()));
            let committed = host.acknowledged_by(0);
            match consumer.next_record().map_err(failed)? {
                None if committed > next => return Err(format!("{committed} records are committed, and {next} found")),
                None => {}
                Some(record) if record == (Record { number: next, payload: payload(next) }) => {
                    next += 1;
                    host.acknowledge(next * 2 - 1);
                    consumer.release().map_err(failed)?;
                    host.acknowledge(next * 2);
                }
                Some(other) => return Err(format!("{other:?} in place of record {next}")),
            }
        }
        Ok(())
    }

    /// Has somebody who comes later find what is left.
    fn check(&self, host: &Host) -> Result<(), String> {
        let set = set(host.platform());
        let mistake = self.mistake.filter(|mistake| *mistake == Mistake::OneLine);
        let mut consumer = Consumer::open_with(part(&set, host.source(0)), Mistakes(mistake)).map_err(failed)?;
        let mut next = consumer.released();
        if next < host.acknowledged_by(1) / 2 {
            return Err(format!("a record was released and comes again: {next}"));
        }
        while let Some(record) = consumer.next_record().map_err(failed)? {
            if record != (Record { number: next, payload: payload(next) }) {
                return Err(format!("{record:?} in place of record {next}"));
            }
            next += 1;
        }
        let committed = host.acknowledged_by(0);
        if next < committed { Err(format!("{committed} records were committed, and {next} are left")) } else { Ok(()) }
    }

    fn explore(&self) -> Result<HostsExplored, HostsFailure> {
        let hardware = Hardware::new().page_bytes(64).address_space_bytes(4096);
        let medium = Medium::new(length_for(self.slots)).granularity(self.granularity).sharing(Sharing::Incoherent);
        let prepare = |machine: &Machine| {
            let source = machine.add_source(medium);
            format(&part(&set(machine.platform()), source)).unwrap();
        };
        let (produce, consume) = (|host: &Host| self.produce(host), |host: &Host| self.consume(host));
        Hosts::new(hardware)
            .cuts(self.cuts)
            .states_max(400_000)
            .run(prepare, &[&produce, &consume], |host| self.check(host))
    }

    fn is_right(&self, what: &str) {
        let explored = self.explore().unwrap_or_else(|failure| panic!("{what}: {failure}"));
        println!("{what}, {}: {explored}", self.granularity);
        explored.assert_complete();
        assert!(explored.ends > 0 && (explored.cuts > 0) == (self.cuts > 0));
    }
}

#[test]
fn records_come_whole_and_in_order_whatever_the_caches_hold() {
    for granularity in GRANULARITIES {
        Work { granularity, ..TWO }.is_right("three records in two slots");
        Work { granularity, records: 4, batch: 2, ..TWO }.is_right("four records, two at a time");
    }
}

#[test]
fn either_host_may_be_cut_and_both() {
    for granularity in GRANULARITIES {
        Work { granularity, cuts: 1, ..ONE }.is_right("one cut of either host");
    }
    Work { cuts: 2, tries: 2, ..ONE }.is_right("two cuts, of one host or of both");
}

/// Only a host that starts again can have forgotten something.
fn cuts_for(mistake: Mistake) -> usize {
    usize::from(matches!(mistake, Mistake::ForgetsProduced | Mistake::ForgetsConsumed))
}

#[test]
fn every_mistake_is_found() {
    let all = [
        Mistake::RecordNotPublished,
        Mistake::LastLineNotPublished,
        Mistake::ProducedNotPublished,
        Mistake::ProducedFirst,
        Mistake::RoomUnchecked,
        Mistake::ConsumedNotRefreshed,
        Mistake::ProducedNotRefreshed,
        Mistake::RecordNotRefreshed,
        Mistake::RecordRefreshedEarly,
        Mistake::ConsumedEarly,
        Mistake::ConsumedNotPublished,
        Mistake::ForgetsProduced,
        Mistake::ForgetsConsumed,
        Mistake::OneLine,
    ];
    for mistake in all {
        let work = Work { mistake: Some(mistake), cuts: cuts_for(mistake), ..TWO };
        match work.explore() {
            Err(failure) => {
                println!("{mistake:?}: {}", failure.message);
                let told = failure.message.contains("of which it may not have the newest store");
                assert_eq!(told, mistake == Mistake::OneLine, "{failure}");
            }
            Ok(explored) => panic!("{mistake:?} is not found: {explored}"),
        }
    }
}

#[test]
fn what_is_no_ring_is_not_opened() {
    let machine = Machine::new(Hardware::new().page_bytes(64).address_space_bytes(1 << 14));
    let source = machine.add_source(Medium::new(1024).sharing(Sharing::Incoherent));
    let set = Set::with_capacity(machine.platform(), Config::new(Granularity::Page), 4);
    let whole = set.map(source, &MapConfig::new()).unwrap();
    let of = |from, length_bytes| set.pin(whole.extent().slice(from, length_bytes).unwrap()).unwrap().into_shared();
    assert_eq!(Producer::open(of(0, 1024).unwrap()).unwrap_err(), Error::NoRing);
    assert_eq!(format(&of(0, 384 + 63).unwrap()).unwrap_err(), Error::TooShort);
    format(&of(0, 1024).unwrap()).unwrap();
    assert!(Consumer::open(of(0, 1024).unwrap()).is_ok());
    assert_eq!(Consumer::open(of(0, 1024 - 64).unwrap()).unwrap_err(), Error::NoRing, "of another length");
    whole.write(128, &3_u64.to_le_bytes()).unwrap();
    whole.write(256, &4_u64.to_le_bytes()).unwrap();
    let refused = Error::Counters { produced: 3, consumed: 4 };
    assert_eq!(Producer::open(of(0, 1024).unwrap()).unwrap_err(), refused);
    assert_eq!(Consumer::open(of(0, 1024).unwrap()).unwrap_err(), refused);
    whole.write(256, &1_u64.to_le_bytes()).unwrap();
    let mut consumer = Consumer::open(of(0, 1024).unwrap()).unwrap();
    assert_eq!(consumer.next_record().unwrap_err(), Error::Damaged { number: 1 });
}

#[test]
fn any_flipped_bit_of_a_record_is_noticed() {
    let record = Record { number: 77, payload: payload(77) };
    let bytes = record.to_bytes();
    assert_eq!(Record::from_bytes(&bytes), Some(record));
    for bit in 0..RECORD_BYTES * 8 {
        let mut damaged = bytes;
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(Record::from_bytes(&damaged), None, "bit {bit}");
    }
}
