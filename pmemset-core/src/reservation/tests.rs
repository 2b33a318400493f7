//! Reservations against a map of their pages, in a world with few addresses.

use std::sync::Mutex;

use super::*;
use crate::arch::Cpu;
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
    fn reserve(&self, length_bytes: usize, alignment_bytes: usize) -> Result<Extent, Errno> {
        let window = Extent::new(self.base.next_multiple_of(alignment_bytes), length_bytes).ok_or(Errno::NOMEM)?;
        self.reserve_at(window).map(|()| window)
    }
    fn reserve_at(&self, window: Extent) -> Result<(), Errno> {
        self.refused()?;
        let mut held = self.held.lock().unwrap();
        if held.iter().any(|other| other.overlaps(window)) {
            return Err(Errno::EXIST);
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

/// Which pages are taken, one flag each.
struct Model {
    start: usize,
    taken: Vec<bool>,
    claimed: Vec<Extent>,
    capacity: usize,
}

impl Model {
    fn pages(&self, window: Extent) -> core::ops::Range<usize> {
        (window.start() - self.start) / PAGE..(window.end() - self.start) / PAGE
    }

    fn first_fit(&self, pages: usize, alignment: usize) -> Result<Extent, ClaimError> {
        if self.claimed.len() == self.capacity {
            return Err(ClaimError::Full { capacity: self.capacity });
        }
        (0..self.taken.len().saturating_sub(pages - 1))
            .filter(|page| (self.start + page * PAGE).is_multiple_of(alignment))
            .find(|&page| !self.taken[page..page + pages].contains(&true))
            .and_then(|page| Extent::new(self.start + page * PAGE, pages * PAGE))
            .ok_or(ClaimError::CannotFit)
    }

    fn at(&self, window: Extent) -> Result<(), ClaimError> {
        if window.start() < self.start || window.end() > self.start + self.taken.len() * PAGE {
            Err(ClaimError::OutOfRange)
        } else if self.taken[self.pages(window)].contains(&true) {
            Err(ClaimError::Occupied)
        } else if self.claimed.len() == self.capacity {
            Err(ClaimError::Full { capacity: self.capacity })
        } else {
            Ok(())
        }
    }

    fn claim(&mut self, window: Extent) {
        let pages = self.pages(window);
        self.taken[pages].fill(true);
        self.claimed.push(window);
    }

    fn give_back(&mut self, at: usize) -> Extent {
        let window = self.claimed.swap_remove(at);
        let pages = self.pages(window);
        self.taken[pages].fill(false);
        window
    }
}

/// Runs random operations on a reservation of `pages` pages from `start` on, at alignments from `alignments`.
fn against_the_model<const M: usize>(start: usize, pages: usize, alignments: &[usize], pages_max: usize, steps: usize) {
    let platform = Pages::default();
    let window = Extent::new(start, pages * PAGE).unwrap();
    let reservation = Reservation::<_, M>::at(&platform, window).unwrap();
    let mut model = Model { start, taken: vec![false; pages], claimed: Vec::new(), capacity: M };
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
                assert_eq!(reservation.claim_at(some), expected);
                if expected.is_ok() {
                    model.claim(some);
                }
            }
            1 | 2 if !emptying => {
                let expected = model.first_fit(length, alignment);
                assert_eq!(reservation.check_first_fit(length * PAGE, alignment), expected.map(drop));
                assert_eq!(reservation.claim_first_fit(length * PAGE, alignment), expected);
                if let Ok(window) = expected {
                    model.claim(window);
                }
            }
            3 if !model.claimed.contains(&some) => reservation.give_back(some),
            _ if !model.claimed.is_empty() => {
                let at = random.next() % model.claimed.len();
                reservation.give_back(model.give_back(at));
            }
            _ => {}
        }
    }
    for window in model.claimed {
        reservation.give_back(window);
    }
    drop(reservation);
    assert!(platform.held.lock().unwrap().is_empty());
}

#[test]
fn agrees_with_a_map_of_the_pages() {
    const HUGE: usize = 2 << 20;
    let base = FAR;
    against_the_model::<200>(base, 300, &[PAGE], 5, 20_000);
    against_the_model::<20>(base + 3 * PAGE, 300, &[1, PAGE, 2 * PAGE, 16 * PAGE], 9, 20_000);
    against_the_model::<100>(base + HUGE - PAGE, 4_000, &[PAGE, HUGE, 4 * HUGE, 64 << 10], 700, 6_000);
    against_the_model::<3>(base, 8, &[PAGE, 2 * PAGE], 4, 5_000);
    against_the_model::<1>(2 * PAGE, 8, &[PAGE, HUGE, 1 << 30], 4, 2_000);
    // Across a multiple of 1 GiB, and the last pages of the address space.
    against_the_model::<50>((1 << 30) - 40 * PAGE, 100, &[PAGE, HUGE, 1 << 30], 9, 5_000);
    against_the_model::<50>(usize::MAX - 100 * PAGE + 1 - PAGE, 100, &[PAGE, HUGE, 1 << 30], 9, 5_000);
}

#[test]
fn threads_get_addresses_of_their_own() {
    const THREADS: usize = 32;
    const EACH: usize = 30;
    let platform = Pages::starting_at(FAR);
    let reservation = Reservation::<_, { THREADS * EACH }>::new(&platform, THREADS * EACH * 6 * PAGE).unwrap();
    let claimed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (reservation, claimed) = (&reservation, &claimed);
            scope.spawn(move || {
                let mut mine: Vec<Extent> = Vec::new();
                for i in 0.. {
                    if i % 3 == 2 {
                        reservation.give_back(mine.swap_remove(i / 7));
                    } else if mine.len() < EACH {
                        mine.push(reservation.claim_first_fit((1 + (thread + i) % 3) * PAGE, PAGE).unwrap());
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
    assert_eq!(reservation.claim_first_fit(PAGE, PAGE), Err(ClaimError::Full { capacity: THREADS * EACH }));
}

#[test]
fn what_cannot_be_reserved_is_refused() {
    let platform = Pages::starting_at(5 * PAGE);
    let unaligned = |length_bytes| ReservationError::LengthUnaligned { length_bytes, alignment_bytes: PAGE };
    let new = |length_bytes| Reservation::<_, 4>::new(&platform, length_bytes).map(|made| made.extent());
    let at = |start, length| {
        Reservation::<_, 4>::at(&platform, Extent::new(start, length).unwrap()).map(|made| made.extent())
    };
    assert_eq!(new(0), Err(unaligned(0)));
    assert_eq!(new(PAGE + 1), Err(unaligned(PAGE + 1)));
    assert_eq!(at(PAGE, 5), Err(unaligned(5)));
    assert_eq!(at(5, PAGE), Err(ReservationError::AddressUnaligned { address: 5, alignment_bytes: PAGE }));
    let taken = Reservation::<_, 4>::new(&platform, 4 * PAGE).unwrap();
    assert_eq!(taken.extent(), Extent::new(5 * PAGE, 4 * PAGE).unwrap());
    let window = Extent::new(8 * PAGE, 2 * PAGE).unwrap();
    assert_eq!(at(8 * PAGE, 2 * PAGE), Err(ReservationError::Occupied { window }));
    *platform.refuse.lock().unwrap() = Some(Errno::NOMEM);
    assert_eq!(new(PAGE), Err(ReservationError::AddressSpace { cause: Errno::NOMEM }));
    assert_eq!(at(PAGE, PAGE), Err(ReservationError::AddressSpace { cause: Errno::NOMEM }));
    *platform.refuse.lock().unwrap() = None;
    assert_eq!(platform.held.lock().unwrap().len(), 1);
    drop(taken);
    assert!(platform.held.lock().unwrap().is_empty());
}

#[test]
fn a_reservation_for_huge_pages_is_aligned_for_them() {
    let platform = Pages::starting_at(FAR + PAGE);
    let reservation = Reservation::<_, 4>::new(&platform, 4 << 20).unwrap();
    assert!(reservation.extent().is_aligned(2 << 20));
}

#[test]
fn closing_needs_an_empty_reservation() {
    let platform = Pages::starting_at(FAR);
    let mut reservation = Reservation::<_, 4>::new(&platform, 4 * PAGE).unwrap();
    let extent = reservation.extent();
    let window = reservation.claim_first_fit(PAGE, PAGE).unwrap();
    assert_eq!(reservation.close(), Err(ReservationError::NotEmpty { window: extent }));
    reservation.give_back(window);
    *platform.refuse.lock().unwrap() = Some(Errno::INVAL);
    assert_eq!(reservation.close(), Err(ReservationError::AddressSpace { cause: Errno::INVAL }));
    *platform.refuse.lock().unwrap() = None;
    assert_eq!(reservation.claim_first_fit(4 * PAGE, PAGE), Ok(extent));
    reservation.give_back(extent);
    assert_eq!(reservation.close(), Ok(()));
    assert!(platform.held.lock().unwrap().is_empty());
    assert_eq!(reservation.claim_first_fit(PAGE, PAGE), Err(ClaimError::CannotFit));
    assert_eq!(reservation.claim_at(window), Err(ClaimError::CannotFit));
    // Somebody else has the addresses now: neither a second close nor the drop may take them away.
    platform.reserve_at(extent).unwrap();
    assert_eq!(reservation.close(), Ok(()));
    drop(reservation);
    assert_eq!(platform.held.lock().unwrap().len(), 1);
}

#[test]
fn a_reservation_in_use_is_not_given_back() {
    let platform = Pages::starting_at(FAR);
    let reservation = Reservation::<_, 4>::new(&platform, 4 * PAGE).unwrap();
    reservation.claim_first_fit(PAGE, PAGE).unwrap();
    drop(reservation);
    assert_eq!(platform.held.lock().unwrap().len(), 1);
}

#[test]
fn only_the_window_that_was_claimed_is_given_back() {
    let platform = Pages::starting_at(FAR);
    let reservation = Reservation::<_, 4>::new(&platform, 8 * PAGE).unwrap();
    let window = reservation.claim_first_fit(4 * PAGE, PAGE).unwrap();
    for wrong in [window.slice(0, PAGE), window.slice(PAGE, 3 * PAGE), Extent::new(window.start(), 8 * PAGE)] {
        reservation.give_back(wrong.unwrap());
        assert_eq!(reservation.claim_at(window), Err(ClaimError::Occupied));
    }
    reservation.give_back(window);
    assert_eq!(reservation.claim_first_fit(8 * PAGE, PAGE), Ok(reservation.extent()));
}
