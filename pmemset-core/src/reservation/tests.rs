//! Reservations against a map of their pages, in a world with few addresses.
#![allow(unsafe_code, reason = "a platform that only keeps account")]

use std::sync::Mutex;

use super::*;
use crate::arch::Cpu;
use crate::error::ReserveError;
use crate::lock::SpinRwLock;
use crate::table::tests::Random;

const PAGE: usize = 4096;
/// Far up, and addressable: 1 TiB, or 16 MiB where addresses have 32 bits.
const FAR: usize = 1 << (usize::BITS / 2 + 8);

/// Address space in which only what is reserved is noted down; page numbers below `limit` are free.
#[derive(Debug, Default)]
struct Pages {
    held: Mutex<Vec<Extent>>,
    refuse: Mutex<Option<Errno>>,
    base: usize,
}

impl Pages {
    fn starting_at(base: usize) -> Self {
        Self { base, ..Self::default() }
    }

    fn refused(&self) -> Result<(), Errno> {
        self.refuse.lock().unwrap().map_or(Ok(()), Err)
    }
}

// SAFETY: hands out each address once; nothing is ever accessed.
unsafe impl Platform for Pages {
    type Lock = SpinRwLock;
    type Space = usize;

    fn space(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }
    fn page_size_bytes(&self) -> usize {
        PAGE
    }
    fn cpu(&self) -> &Cpu {
        &Cpu::NONE
    }
    fn alignment_for(&self, length_bytes: usize) -> usize {
        if length_bytes >= 2 << 20 { 2 << 20 } else { PAGE }
    }
    fn reserve(&self, length_bytes: usize, alignment_bytes: usize) -> Result<Extent, ReserveError> {
        let window = Extent::new(self.base.next_multiple_of(alignment_bytes), length_bytes).ok_or(Errno::NOMEM)?;
        self.reserve_at(window).map(|()| window)
    }
    fn reserve_at(&self, window: Extent) -> Result<(), ReserveError> {
        self.refused()?;
        let mut held = self.held.lock().unwrap();
        if held.iter().any(|other| other.overlaps(window)) {
            return Err(ReserveError::Occupied);
        }
        held.push(window);
        Ok(())
    }
    unsafe fn release(&self, window: Extent) -> Result<(), Errno> {
        self.refused()?;
        let mut held = self.held.lock().unwrap();
        let at = held.iter().position(|other| *other == window).ok_or(Errno::INVAL)?;
        held.swap_remove(at);
        Ok(())
    }
}

/// Gives back what was reserved.
fn give_back(reservation: &Reservation<'_, &Pages>, window: Extent) {
    // SAFETY: nothing is mapped in these reservations.
    unsafe { reservation.release(window) }.unwrap();
}

/// Which pages are taken, one flag each.
struct Model {
    start: usize,
    taken: Vec<bool>,
    claimed: Vec<Extent>,
    /// How many windows the reservation counts.
    windows: usize,
    capacity: usize,
}

impl Model {
    fn pages(&self, window: Extent) -> core::ops::Range<usize> {
        (window.start() - self.start) / PAGE..(window.end() - self.start) / PAGE
    }

    /// Returns how many runs of free pages there are in front of a taken one.
    fn holes(&self) -> usize {
        self.taken.windows(2).filter(|pair| !pair[0] && pair[1]).count()
    }

    fn is_full(&self) -> bool {
        self.windows == self.capacity || self.holes() == self.capacity
    }

    fn first_fit(&self, pages: usize, alignment: usize) -> Result<Extent, ReserveError> {
        if self.is_full() {
            return Err(ReserveError::Full { capacity: self.capacity });
        }
        (0..self.taken.len().saturating_sub(pages - 1))
            .filter(|page| (self.start + page * PAGE).is_multiple_of(alignment))
            .find(|&page| !self.taken[page..page + pages].contains(&true))
            .and_then(|page| Extent::new(self.start + page * PAGE, pages * PAGE))
            .ok_or(ReserveError::CannotFit)
    }

    fn at(&self, window: Extent) -> Result<(), ReserveError> {
        if window.start() < self.start || window.end() > self.start + self.taken.len() * PAGE {
            Err(ReserveError::CannotFit)
        } else if self.taken[self.pages(window)].contains(&true) {
            Err(ReserveError::Occupied)
        } else if self.is_full() {
            Err(ReserveError::Full { capacity: self.capacity })
        } else {
            Ok(())
        }
    }

    fn claim(&mut self, window: Extent) {
        let pages = self.pages(window);
        self.taken[pages].fill(true);
        self.claimed.push(window);
        self.windows += 1;
    }

    /// Frees a piece.
    fn release(&mut self, piece: Extent) -> Result<(), Errno> {
        let inside = piece.start() >= self.start && piece.end() <= self.start + self.taken.len() * PAGE;
        if !inside || self.taken[self.pages(piece)].contains(&false) {
            return Err(Errno::INVAL);
        }
        let pages = self.pages(piece);
        self.taken[pages.clone()].fill(false);
        if self.holes() > self.capacity {
            self.taken[pages].fill(true);
            return Err(Errno::NOMEM);
        }
        let rests = |window: &Extent| match window.overlaps(piece) {
            true => vec![window.ending_at(piece.start()), window.starting_at(piece.end())],
            false => vec![Some(*window)],
        };
        self.claimed = self.claimed.iter().flat_map(rests).flatten().collect();
        self.windows = if self.claimed.is_empty() { 0 } else { self.windows.saturating_sub(1) };
        Ok(())
    }
}

/// Runs random operations on a reservation of `pages` pages from `start` on, at alignments from `alignments`; without
/// and with windows given back piecemeal.
fn against_the_model(room: usize, start: usize, pages: usize, alignments: &[usize], pages_max: usize, steps: usize) {
    for pieces in [false, true] {
        run_against_the_model(room, start, pages, alignments, pages_max, steps, pieces);
    }
}

fn run_against_the_model(
    room: usize,
    start: usize,
    pages: usize,
    alignments: &[usize],
    pages_max: usize,
    steps: usize,
    pieces: bool,
) {
    let platform = Pages::default();
    let window = Extent::new(start, pages * PAGE).unwrap();
    let reservation = Reservation::at_with_capacity(&platform, window, room).unwrap();
    let mut model = Model { start, taken: vec![false; pages], claimed: Vec::new(), windows: 0, capacity: room };
    let mut random = Random(start as u64 + pages as u64);
    for i in 0..steps {
        let length = 1 + random.next() % pages_max;
        let alignment = alignments[random.next() % alignments.len()];
        let some = Extent::new(start - 2 * PAGE + random.next() % (pages + 2) * PAGE, length * PAGE);
        let Some(some) = some else { continue };
        let emptying = (i / (steps / 6)) % 2 == 1;
        match random.next() % 4 {
            0 if !emptying => {
                let expected = model.at(some);
                assert_eq!(reservation.reserve_at(some), expected);
                if expected.is_ok() {
                    model.claim(some);
                }
            }
            1 | 2 if !emptying => {
                let expected = model.first_fit(length, alignment);
                assert_eq!(reservation.may_reserve(length * PAGE, alignment), expected.map(drop));
                assert_eq!(reservation.reserve(length * PAGE, alignment), expected);
                if let Ok(window) = expected {
                    model.claim(window);
                }
            }
            3 if pieces && random.next().is_multiple_of(2) => {
                let expected = model.release(some);
                // SAFETY: nothing is mapped in this reservation, and nobody else uses it.
                assert_eq!(unsafe { reservation.release(some) }, expected, "{some}");
            }
            _ if !model.claimed.is_empty() => {
                let window = model.claimed[random.next() % model.claimed.len()];
                let expected = model.release(window);
                // SAFETY: as above.
                assert_eq!(unsafe { reservation.release(window) }, expected, "{window}");
                // Nobody who gives back windows as they were claimed is ever refused.
                assert!(expected.is_ok() || pieces);
            }
            _ => {}
        }
        assert_eq!(reservation.holes.read().is_empty(), model.claimed.is_empty());
    }
    // From the top: a hole never is in front of nothing.
    model.claimed.sort_unstable();
    for window in model.claimed.into_iter().rev() {
        give_back(&reservation, window);
    }
    drop(reservation);
    assert!(platform.held.lock().unwrap().is_empty());
}

#[test]
fn agrees_with_a_map_of_the_pages() {
    const HUGE: usize = 2 << 20;
    let base = FAR;
    against_the_model(200, base, 300, &[PAGE], 5, 20_000);
    against_the_model(20, base + 3 * PAGE, 300, &[1, PAGE, 2 * PAGE, 16 * PAGE], 9, 20_000);
    against_the_model(100, base + HUGE - PAGE, 4_000, &[PAGE, HUGE, 4 * HUGE, 64 << 10], 700, 6_000);
    against_the_model(3, base, 8, &[PAGE, 2 * PAGE], 4, 5_000);
    against_the_model(1, 2 * PAGE, 8, &[PAGE, HUGE, 1 << 30], 4, 2_000);
    // Across a multiple of 1 GiB, and the last pages of the address space.
    against_the_model(50, (1 << 30) - 40 * PAGE, 100, &[PAGE, HUGE, 1 << 30], 9, 5_000);
    against_the_model(50, usize::MAX - 100 * PAGE + 1 - PAGE, 100, &[PAGE, HUGE, 1 << 30], 9, 5_000);
}

#[test]
fn threads_get_addresses_of_their_own() {
    const THREADS: usize = 32;
    const EACH: usize = 30;
    let platform = Pages::starting_at(FAR);
    let reservation = Reservation::with_capacity(&platform, THREADS * EACH * 6 * PAGE, THREADS * EACH).unwrap();
    let claimed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (reservation, claimed) = (&reservation, &claimed);
            scope.spawn(move || {
                let mut mine: Vec<Extent> = Vec::new();
                for i in 0.. {
                    if i % 3 == 2 {
                        give_back(reservation, mine.swap_remove(i / 7));
                    } else if mine.len() < EACH {
                        mine.push(reservation.reserve((1 + (thread + i) % 3) * PAGE, PAGE).unwrap());
                    } else {
                        break;
                    }
                }
                claimed.lock().unwrap().extend(mine);
            });
        }
    });
    let mut claimed = claimed.into_inner().unwrap();
    claimed.sort_unstable();
    assert_eq!(claimed.len(), THREADS * EACH);
    assert!(claimed.windows(2).all(|pair| pair[0].end() <= pair[1].start()));
    assert!(claimed.iter().all(|window| reservation.extent().covers(*window)));
    assert_eq!(reservation.reserve(PAGE, PAGE), Err(ReserveError::Full { capacity: THREADS * EACH }));
}

#[test]
fn what_cannot_be_reserved_is_refused() {
    let platform = Pages::starting_at(5 * PAGE);
    let unaligned = |length_bytes| ReservationError::LengthUnaligned { length_bytes, alignment_bytes: PAGE };
    let new = |length_bytes| Reservation::with_capacity(&platform, length_bytes, 4).map(|made| made.extent());
    let at = |start, length| {
        Reservation::at_with_capacity(&platform, Extent::new(start, length).unwrap(), 4).map(|made| made.extent())
    };
    assert_eq!(new(0), Err(unaligned(0)));
    assert_eq!(new(PAGE + 1), Err(unaligned(PAGE + 1)));
    assert_eq!(at(PAGE, 5), Err(unaligned(5)));
    assert_eq!(at(5, PAGE), Err(ReservationError::AddressUnaligned { address: 5, alignment_bytes: PAGE }));
    let taken = Reservation::with_capacity(&platform, 4 * PAGE, 4).unwrap();
    assert_eq!(taken.extent(), Extent::new(5 * PAGE, 4 * PAGE).unwrap());
    let window = Extent::new(8 * PAGE, 2 * PAGE).unwrap();
    assert_eq!(at(8 * PAGE, 2 * PAGE), Err(ReservationError::Occupied { window }));
    *platform.refuse.lock().unwrap() = Some(Errno::NOMEM);
    assert_eq!(new(PAGE), Err(ReservationError::AddressSpace { cause: ReserveError::Failed(Errno::NOMEM) }));
    assert_eq!(at(PAGE, PAGE), Err(ReservationError::AddressSpace { cause: ReserveError::Failed(Errno::NOMEM) }));
    *platform.refuse.lock().unwrap() = None;
    assert_eq!(platform.held.lock().unwrap().len(), 1);
    drop(taken);
    assert!(platform.held.lock().unwrap().is_empty());
}

#[test]
fn a_reservation_for_huge_pages_is_aligned_for_them() {
    let platform = Pages::starting_at(FAR + PAGE);
    let reservation = Reservation::with_capacity(&platform, 4 << 20, 4).unwrap();
    assert!(reservation.extent().is_aligned(2 << 20));
}

#[test]
fn closing_needs_an_empty_reservation() {
    let platform = Pages::starting_at(FAR);
    let mut reservation = Reservation::with_capacity(&platform, 4 * PAGE, 4).unwrap();
    let extent = reservation.extent();
    let window = reservation.reserve(PAGE, PAGE).unwrap();
    assert_eq!(reservation.close(), Err(ReservationError::NotEmpty { window: extent }));
    give_back(&reservation, window);
    *platform.refuse.lock().unwrap() = Some(Errno::INVAL);
    assert_eq!(reservation.close(), Err(ReservationError::Release { cause: Errno::INVAL }));
    *platform.refuse.lock().unwrap() = None;
    assert_eq!(reservation.reserve(4 * PAGE, PAGE), Ok(extent));
    give_back(&reservation, extent);
    assert_eq!(reservation.close(), Ok(()));
    assert!(platform.held.lock().unwrap().is_empty());
    assert_eq!(reservation.reserve(PAGE, PAGE), Err(ReserveError::CannotFit));
    assert_eq!(reservation.reserve_at(window), Err(ReserveError::CannotFit));
    // Somebody else has the addresses now: neither a second close nor the drop may take them away.
    platform.reserve_at(extent).unwrap();
    assert_eq!(reservation.close(), Ok(()));
    drop(reservation);
    assert_eq!(platform.held.lock().unwrap().len(), 1);
}

#[test]
fn a_reservation_in_use_is_not_given_back() {
    let platform = Pages::starting_at(FAR);
    let reservation = Reservation::with_capacity(&platform, 4 * PAGE, 4).unwrap();
    reservation.reserve(PAGE, PAGE).unwrap();
    drop(reservation);
    assert_eq!(platform.held.lock().unwrap().len(), 1);
}

#[test]
fn any_piece_is_given_back_and_nothing_that_is_free() {
    let platform = Pages::starting_at(FAR);
    let reservation = Reservation::with_capacity(&platform, 8 * PAGE, 2).unwrap();
    let window = reservation.reserve(4 * PAGE, PAGE).unwrap();
    // SAFETY: nothing is mapped in this reservation.
    let release = |window: Option<Extent>| unsafe { reservation.release(window.unwrap()) };
    assert_eq!(release(Extent::new(window.start(), 8 * PAGE)), Err(Errno::INVAL));
    assert_eq!(release(window.slice(PAGE, PAGE)), Ok(()));
    assert_eq!(release(window.slice(0, 2 * PAGE)), Err(Errno::INVAL));
    assert_eq!(reservation.reserve_at(window), Err(ReserveError::Occupied));
    assert_eq!(release(window.slice(3 * PAGE, PAGE)), Ok(()));
    assert_eq!(reservation.reserve(PAGE, PAGE).map(Some), Ok(window.slice(PAGE, PAGE)));
    assert_eq!(release(window.slice(0, 3 * PAGE)), Ok(()));
    assert_eq!(reservation.reserve(8 * PAGE, PAGE), Ok(reservation.extent()));
    assert_eq!(release(Some(reservation.extent())), Ok(()));
}

#[test]
fn holes_are_what_is_not_claimed() {
    let sizes = |claimed: &[usize]| {
        let platform = Pages::starting_at(FAR);
        let reservation = Reservation::with_capacity(&platform, 8 * PAGE, 8).unwrap();
        let page = |at: usize| reservation.extent().slice(at * PAGE, PAGE).unwrap();
        claimed.iter().for_each(|&at| reservation.reserve_at(page(at)).unwrap());
        let all = reservation.holes().flat_map(|hole| (0..8).filter(move |&at| hole.covers(page(at))));
        let free: Vec<usize> = all.collect();
        assert_eq!(free, (0..8).filter(|at| !claimed.contains(at)).collect::<Vec<_>>());
        reservation.holes().map(|hole| hole.length_bytes() / PAGE).collect::<Vec<_>>()
    };
    assert_eq!(sizes(&[]), [8]);
    assert_eq!(sizes(&[0]), [7]);
    assert_eq!(sizes(&[7, 0, 1]), [5]);
    assert_eq!(sizes(&[2, 4, 5]), [2, 1, 2]);
    assert_eq!(sizes(&[1, 3]), [1, 1, 4]);
    assert_eq!(sizes(&[0, 1, 2, 3, 4, 5, 6, 7]), [0; 0]);
}

#[test]
fn a_reservation_keeps_the_contract_of_a_platform() {
    use crate::sim::{Hardware, Machine, Medium};
    let machine = Machine::new(Hardware::new());
    let reservation = Reservation::with_capacity(machine.platform(), 1 << 20, 64).unwrap();
    let source = machine.add_source(Medium::new(1 << 16));
    let mut broken = Vec::new();
    let mut report = |duty: &'static str, result: crate::contract::Finding| {
        broken.extend(result.err().map(|breach| format!("{duty}: {breach}")));
    };
    crate::contract::platform(&reservation, &mut report);
    crate::contract::source(&reservation, &source, &mut report);
    assert_eq!(broken, [""; 0]);
    assert_eq!(reservation.holes.read().first_fit(1 << 20, 4096), Ok(reservation.extent()));
}
