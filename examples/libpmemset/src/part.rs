//! Handles to parts. The set owns them all: it may be deleted while some are out.

use core::ffi::{c_int, c_void};

use pmemset_core::Part;
use pmemset_core::error::LookupError;

use crate::code;
use crate::host::fail;
use crate::set::{Descriptor, Pmemset, Set, removed};

/// `struct pmemset_part_map`: one reference to a part.
pub struct PartMap {
    owner: *const Pmemset,
    /// `None` only while a removal has it.
    part: Option<Part<&'static Set>>,
    /// Its place in the owner's list; of a spare record, that of the next spare one.
    pub(crate) place: usize,
}

impl PartMap {
    /// Returns a record that no handle has.
    pub(crate) const fn spare(place: usize) -> Self {
        Self { owner: core::ptr::null(), part: None, place }
    }
}

impl Pmemset {
    /// Makes a handle for C, or NULL and a message.
    ///
    /// The record is there before the part is looked up, so that what is found is stored in it at once.
    ///
    /// # Safety
    ///
    /// The set is one that the C program has, and is not deleted before its handles.
    #[inline]
    unsafe fn hand_out<'s>(
        &'s self,
        find: impl FnOnce(&'s Self) -> Result<Option<Part<&'s Set>>, LookupError>,
    ) -> Result<*mut PartMap, c_int> {
        let Some(record) = self.handles.take() else { return Err(fail(code::ENOMEM, "out of memory")) };
        match find(self) {
            Ok(Some(part)) => {
                // SAFETY: the set stays where it is until it is deleted, which deletes its handles first.
                let part = unsafe { core::mem::transmute::<Part<&Set>, Part<&'static Set>>(part) };
                // SAFETY: nobody else has the record.
                let PartMap { owner, part: place, .. } = unsafe { &mut *record };
                // SAFETY: nothing is left in it to drop.
                unsafe { core::ptr::write(place, Some(part)) };
                *owner = self;
                Ok(record)
            }
            other => {
                // SAFETY: taken above.
                unsafe { self.handles.give(record) };
                other.map(|_| core::ptr::null_mut()).map_err(|error| fail(error.code(), error))
            }
        }
    }

    /// Ends a handle.
    ///
    /// # Safety
    ///
    /// It is one of this set, and nobody uses it any more.
    #[inline]
    unsafe fn end(&self, handle: *mut PartMap) {
        // SAFETY: as the caller promises.
        let PartMap { owner, part, .. } = unsafe { &mut *handle };
        *owner = core::ptr::null();
        drop(part.take());
        // SAFETY: as the caller promises.
        unsafe { self.handles.give(handle) };
    }
}

/// Returns what `pmap` leads to; NULL where that is nothing.
///
/// # Safety
///
/// `pmap` is NULL, or readable.
unsafe fn inside(pmap: *mut *mut PartMap) -> *mut PartMap {
    // SAFETY: as the caller promises.
    if pmap.is_null() { core::ptr::null_mut() } else { unsafe { pmap.read() } }
}

/// Makes `*pmap` lead to what was found, or to nothing; returns 0 or why.
///
/// # Safety
///
/// `pmap` is NULL or writable; `set` is NULL, or a set that is not deleted meanwhile.
#[inline]
unsafe fn find<'s>(
    set: *const Pmemset,
    pmap: *mut *mut PartMap,
    find: impl FnOnce(&'s Pmemset) -> Result<Option<Part<&'s Set>>, LookupError>,
) -> c_int {
    if pmap.is_null() {
        return fail(code::EINVAL, "no place for the handle: the argument is NULL");
    }
    // SAFETY: as the caller promises.
    unsafe { pmap.write(core::ptr::null_mut()) };
    // SAFETY: as the caller promises.
    let Some(set) = (unsafe { set.as_ref() }) else { return fail(code::EINVAL, "the set is NULL") };
    // SAFETY: as the caller promises.
    let handle = unsafe { set.hand_out(find) };
    // SAFETY: as the caller promises.
    unsafe { pmap.write(handle.unwrap_or(core::ptr::null_mut())) };
    handle.err().unwrap_or(0)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_first_part_map(set: *const Pmemset, pmap: *mut *mut PartMap) {
    // SAFETY: the caller's pointers.
    unsafe { find(set, pmap, |set| set.set.first_part()) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_next_part_map(set: *const Pmemset, cur: *const PartMap, next: *mut *mut PartMap) {
    // SAFETY: the caller's pointer.
    let current = unsafe { cur.as_ref() }.and_then(|current| current.part.as_ref());
    // SAFETY: the caller's pointers.
    unsafe { find(set, next, |_| current.map_or(Ok(None), Part::next_part)) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_part_map_by_address(
    set: *const Pmemset,
    pmap: *mut *mut PartMap,
    addr: *const c_void,
) -> c_int {
    // SAFETY: the caller's pointers.
    unsafe { find(set, pmap, |set| set.set.part_at(addr.addr()).map(Some)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_descriptor_part_map(pmap: *const PartMap) -> Descriptor {
    // SAFETY: the caller's pointer.
    match unsafe { pmap.as_ref() }.and_then(|handle| handle.part.as_ref()) {
        Some(part) => part.current_extent().into(),
        None => {
            fail(code::EINVAL, "the handle is NULL");
            Descriptor { address: core::ptr::null_mut(), size: 0 }
        }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_part_map_drop(pmap: *mut *mut PartMap) {
    // SAFETY: the caller's pointer.
    let handle = unsafe { inside(pmap) };
    if handle.is_null() {
        return;
    }
    // SAFETY: the caller's pointer.
    let owner = unsafe { (*handle).owner };
    // SAFETY: its set lives, or the handle would have gone with it.
    if let Some(owner) = unsafe { owner.as_ref() } {
        // SAFETY: made by this set.
        unsafe { owner.end(handle) };
        // SAFETY: the caller's pointer.
        unsafe { pmap.write(core::ptr::null_mut()) };
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_remove_part_map(set: *const Pmemset, pmap: *mut *mut PartMap) -> c_int {
    // SAFETY: the caller's pointers.
    let handle = unsafe { inside(pmap) };
    // SAFETY: the caller's pointer.
    let (Some(owner), false) = (unsafe { set.as_ref() }, handle.is_null()) else {
        return fail(code::EINVAL, "the set or the handle is NULL");
    };
    // SAFETY: the caller's pointer.
    if unsafe { (*handle).owner } != set {
        return fail(code::PART_NOT_FOUND, "the handle is one of another set");
    }
    // SAFETY: the caller's pointer.
    let Some(part) = (unsafe { (*handle).part.take() }) else {
        return fail(code::PART_NOT_FOUND, "another thread is removing the part by this handle");
    };
    if let Err(refused) = owner.set.try_remove(part) {
        // SAFETY: the caller's pointer.
        unsafe { (*handle).part = Some(refused.part) };
        return removed(Err(refused.error));
    }
    // SAFETY: made by this set.
    unsafe { owner.end(handle) };
    // SAFETY: the caller's pointer.
    unsafe { pmap.write(core::ptr::null_mut()) };
    0
}
