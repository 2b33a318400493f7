//! Both locks keep writers alone.

use lock_api::{RawRwLock, RwLock};

use super::{CallLock, CriticalSectionRwLock, SpinRwLock};

fn one_writer_or_many_readers<L: RawRwLock>() {
    let lock: RwLock<L, u32> = RwLock::new(1);
    let (first, second) = (lock.read(), lock.read());
    assert!(lock.try_write().is_none());
    drop(first);
    assert!(lock.try_write().is_none() && lock.is_locked());
    drop(second);
    assert!(!lock.is_locked());
    let mut writer = lock.write();
    assert!(lock.try_read().is_none() && lock.try_write().is_none() && lock.is_locked());
    *writer = 2;
    drop(writer);
    assert_eq!(*lock.read(), 2);
}

fn threads_count_right<L: RawRwLock + Send + Sync>() {
    let lock: RwLock<L, u32> = RwLock::const_new(L::INIT, 0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1000 {
                    *lock.write() += 1;
                    let _ = *lock.read();
                }
            });
        }
    });
    assert_eq!(*lock.read(), 4000);
}

#[test]
fn the_one_that_spins_keeps_writers_alone() {
    one_writer_or_many_readers::<SpinRwLock>();
    threads_count_right::<SpinRwLock>();
}

#[test]
fn the_one_that_masks_keeps_writers_alone() {
    let _alone = super::masked::ALONE.lock().unwrap();
    one_writer_or_many_readers::<CallLock<CriticalSectionRwLock>>();
    threads_count_right::<CallLock<CriticalSectionRwLock>>();
}
