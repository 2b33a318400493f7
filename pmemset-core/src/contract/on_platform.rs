//! The duties of a platform.
#![allow(unsafe_code, reason = "the checks do with a port what a set does")]

use crate::lock::RawLock;

use super::bed::{Reserved, ensure_taken};
use super::{Breach, Finding, KEPT, ensure};
use crate::arch::StoreKind;
use crate::error::ReserveError;
use crate::{Errno, Extent, Platform};

/// [`Platform::page_size_bytes`]: a power of two that never changes.
pub fn page_size_is_a_power_of_two_and_stays<P: Platform>(platform: &P) -> Finding {
    let page_bytes = platform.page_size_bytes();
    ensure(page_bytes.is_power_of_two(), Breach::of("a power of two").number(page_bytes as u64))?;
    ensure(platform.page_size_bytes() == page_bytes, Breach::of("always the same page size"))?;
    KEPT
}

/// [`Platform::cpu`]: lines are a power of two and not longer than a page.
pub fn cache_line_fits_the_page<P: Platform>(platform: &P) -> Finding {
    let line_bytes = platform.cpu().line_bytes();
    let breach = Breach::of("a power of two, at most the page size").number(line_bytes as u64);
    ensure(line_bytes.is_power_of_two() && line_bytes <= platform.page_size_bytes(), breach)?;
    KEPT
}

/// [`Platform::alignment_for`]: a power of two, no less than the page size, for every length.
pub fn suggested_alignment_is_whole_pages<P: Platform>(platform: &P) -> Finding {
    let page_bytes = platform.page_size_bytes();
    let mut length_bytes = page_bytes;
    loop {
        let alignment_bytes = platform.alignment_for(length_bytes);
        let breach = Breach::of("a power of two, at least the page size").number(alignment_bytes as u64);
        ensure(alignment_bytes.is_power_of_two() && alignment_bytes >= page_bytes, breach)?;
        match length_bytes.checked_mul(2).filter(|length_bytes| isize::try_from(*length_bytes).is_ok()) {
            Some(longer) => length_bytes = longer,
            None => return KEPT,
        }
    }
}

/// [`Platform::Lock`]: one writer, or any number of readers.
pub fn lock_excludes<P: Platform>(_: &P) -> Finding {
    let lock = <P::Lock as RawLock>::INIT;
    ensure(lock.try_lock_exclusive(), Breach::of("a free lock to be taken for writing"))?;
    ensure(!lock.try_lock_shared(), Breach::of("no reader beside a writer"))?;
    ensure(!lock.try_lock_exclusive(), Breach::of("no writer beside a writer"))?;
    // SAFETY: taken above, by this thread.
    unsafe { lock.unlock_exclusive() };
    ensure(lock.try_lock_shared(), Breach::of("a free lock to be taken for reading"))?;
    ensure(!lock.try_lock_exclusive(), Breach::of("no writer beside a reader"))?;
    // SAFETY: taken above, by this thread.
    unsafe { lock.unlock_shared() };
    ensure(lock.try_lock_exclusive(), Breach::of("the lock to be free after its reader"))?;
    // SAFETY: taken just now, by this thread.
    unsafe { lock.unlock_exclusive() };
    KEPT
}

/// [`Platform::reserve`]: the length asked for, on a multiple of the alignment asked for.
pub fn reservation_has_the_length_and_alignment_asked_for<P: Platform>(platform: &P) -> Finding {
    let page_bytes = platform.page_size_bytes();
    for (pages, factor) in [(1, 1), (3, 1), (1, 4), (2, 16), (5, 64)] {
        let (length_bytes, alignment_bytes) = (page_bytes.saturating_mul(pages), page_bytes.saturating_mul(factor));
        let reserved = match Reserved::new(platform, length_bytes, alignment_bytes) {
            // A small machine may have no such place.
            Err(Breach { errno: Some(Errno::NOMEM), .. }) if factor > 4 => continue,
            reserved => reserved?,
        };
        let extent = reserved.extent;
        let aligned = extent.start() & alignment_bytes.wrapping_sub(1) == 0;
        ensure(aligned, Breach::of("the alignment asked for").number(alignment_bytes as u64).at(extent))?;
    }
    KEPT
}

/// [`Platform::reserve`]: nothing else is ever placed in a reservation.
pub fn reservations_lie_apart<P: Platform>(platform: &P) -> Finding {
    let page_bytes = platform.page_size_bytes();
    let all = [
        Reserved::new(platform, page_bytes.saturating_mul(3), page_bytes)?,
        Reserved::new(platform, page_bytes, page_bytes.saturating_mul(4))?,
        Reserved::new(platform, page_bytes.saturating_mul(2), page_bytes)?,
        Reserved::new(platform, page_bytes, page_bytes)?,
    ];
    for (index, one) in all.iter().enumerate() {
        let before = all.iter().take(index);
        for other in before {
            ensure(!one.extent.overlaps(other.extent), Breach::of("reservations apart").at(one.extent))?;
        }
    }
    KEPT
}

/// [`Platform::reserve_at`]: `Occupied` where anything is, and nothing changes.
pub fn reservation_is_refused_where_one_is<P: Platform>(platform: &P) -> Finding {
    let page_bytes = platform.page_size_bytes();
    let reserved = Reserved::new(platform, page_bytes.saturating_mul(4), page_bytes)?;
    let whole = reserved.extent;
    ensure_taken(platform, whole)?;
    reserved.release()?;
    let middle = whole.start().saturating_add(page_bytes.saturating_mul(2));
    let (Some(low), Some(high)) = (whole.ending_at(middle), whole.starting_at(middle)) else { return KEPT };
    for (taken, free) in [(low, high), (high, low)] {
        let taken = Reserved::at(platform, taken)?;
        match platform.reserve_at(whole) {
            Err(ReserveError::Occupied) => {}
            Err(error) => return Err(Breach::of("Occupied where half is taken").at(whole).refused(error)),
            Ok(()) => return Err(Breach::of("a window that is half taken to be refused").at(whole)),
        }
        // The refused call has not taken the free half.
        Reserved::at(platform, free)?.release()?;
        taken.release()?;
    }
    KEPT
}

/// [`Platform::release`]: the address space is free again.
pub fn released_space_can_be_reserved_again<P: Platform>(platform: &P) -> Finding {
    let page_bytes = platform.page_size_bytes();
    let reserved = Reserved::new(platform, page_bytes.saturating_mul(2), page_bytes)?;
    let extent = reserved.extent;
    reserved.release()?;
    Reserved::at(platform, extent)?.release()?;
    KEPT
}

/// [`Platform::release`] of a tail and [`Platform::reserve_at`] behind a reservation: both in place, and the rest
/// stays.
pub fn tail_can_be_released_and_extended<P: Platform>(platform: &P) -> Finding {
    let page_bytes = platform.page_size_bytes();
    let mut reserved = Reserved::new(platform, page_bytes.saturating_mul(4), page_bytes)?;
    let whole = reserved.extent;
    reserved.shorten(whole.start().saturating_add(page_bytes))?;
    ensure_taken(platform, reserved.extent)?;
    reserved.lengthen(whole.end())?;
    ensure_taken(platform, whole)?;
    reserved.release()?;
    KEPT
}

/// [`Platform::release`]: any piece of a reservation, and only that piece.
pub fn any_piece_can_be_released<P: Platform>(platform: &P) -> Finding {
    let page_bytes = platform.page_size_bytes();
    let whole = Reserved::new(platform, page_bytes.saturating_mul(5), page_bytes)?.keep();
    let at = |pages: usize| whole.start().saturating_add(page_bytes.saturating_mul(pages));
    let piece = |from, to| Extent::between(at(from), at(to)).map(|extent| Reserved::of(platform, extent));
    let (Some(front), Some(one), Some(middle), Some(rest)) = (piece(0, 1), piece(1, 2), piece(2, 3), piece(3, 5))
    else {
        return Err(Breach::of("pages that fit the address space").number(page_bytes as u64));
    };
    for gone in [middle, front] {
        let extent = gone.extent;
        gone.release()?;
        ensure_taken(platform, one.extent)?;
        ensure_taken(platform, rest.extent)?;
        Reserved::at(platform, extent)?.release()?;
    }
    one.release()?;
    rest.release()?;
    KEPT
}

/// [`Platform::reserve`]: more than there is is an error.
pub fn impossible_reservation_is_refused<P: Platform>(platform: &P) -> Finding {
    let page_bytes = platform.page_size_bytes();
    let most = isize::MAX.unsigned_abs() & !page_bytes.wrapping_sub(1);
    match platform.reserve(most, page_bytes) {
        Err(_) => KEPT,
        Ok(extent) => {
            // SAFETY: reserved just now.
            let _ = unsafe { platform.release(extent) };
            Err(Breach::of("half of all addresses to be more than there is").at(extent))
        }
    }
}

const BUFFER_BYTES: usize = 192;

#[repr(align(64))]
struct Buffer([u8; BUFFER_BYTES]);

impl Buffer {
    fn numbered() -> Self {
        let mut bytes = [0; BUFFER_BYTES];
        for (byte, number) in bytes.iter_mut().zip(1_u8..) {
            *byte = number;
        }
        Self(bytes)
    }
}

/// [`Platform::copy`]: every byte and no other, also where the ranges overlap.
pub fn copy_moves_every_byte<P: Platform>(platform: &P) -> Finding {
    for kind in [StoreKind::Cached, StoreKind::Streaming] {
        for (from, to) in [(0, 64), (0, 1), (1, 0), (3, 8), (8, 3), (5, 77), (64, 0), (16, 16)] {
            for length_bytes in 0..BUFFER_BYTES.saturating_sub(96) {
                let mut buffer = Buffer::numbered();
                let mut model = Buffer::numbered();
                model.0.copy_within(from..length_bytes.saturating_add(from), to);
                let start = buffer.0.as_mut_ptr();
                // SAFETY: offset and length stay in the buffer.
                let source = unsafe { start.add(from) }.cast_const();
                // SAFETY: as above.
                let dest = unsafe { start.add(to) };
                // SAFETY: both ranges lie in the buffer, 96 bytes of which are left free.
                unsafe { platform.copy(dest, source, length_bytes, kind) };
                platform.fence();
                ensure(buffer.0 == model.0, Breach::of("a right copy of this many bytes").number(length_bytes as u64))?;
            }
        }
    }
    KEPT
}

/// [`Platform::read`]: every byte and no other.
pub fn read_copies_every_byte<P: Platform>(platform: &P) -> Finding {
    let source = Buffer::numbered();
    for (from, to) in [(0, 0), (1, 0), (0, 1), (7, 8), (8, 3)] {
        for length_bytes in 0..BUFFER_BYTES.saturating_sub(16) {
            let (mut buffer, mut model) = (Buffer([0; BUFFER_BYTES]), Buffer([0; BUFFER_BYTES]));
            let read = source.0.iter().skip(from).take(length_bytes);
            model.0.iter_mut().skip(to).zip(read).for_each(|(to, from)| *to = *from);
            // SAFETY: offset and length stay in the buffer.
            let start = unsafe { source.0.as_ptr().add(from) };
            // SAFETY: as above.
            let dest = unsafe { buffer.0.as_mut_ptr().add(to) };
            // SAFETY: both ranges lie in their buffers, 16 bytes of which are left free.
            unsafe { platform.read(dest, start, length_bytes) };
            ensure(buffer.0 == model.0, Breach::of("this many bytes to be read").number(length_bytes as u64))?;
        }
    }
    KEPT
}

/// [`Platform::fill`]: every byte and no other.
pub fn fill_sets_every_byte<P: Platform>(platform: &P) -> Finding {
    for kind in [StoreKind::Cached, StoreKind::Streaming] {
        for (to, length_bytes) in
            [0, 1, 7, 8].into_iter().flat_map(|to| (0..BUFFER_BYTES.saturating_sub(16)).map(move |n| (to, n)))
        {
            let mut buffer = Buffer::numbered();
            let mut model = Buffer::numbered();
            model.0.iter_mut().skip(to).take(length_bytes).for_each(|byte| *byte = 0xa5);
            // SAFETY: offset and length stay in the buffer.
            let dest = unsafe { buffer.0.as_mut_ptr().add(to) };
            // SAFETY: as above.
            unsafe { platform.fill(dest, 0xa5, length_bytes, kind) };
            platform.fence();
            ensure(buffer.0 == model.0, Breach::of("a right fill of this many bytes").number(length_bytes as u64))?;
        }
    }
    KEPT
}
