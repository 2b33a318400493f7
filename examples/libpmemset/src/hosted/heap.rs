//! The heap of the C program, for what the library keeps there.

use core::alloc::{GlobalAlloc, Layout};
use core::ffi::{c_int, c_void};

unsafe extern "C" {
    fn malloc(size: usize) -> *mut c_void;
    fn calloc(count: usize, size: usize) -> *mut c_void;
    fn realloc(memory: *mut c_void, size: usize) -> *mut c_void;
    fn posix_memalign(memory: *mut *mut c_void, alignment: usize, size: usize) -> c_int;
    fn free(memory: *mut c_void);
}

/// malloc(3) and its family.
struct Heap;

/// The alignment that `malloc` gives.
const ALIGNMENT: usize = 2 * size_of::<usize>();

// SAFETY: memory of malloc(3) and posix_memalign(3) is the caller's until it is given to free(3); its alignment is at
// least the one asked for.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() <= ALIGNMENT {
            // SAFETY: no precondition.
            return unsafe { malloc(layout.size()) }.cast();
        }
        let mut memory = core::ptr::null_mut();
        // SAFETY: the alignment is a power of two, and a multiple of a pointer's size because it is larger than that.
        let failed = unsafe { posix_memalign(&raw mut memory, layout.align(), layout.size()) };
        if failed == 0 { memory.cast() } else { core::ptr::null_mut() }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.align() <= ALIGNMENT {
            // Large blocks come from the kernel as they are, zero and untouched.
            // SAFETY: no precondition.
            return unsafe { calloc(1, layout.size()) }.cast();
        }
        // SAFETY: the caller's promise is passed on as it is.
        let memory = unsafe { self.alloc(layout) };
        if !memory.is_null() {
            // SAFETY: `size` bytes were allocated just now.
            unsafe { memory.write_bytes(0, layout.size()) };
        }
        memory
    }

    unsafe fn dealloc(&self, memory: *mut u8, _: Layout) {
        // SAFETY: the caller has it from here.
        unsafe { free(memory.cast()) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if layout.align() <= ALIGNMENT {
            // SAFETY: the caller has it from here.
            return unsafe { realloc(memory.cast(), size) }.cast();
        }
        // SAFETY: the caller promises that the new size makes a layout.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: the size is not 0, as the caller promises.
        let moved = unsafe { self.alloc(wanted) };
        if !moved.is_null() {
            // SAFETY: both are as long as that, and apart.
            unsafe { core::ptr::copy_nonoverlapping(memory, moved, layout.size().min(size)) };
            // SAFETY: the caller has it from here.
            unsafe { free(memory.cast()) };
        }
        moved
    }
}

#[global_allocator]
static HEAP: Heap = Heap;

/// Returns on the heap what `value` makes, which is told its place; `None` where there is no room. [`delete`] takes it
/// from there.
pub(super) fn new_with<T>(value: impl FnOnce(*mut T) -> T) -> Option<*mut T> {
    const { assert!(size_of::<T>() > 0) };
    // SAFETY: the layout is that of a type with a size.
    let place = unsafe { alloc::alloc::alloc(Layout::new::<T>()) }.cast::<T>();
    if place.is_null() {
        return None;
    }
    // SAFETY: allocated just now, for one `T`.
    unsafe { place.write(value(place)) };
    Some(place)
}

/// Drops what `object` leads to and gives it back to the heap, and makes `object` NULL; NULL it may be before.
///
/// # Safety
///
/// `object` is NULL, or leads to NULL or to what [`new_with`] has returned, and nobody uses that any more.
pub(super) unsafe fn delete<T>(object: *mut *mut T) {
    if object.is_null() {
        return;
    }
    // SAFETY: as the caller promises.
    let inside = unsafe { object.replace(core::ptr::null_mut()) };
    if !inside.is_null() {
        // SAFETY: as the caller promises; a box of this type has the layout that `new_with` has used.
        drop(unsafe { alloc::boxed::Box::from_raw(inside) });
    }
}
