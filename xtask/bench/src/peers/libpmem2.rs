//! Debian's libpmem2, loaded when the benchmark runs.

use core::ffi::c_void;
use core::hint::black_box;
use core::ptr::null_mut;
use std::fs::File;
use std::os::fd::AsRawFd;

use libloading::Library;

type Handle = *mut c_void;
type Delete = unsafe extern "C" fn(*mut Handle) -> i32;

/// The library's functions, with the types of its manual pages.
#[derive(Clone, Copy)]
pub(crate) struct Libpmem2 {
    config_new: Delete,
    config_delete: Delete,
    set_granularity: unsafe extern "C" fn(Handle, u32) -> i32,
    source_from_fd: unsafe extern "C" fn(*mut Handle, i32) -> i32,
    source_delete: Delete,
    map_new: unsafe extern "C" fn(*mut Handle, Handle, Handle) -> i32,
    map_delete: Delete,
    address: unsafe extern "C" fn(Handle) -> *mut u8,
    memcpy: unsafe extern "C" fn(Handle) -> extern "C" fn(*mut u8, *const u8, usize, u32) -> *mut u8,
    persist: unsafe extern "C" fn(Handle) -> extern "C" fn(*const u8, usize),
    flush: unsafe extern "C" fn(Handle) -> extern "C" fn(*const u8, usize),
    drain: unsafe extern "C" fn(Handle) -> extern "C" fn(),
}

impl Libpmem2 {
    /// Loads the library.
    ///
    /// # Errors
    ///
    /// What is missing.
    pub(crate) fn load() -> Result<Self, String> {
        if std::env::var_os("PMEM2_FORCE_GRANULARITY").is_none_or(|value| value != "CACHE_LINE") {
            return Err("PMEM2_FORCE_GRANULARITY=CACHE_LINE is not set, as `cargo xtask bench` does".into());
        }
        // SAFETY: the library's initialiser asks for nothing special.
        let library = unsafe { Library::new("libpmem2.so.1") }
            .map_err(|error| format!("Debian's package libpmem2 is not installed ({error})"))?;
        // It stays loaded: its functions are copied out of it.
        let library: &'static Library = Box::leak(Box::new(library));
        Self::functions(library).map_err(|error| error.to_string())
    }

    fn functions(library: &'static Library) -> Result<Self, libloading::Error> {
        Ok(Self {
            // SAFETY: each has the type of its manual page, and so below.
            config_new: unsafe { *library.get(b"pmem2_config_new\0")? },
            // SAFETY: as above.
            config_delete: unsafe { *library.get(b"pmem2_config_delete\0")? },
            // SAFETY: as above.
            set_granularity: unsafe { *library.get(b"pmem2_config_set_required_store_granularity\0")? },
            // SAFETY: as above.
            source_from_fd: unsafe { *library.get(b"pmem2_source_from_fd\0")? },
            // SAFETY: as above.
            source_delete: unsafe { *library.get(b"pmem2_source_delete\0")? },
            // SAFETY: as above.
            map_new: unsafe { *library.get(b"pmem2_map_new\0")? },
            // SAFETY: as above.
            map_delete: unsafe { *library.get(b"pmem2_map_delete\0")? },
            // SAFETY: as above.
            address: unsafe { *library.get(b"pmem2_map_get_address\0")? },
            // SAFETY: as above.
            memcpy: unsafe { *library.get(b"pmem2_get_memcpy_fn\0")? },
            // SAFETY: as above.
            persist: unsafe { *library.get(b"pmem2_get_persist_fn\0")? },
            // SAFETY: as above.
            flush: unsafe { *library.get(b"pmem2_get_flush_fn\0")? },
            // SAFETY: as above.
            drain: unsafe { *library.get(b"pmem2_get_drain_fn\0")? },
        })
    }

    /// Maps `file`.
    ///
    /// # Errors
    ///
    /// The library's code.
    pub(crate) fn map(self, file: &File) -> Result<Mapping, String> {
        let (mut config, mut source, mut map) = (null_mut(), null_mut(), null_mut());
        let step = |name: &str, code: i32| if code == 0 { Ok(()) } else { Err(format!("{name}: {code}")) };
        // SAFETY: as the manual page says.
        step("pmem2_config_new", unsafe { (self.config_new)(&mut config) })?;
        // SAFETY: as the manual page says; 2 is PAGE, the coarsest that is accepted.
        step("pmem2_config_set_required_store_granularity", unsafe { (self.set_granularity)(config, 2) })?;
        // SAFETY: as the manual page says.
        step("pmem2_source_from_fd", unsafe { (self.source_from_fd)(&mut source, file.as_raw_fd()) })?;
        // SAFETY: as the manual page says.
        step("pmem2_map_new", unsafe { (self.map_new)(&mut map, config, source) })?;
        // SAFETY: the map needs them no longer.
        step("pmem2_config_delete", unsafe { (self.config_delete)(&mut config) })?;
        // SAFETY: the map needs them no longer.
        step("pmem2_source_delete", unsafe { (self.source_delete)(&mut source) })?;
        // SAFETY: the map is alive; and so below.
        let address = unsafe { (self.address)(map) };
        // SAFETY: as above.
        let (memcpy, persist) = (unsafe { (self.memcpy)(map) }, unsafe { (self.persist)(map) });
        // SAFETY: as above.
        let (flush, drain) = (unsafe { (self.flush)(map) }, unsafe { (self.drain)(map) });
        Ok(Mapping { map, address, memcpy, persist, flush, drain, delete: self.map_delete })
    }
}

/// A file mapped by libpmem2, which was told to treat it as of cache-line granularity.
pub(crate) struct Mapping {
    map: Handle,
    pub(crate) address: *mut u8,
    memcpy: extern "C" fn(*mut u8, *const u8, usize, u32) -> *mut u8,
    persist: extern "C" fn(*const u8, usize),
    flush: extern "C" fn(*const u8, usize),
    drain: extern "C" fn(),
    delete: Delete,
}

impl Mapping {
    /// Copies as the library does by itself.
    pub(crate) fn copy(&self, to: usize, source: *const u8, length_bytes: usize) {
        black_box((self.memcpy)(self.address.wrapping_add(to), source, length_bytes, 0));
    }

    /// Persists a range of the mapping.
    pub(crate) fn persist(&self, at: usize, length_bytes: usize) {
        (self.persist)(self.address.wrapping_add(at), length_bytes);
    }

    /// Flushes a range of the mapping.
    pub(crate) fn flush(&self, at: usize, length_bytes: usize) {
        (self.flush)(self.address.wrapping_add(at), length_bytes);
    }

    /// Waits for what was flushed.
    pub(crate) fn drain(&self) {
        (self.drain)();
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the map is alive, and nothing of it is used any more.
        unsafe { (self.delete)(&mut self.map) };
    }
}
