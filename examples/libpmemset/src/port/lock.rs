//! The lock of a set: it spins, or it holds what the C program's `lock` has entered.

use critical_section::RawRestoreState;
use pmemset_core::lock::{CriticalSectionRwLock, RawLock, SpinRwLock};

use super::table::table;

/// A lock of both kinds: which one it is, the table says, and that never changes.
pub struct Lock {
    spinning: SpinRwLock,
    masking: CriticalSectionRwLock,
}

/// Returns whether the program has a `lock` of its own.
fn masks() -> bool {
    table().is_some_and(|table| table.lock.is_some())
}

macro_rules! either {
    ($self:ident, $lock:ident => $call:expr) => {
        if masks() {
            let $lock = &$self.masking;
            $call
        } else {
            let $lock = &$self.spinning;
            $call
        }
    };
}

// SAFETY: every call goes to one of two locks, always the same.
unsafe impl lock_api::RawRwLock for Lock {
    #[allow(clippy::declare_interior_mutable_const, reason = "the trait asks for it")]
    const INIT: Self = Self { spinning: RawLock::INIT, masking: RawLock::INIT };

    type GuardMarker = lock_api::GuardNoSend;

    fn lock_shared(&self) {
        either!(self, lock => RawLock::lock_shared(lock));
    }

    fn try_lock_shared(&self) -> bool {
        either!(self, lock => RawLock::try_lock_shared(lock))
    }

    unsafe fn unlock_shared(&self) {
        // SAFETY: the caller's promise is passed on as it is.
        either!(self, lock => unsafe { RawLock::unlock_shared(lock) });
    }

    fn lock_exclusive(&self) {
        either!(self, lock => RawLock::lock_exclusive(lock));
    }

    fn try_lock_exclusive(&self) -> bool {
        either!(self, lock => RawLock::try_lock_exclusive(lock))
    }

    unsafe fn unlock_exclusive(&self) {
        // SAFETY: the caller's promise is passed on as it is.
        either!(self, lock => unsafe { RawLock::unlock_exclusive(lock) });
    }
}

/// The program's `lock` and `unlock`, as what masks.
struct Section;

critical_section::set_impl!(Section);

// SAFETY: the program's functions keep everybody else out in between, as the header asks.
unsafe impl critical_section::Impl for Section {
    unsafe fn acquire() -> RawRestoreState {
        // SAFETY: it has no precondition.
        table().and_then(|table| table.lock).map_or(0, |lock| unsafe { lock() })
    }

    unsafe fn release(state: RawRestoreState) {
        if let Some(unlock) = table().and_then(|table| table.unlock) {
            // SAFETY: what `lock` has returned; those that were entered later have been left.
            unsafe { unlock(state) };
        }
    }
}

/// A value that its own critical section guards, or that a spinning lock does.
pub(super) type Guarded<T> = lock_api::RwLock<Lock, T>;

const _: () = assert!(size_of::<Lock>() == 8);
