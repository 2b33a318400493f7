//! A set in memory that the C program gives: the set, its books, and the records of its handles.

use core::alloc::Layout;
use core::ffi::{c_int, c_void};

use pmemset_core::{Granularity, Platform as _, Slab};

use super::lock::Guarded;
use super::source::SourceHandle;
use super::table::{Port, table};
use crate::code;
use crate::config::SetConfig;
use crate::part::PartMap;
use crate::set::{Pmemset, Set};

/// What a set is made with besides what every set is: memory, and for how many segments.
#[repr(C)]
pub(crate) struct SetPlace {
    memory: *mut c_void,
    bytes: usize,
    segments: usize,
}

/// Bytes of the header's `struct pmemset_config`.
const CONFIG_BYTES: usize = size_of::<[usize; 8]>();
const _: () = assert!(size_of::<SetConfig>() <= CONFIG_BYTES && align_of::<SetConfig>() <= align_of::<usize>());

/// Is `$call` with the smallest power of two as `$room` that `$segments` fit in; `None` where there is none.
macro_rules! sized {
    ($segments:expr, $room:ident => $call:expr) => {
        sized!($segments, $room => $call;
            1 2 4 8 16 32 64 128 256 512 1024 2048 4096 8192 16384 32768 65536)
    };
    ($segments:expr, $room:ident => $call:expr; $($size:literal)*) => {
        match $segments {
            0 => None,
            $(segments if segments <= $size && $size <= Port::SEGMENTS_MAX => {
                // A type for each size that this processor has, and none for others.
                const $room: usize = if $size <= Port::SEGMENTS_MAX { $size } else { 1 };
                $call
            })*
            _ => None,
        }
    };
}

type Books<const N: usize> = Slab<SourceHandle, N>;

/// Where the books begin behind the set, and where the handles begin behind them.
fn offsets<const N: usize>() -> Option<(usize, usize)> {
    let (set, books) = Layout::new::<Pmemset>().extend(Layout::new::<Books<N>>()).ok()?;
    let (_, handles) = set.extend(Layout::new::<PartMap>()).ok()?;
    Some((books, handles))
}

/// How the memory is aligned: as the C program's longest integer.
const ALIGNMENT: usize = 8;
const _: () = assert!(align_of::<Pmemset>() <= ALIGNMENT && align_of::<PartMap>() <= ALIGNMENT);
const _: () = assert!(align_of::<Books<64>>() <= ALIGNMENT);

#[unsafe(no_mangle)]
pub extern "C" fn pmemset_port_set_bytes(segments: usize, handles: usize) -> usize {
    let before = sized!(segments, ROOM => offsets::<ROOM>());
    let handles = size_of::<PartMap>().checked_mul(handles);
    before.zip(handles).and_then(|((_, before), handles)| before.checked_add(handles)).unwrap_or(0)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_port_config_set_memory(
    cfg: *mut SetConfig,
    memory: *mut c_void,
    bytes: usize,
    segments: usize,
) -> c_int {
    let needed = pmemset_port_set_bytes(segments, 0);
    if memory.is_null() || !memory.addr().is_multiple_of(ALIGNMENT) || needed == 0 || bytes < needed {
        return code::EINVAL;
    }
    // SAFETY: the caller's pointer.
    match unsafe { cfg.as_mut() } {
        Some(config) => config.place = SetPlace { memory, bytes, segments },
        None => return code::EINVAL,
    }
    0
}

/// Makes a set.
pub(crate) fn new_set(config: &SetConfig, granularity: Granularity) -> Result<*mut Pmemset, c_int> {
    let segments = config.place.segments;
    if table().is_none() || segments == 0 {
        return Err(code::EINVAL);
    }
    sized!(segments, ROOM => make::<ROOM>(config, granularity)).ok_or(code::EINVAL)
}

/// Makes a set with books for `N` segments.
fn make<const N: usize>(config: &SetConfig, granularity: Granularity) -> Option<*mut Pmemset> {
    let (books, handles) = offsets::<N>()?;
    let SetPlace { memory, bytes, .. } = config.place;
    let count = bytes.checked_sub(handles)?.checked_div(size_of::<PartMap>())?;
    let (set, memory): (*mut Pmemset, *mut u8) = (memory.cast(), memory.cast());
    let slab: *mut Books<N> = memory.wrapping_add(books).cast();
    // SAFETY: inside the memory, which is the library's until the set is deleted.
    unsafe { slab.write_bytes(0, 1) };
    // SAFETY: all of it zero, which is a slab that is not in use, as it says.
    let slab: &'static mut Books<N> = unsafe { &mut *slab };
    let handles = Handles::new(memory.wrapping_add(handles).cast(), count);
    let inside = Set::new(Port, config.of_set(granularity, set), slab);
    // SAFETY: inside the memory.
    unsafe { set.write(Pmemset::new(handles, inside, config.tells())) };
    Some(set)
}

/// Deletes what [`new_set`] has made.
///
/// # Safety
///
/// Nobody uses the set, or a handle of it, any more.
pub(crate) unsafe fn delete_set(set: *mut Pmemset) {
    // SAFETY: as the caller promises.
    unsafe { set.drop_in_place() };
}

/// The records of the handles of one set: as many as there was memory for. When they are dropped, so are the handles.
pub(crate) struct Handles {
    first: *mut PartMap,
    count: usize,
    free: Guarded<Free>,
}

/// Records that no handle has.
struct Free {
    /// The one that was given back last; each knows the one before it. As many as there are records is none.
    next: usize,
    /// How many records have ever been used.
    touched: usize,
}

impl Handles {
    const fn new(first: *mut PartMap, count: usize) -> Self {
        Self {
            first,
            count,
            free: Guarded::const_new(
                <super::lock::Lock as lock_api::RawRwLock>::INIT,
                Free { next: count, touched: 0 },
            ),
        }
    }

    /// Returns a record that no handle has.
    pub(crate) fn take(&self) -> Option<*mut PartMap> {
        let mut free = self.free.write();
        let place = if free.next < self.count { free.next } else { free.touched };
        if place >= self.count {
            return None;
        }
        let record = self.first.wrapping_add(place);
        if place == free.touched {
            free.touched = free.touched.wrapping_add(1);
        } else {
            // SAFETY: a record that was given back, which says which one was before.
            free.next = unsafe { (*record).place };
        }
        // SAFETY: inside the memory, and nobody's; nothing is left in it to drop.
        unsafe { record.write(PartMap::spare(place)) };
        Some(record)
    }

    /// Takes a record back.
    ///
    /// # Safety
    ///
    /// It is one of these, and no handle has it.
    pub(crate) unsafe fn give(&self, record: *mut PartMap) {
        let mut free = self.free.write();
        // SAFETY: a record of this list, which is nobody's now.
        core::mem::swap(unsafe { &mut (*record).place }, &mut free.next);
    }
}

impl Drop for Handles {
    fn drop(&mut self) {
        for place in 0..self.free.get_mut().touched {
            // SAFETY: used before; of one that was given back, nothing is left to drop.
            unsafe { self.first.wrapping_add(place).drop_in_place() };
        }
    }
}
