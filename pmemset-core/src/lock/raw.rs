//! What a platform's lock is.

/// A platform's lock: one writer, or any number of readers.
///
/// Every `RawRwLock` of `lock_api` implements it. It is a separate trait for locks that must not be held longer than a
/// call of this crate, such as `CriticalSectionRwLock`: only this crate can make guards of them.
///
/// # Safety
///
/// Between `lock_exclusive` or a `try_lock_exclusive` that said `true`, and `unlock_exclusive`, no other call takes the
/// lock; while readers have it, no writer does. What was written before an unlock is seen after the next lock.
pub unsafe trait RawLock {
    /// A lock that nobody holds.
    #[allow(clippy::declare_interior_mutable_const, reason = "as in `lock_api`")]
    const INIT: Self;

    /// Whether others can run, and so want the lock, while somebody holds it; not if it masks interrupts.
    const LETS_OTHERS_RUN: bool = true;

    /// Waits until no writer holds the lock, and takes it for reading.
    fn lock_shared(&self);

    /// Takes the lock for reading if it is free for readers now.
    fn try_lock_shared(&self) -> bool;

    /// Releases the lock after reading.
    ///
    /// # Safety
    ///
    /// The caller has taken it so, and not yet given it back.
    unsafe fn unlock_shared(&self);

    /// Waits until nobody holds the lock, and takes it for writing.
    fn lock_exclusive(&self);

    /// Takes the lock for writing if it is free now.
    fn try_lock_exclusive(&self) -> bool;

    /// Releases the lock after writing.
    ///
    /// # Safety
    ///
    /// The caller has taken it so, and not yet given it back.
    unsafe fn unlock_exclusive(&self);
}

// SAFETY: `lock_api` asks for the same.
unsafe impl<L: lock_api::RawRwLock> RawLock for L {
    #[allow(clippy::declare_interior_mutable_const, reason = "as in `lock_api`")]
    const INIT: Self = L::INIT;

    #[inline]
    fn lock_shared(&self) {
        lock_api::RawRwLock::lock_shared(self);
    }

    #[inline]
    fn try_lock_shared(&self) -> bool {
        lock_api::RawRwLock::try_lock_shared(self)
    }

    #[inline]
    unsafe fn unlock_shared(&self) {
        // SAFETY: the caller's promise.
        unsafe { lock_api::RawRwLock::unlock_shared(self) };
    }

    #[inline]
    fn lock_exclusive(&self) {
        lock_api::RawRwLock::lock_exclusive(self);
    }

    #[inline]
    fn try_lock_exclusive(&self) -> bool {
        lock_api::RawRwLock::try_lock_exclusive(self)
    }

    #[inline]
    unsafe fn unlock_exclusive(&self) {
        // SAFETY: the caller's promise.
        unsafe { lock_api::RawRwLock::unlock_exclusive(self) };
    }
}

/// A platform's lock as one of `lock_api`'s, for guards that no call of this crate outlives.
pub(crate) struct CallLock<L>(L);

impl<L: RawLock> CallLock<L> {
    #[allow(clippy::declare_interior_mutable_const, reason = "as in `lock_api`")]
    pub(crate) const INIT: Self = Self(L::INIT);
}

// SAFETY: as the lock inside.
unsafe impl<L: RawLock> lock_api::RawRwLock for CallLock<L> {
    #[allow(clippy::declare_interior_mutable_const, reason = "the trait asks for it")]
    const INIT: Self = Self::INIT;

    type GuardMarker = lock_api::GuardNoSend;

    #[inline]
    fn lock_shared(&self) {
        self.0.lock_shared();
    }

    #[inline]
    fn try_lock_shared(&self) -> bool {
        self.0.try_lock_shared()
    }

    #[inline]
    unsafe fn unlock_shared(&self) {
        // SAFETY: the caller's promise.
        unsafe { self.0.unlock_shared() };
    }

    #[inline]
    fn lock_exclusive(&self) {
        self.0.lock_exclusive();
    }

    #[inline]
    fn try_lock_exclusive(&self) -> bool {
        self.0.try_lock_exclusive()
    }

    #[inline]
    unsafe fn unlock_exclusive(&self) {
        // SAFETY: the caller's promise.
        unsafe { self.0.unlock_exclusive() };
    }
}
