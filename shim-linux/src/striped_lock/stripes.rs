//! Who holds the lock, and who waits for it.

use super::sync::{AtomicU32, Ordering, SPINS, sleep, spin_loop, thread_pointer, wake};

/// The binary logarithm of the number of stripes: enough that two threads seldom share one.
const STRIPES_LOG: u32 = 4;
pub(super) const STRIPES: usize = 1 << STRIPES_LOG;
/// The bit of [`Stripes::state`] that says that there is a writer, or a reader that has met one.
const LOCKED: u32 = 1 << STRIPES;
/// There is a writer: readers go back.
pub(super) const WRITING: u32 = LOCKED << 1;
/// Somebody sleeps until [`LOCKED`] is unset.
const AWAITED: u32 = LOCKED << 2;
/// So many readers of one stripe never let go: the next one waits for ever instead of wrapping the count.
const READERS_MAX: u32 = 1 << 30;

/// The number of readers that hold the lock through this stripe.
#[repr(align(64))]
pub(super) struct Stripe(pub(super) AtomicU32);

/// The words of a lock.
pub(super) struct Stripes {
    /// Bit `i`: readers have used stripe `i`, and so a writer looks at it. Above these, who has the lock.
    pub(super) state: AtomicU32,
    pub(super) stripes: [Stripe; STRIPES],
}

impl Stripes {
    /// Returns the number of the calling thread's stripe: always the same one.
    #[inline]
    pub(super) fn index() -> u32 {
        // The multiplication spreads the stack size, which thread pointers are apart, over the top bits.
        let spread = (thread_pointer() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        #[allow(clippy::cast_possible_truncation, reason = "the top bits alone")]
        let index = (spread >> (64 - STRIPES_LOG)) as u32;
        index
    }

    #[inline]
    fn stripe(&self, index: u32) -> &AtomicU32 {
        let [first, ..] = &self.stripes;
        &self.stripes.get(index as usize).unwrap_or(first).0
    }

    /// Counts a reader; returns whether it has the lock. If not, it must leave.
    ///
    /// Sequentially consistent, like the writer's two steps: a reader that has counted itself, and then finds its
    /// stripe in use and no writer in one look at the state, comes before the writer's next change of the state. That
    /// change shows the writer which stripes are in use, and so the count.
    #[inline]
    pub(super) fn enter(&self, index: u32) -> bool {
        let stripe = 1 << index;
        self.stripe(index).fetch_add(1, Ordering::SeqCst) < READERS_MAX
            && (self.state.load(Ordering::SeqCst) & (WRITING | stripe) == stripe || self.enter_first(stripe))
    }

    /// Says that a stripe is in use; returns whether there was no writer then.
    #[cold]
    fn enter_first(&self, stripe: u32) -> bool {
        self.state.fetch_or(stripe, Ordering::SeqCst) & WRITING == 0
    }

    /// Undoes the count of a reader, and wakes the writer that waits for the last one.
    #[inline]
    pub(super) fn leave(&self, index: u32) {
        let stripe = self.stripe(index);
        if stripe.fetch_sub(1, Ordering::SeqCst) == 1 && self.state.load(Ordering::SeqCst) & WRITING != 0 {
            wake(stripe);
        }
    }

    /// Waits until no writer has the lock, and counts a reader that has met one, and so has said which stripe it uses.
    #[cold]
    pub(super) fn lock_shared_contended(&self, index: u32) {
        self.leave(index);
        // While this thread has it there is no writer, and other readers do not care.
        self.lock(LOCKED);
        let stripe = self.stripe(index);
        loop {
            let readers = stripe.load(Ordering::Relaxed);
            if readers < READERS_MAX {
                break;
            }
            sleep(stripe, readers);
        }
        stripe.fetch_add(1, Ordering::SeqCst);
        self.unlock(LOCKED);
    }

    /// Waits until there is neither a writer nor a reader, and is one.
    #[inline]
    pub(super) fn lock_exclusive(&self) {
        if self.readers(self.lock(LOCKED | WRITING)) != 0 {
            self.stripes.iter().for_each(|stripe| Self::wait_for_readers(&stripe.0));
        }
    }

    /// Is the writer if there is nobody else.
    pub(super) fn try_lock_exclusive(&self) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        while state & LOCKED == 0 {
            match self.take(state, LOCKED | WRITING) {
                Ok(used) if self.readers(used) == 0 => return true,
                Ok(_) => {
                    self.unlock_exclusive();
                    return false;
                }
                Err(now) => state = now,
            }
        }
        false
    }

    #[inline]
    pub(super) fn unlock_exclusive(&self) {
        self.unlock(LOCKED | WRITING);
    }

    /// Waits until [`LOCKED`] is unset, and sets the bits `mine`, which has it; returns the state before.
    #[inline]
    fn lock(&self, mine: u32) -> u32 {
        let state = self.state.load(Ordering::Relaxed);
        let free = if state & LOCKED == 0 { self.take(state, mine).ok() } else { None };
        free.unwrap_or_else(|| self.lock_contended(mine))
    }

    /// Sets the bits `mine` if the state is as it was. Sequentially consistent: see [`enter`](Self::enter).
    #[inline]
    fn take(&self, state: u32, mine: u32) -> Result<u32, u32> {
        self.state.compare_exchange(state, state | mine, Ordering::SeqCst, Ordering::Relaxed)
    }

    #[cold]
    fn lock_contended(&self, mine: u32) -> u32 {
        let mut spins = SPINS;
        loop {
            let state = self.state.load(Ordering::Relaxed);
            if state & LOCKED == 0 {
                if let Ok(before) = self.take(state, mine) {
                    return before;
                }
            } else if let Some(fewer) = spins.checked_sub(1) {
                spins = fewer;
                spin_loop();
            } else if state & AWAITED != 0 || self.take(state, AWAITED).is_ok() {
                sleep(&self.state, state | AWAITED);
            }
        }
    }

    /// Unsets the bits `mine`, and wakes those who sleep for that.
    #[inline]
    fn unlock(&self, mine: u32) {
        if self.state.fetch_sub(mine, Ordering::SeqCst) & AWAITED != 0 {
            self.wake_awaiting();
        }
    }

    /// Wakes all: whoever is not the next one says again that it waits.
    #[cold]
    fn wake_awaiting(&self) {
        // Before they wake, so that each that sleeps later has seen it unset.
        self.state.fetch_and(!AWAITED, Ordering::SeqCst);
        wake(&self.state);
    }

    /// Returns 0 if none of the stripes that are in use, as the state says, counts a reader.
    #[inline]
    fn readers(&self, state: u32) -> u32 {
        let (mut used, mut readers) = (state & (LOCKED - 1), 0);
        while used != 0 {
            readers |= self.stripe(used.trailing_zeros()).load(Ordering::SeqCst);
            used &= used.wrapping_sub(1);
        }
        readers
    }

    /// Waits until the stripe counts no reader.
    #[cold]
    fn wait_for_readers(stripe: &AtomicU32) {
        let mut spins = SPINS;
        loop {
            let readers = stripe.load(Ordering::SeqCst);
            if readers == 0 {
                return;
            }
            match spins.checked_sub(1) {
                Some(fewer) => {
                    spins = fewer;
                    spin_loop();
                }
                None => sleep(stripe, readers),
            }
        }
    }
}
