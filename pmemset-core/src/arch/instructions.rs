//! What the processor does: writing back, fencing, copying and filling.

#[cfg(target_arch = "aarch64")]
use super::aarch64;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))]
use super::cpu::Method;
use super::cpu::{Cpu, StoreKind};
#[cfg(target_arch = "riscv64")]
use super::riscv64;
#[cfg(target_arch = "x86_64")]
use super::x86_64;
use super::{load, store, words};
use crate::Extent;

impl Cpu {
    /// Writes back every line that `range` touches, once each; [`Cpu::NONE`] does nothing.
    ///
    /// # Safety
    ///
    /// `range` is mapped and readable.
    #[inline]
    pub unsafe fn write_back(&self, range: Extent) {
        match self.method {
            #[cfg(target_arch = "x86_64")]
            Method::Clwb => for_each_line(range, self.line_bytes, x86_64::clwb),
            #[cfg(target_arch = "x86_64")]
            Method::Clflushopt => for_each_line(range, self.line_bytes, x86_64::clflushopt),
            #[cfg(target_arch = "x86_64")]
            Method::Clflush => for_each_line(range, self.line_bytes, x86_64::clflush),
            #[cfg(target_arch = "aarch64")]
            Method::DcCvap => for_each_line(range, self.line_bytes, aarch64::dc_cvap),
            #[cfg(target_arch = "aarch64")]
            Method::DcCvac => for_each_line(range, self.line_bytes, aarch64::dc_cvac),
            #[cfg(target_arch = "riscv64")]
            Method::CboClean => for_each_line(range, self.line_bytes, riscv64::cbo_clean),
            _ => {
                let _ = range;
            }
        }
    }

    /// Writes back every line that `range` touches where it is dirty, and drops it from the caches, once each;
    /// [`Cpu::NONE`] does nothing.
    ///
    /// CLFLUSHOPT or CLFLUSH on x86-64, DC CIVAC on aarch64, CBO.FLUSH on riscv64, whose CBO.INVAL would lose what this
    /// processor has stored in the line.
    ///
    /// # Safety
    ///
    /// `range` is mapped and readable.
    #[inline]
    pub unsafe fn write_back_invalidate(&self, range: Extent) {
        match self.method {
            #[cfg(target_arch = "x86_64")]
            Method::Clwb | Method::Clflushopt => for_each_line(range, self.line_bytes, x86_64::clflushopt),
            #[cfg(target_arch = "x86_64")]
            Method::Clflush => for_each_line(range, self.line_bytes, x86_64::clflush),
            #[cfg(target_arch = "aarch64")]
            Method::DcCvap | Method::DcCvac => for_each_line(range, self.line_bytes, aarch64::dc_civac),
            #[cfg(target_arch = "riscv64")]
            Method::CboClean => for_each_line(range, self.line_bytes, riscv64::cbo_flush),
            _ => {
                let _ = range;
            }
        }
    }

    /// Copies bytes: what [`Platform::copy`](crate::Platform::copy) does where it is not replaced.
    ///
    /// ```
    /// use pmemset_core::arch::{Cpu, StoreKind};
    ///
    /// let (source, mut dest) = ([7; 100], [0; 100]);
    /// // SAFETY: both arrays are so long.
    /// unsafe { Cpu::NONE.copy(dest.as_mut_ptr(), source.as_ptr(), 100, StoreKind::Cached) };
    /// assert_eq!(dest, source);
    /// ```
    ///
    /// # Safety
    ///
    /// `source` is readable and `dest` writable for `length_bytes` bytes; the ranges may overlap. Where the memory
    /// [takes whole words](Self::storing_whole_words) only, that is so of each word that a range touches, and nobody
    /// else stores to the words that `dest` touches meanwhile, an interrupt handler included: it would be undone.
    #[inline]
    pub unsafe fn copy(&self, dest: *mut u8, source: *const u8, length_bytes: usize, kind: StoreKind) {
        if self.narrowest_store_bytes() > 1 {
            // SAFETY: the caller's promise is passed on.
            return unsafe { words::copy(self, dest, source, length_bytes, kind) };
        }
        // SAFETY: the caller's promise is passed on.
        unsafe { store::copy(self, dest, source, length_bytes, kind) }
    }

    /// Fills bytes with `value`: what [`Platform::fill`](crate::Platform::fill) does where it is not replaced.
    ///
    /// # Safety
    ///
    /// As for [`copy`](Self::copy).
    #[inline]
    pub unsafe fn fill(&self, dest: *mut u8, value: u8, length_bytes: usize, kind: StoreKind) {
        if self.narrowest_store_bytes() > 1 {
            // SAFETY: the caller's promise is passed on.
            return unsafe { words::fill(self, dest, value, length_bytes, kind) };
        }
        // SAFETY: the caller's promise is passed on.
        unsafe { store::fill(self, dest, value, length_bytes, kind) }
    }

    /// Copies bytes of a part to ordinary memory: what [`Platform::read`](crate::Platform::read) does where it is not
    /// replaced.
    ///
    /// # Safety
    ///
    /// `source` is mapped and readable and `dest` writable for `length_bytes` bytes.
    #[inline]
    pub unsafe fn read(&self, dest: *mut u8, source: *const u8, length_bytes: usize) {
        // SAFETY: the caller's promise is passed on.
        unsafe { load::read(self, dest, source, length_bytes) }
    }

    /// Orders what was written back or streamed before anything later.
    ///
    /// SFENCE on x86-64, DSB on aarch64, a full fence elsewhere.
    #[inline]
    pub fn fence(&self) {
        #[cfg(target_arch = "x86_64")]
        x86_64::sfence();
        #[cfg(target_arch = "aarch64")]
        aarch64::dsb();
        #[cfg(target_arch = "riscv64")]
        riscv64::fence();
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
        core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
    }

    /// Orders everything before, loads and dropped lines too, before everything later.
    ///
    /// MFENCE on x86-64, where SFENCE lets later loads go first; elsewhere what [`fence`](Self::fence) is.
    #[inline]
    pub fn full_fence(&self) {
        #[cfg(target_arch = "x86_64")]
        x86_64::mfence();
        #[cfg(not(target_arch = "x86_64"))]
        self.fence();
    }
}

/// Calls `each` with the first address of every line of `line_bytes` bytes (a power of two) that `range` touches.
#[cfg_attr(
    not(any(test, target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")),
    allow(dead_code, reason = "other processors have no lines to write back")
)]
#[inline(always)]
fn for_each_line(range: Extent, line_bytes: usize, mut each: impl FnMut(usize)) {
    let mask = !line_bytes.wrapping_sub(1);
    let last = range.end().wrapping_sub(1) & mask;
    let mut line = range.start() & mask;
    // Ends at the last line, not behind it, so that a range in the last line of the address space ends too.
    loop {
        each(line);
        if line == last {
            break;
        }
        line = line.wrapping_add(line_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_touched_line_once() {
        for (line_bytes, base) in [(16, 0), (64, 4096), (64, usize::MAX - 511), (128, 4096), (2048, 8192)] {
            for (offset, length_bytes) in (0..129).flat_map(|offset| (0..129).map(move |length| (offset, length))) {
                let Some(range) = Extent::new(base + offset, length_bytes) else { continue };
                let mut lines = std::vec::Vec::new();
                for_each_line(range, line_bytes, |line| lines.push(line));
                let mut touched: std::vec::Vec<usize> =
                    (0..length_bytes).map(|byte| (base + offset + byte) / line_bytes * line_bytes).collect();
                touched.dedup();
                assert_eq!(lines, touched, "{range} in lines of {line_bytes}");
            }
        }
    }

    #[test]
    fn no_processor_does_nothing() {
        assert!(!Cpu::NONE.can_write_back());
        assert_eq!(Cpu::NONE.method().name(), "none");
        // SAFETY: without an instruction no address is touched.
        unsafe { Cpu::NONE.write_back(Extent::new(0x1000, 64).unwrap()) };
        // SAFETY: as above.
        unsafe { Cpu::NONE.write_back_invalidate(Extent::new(0x1000, 64).unwrap()) };
        Cpu::NONE.fence();
        Cpu::NONE.full_fence();
    }
}
