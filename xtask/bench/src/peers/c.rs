//! Our own libpmemset for C programs, loaded when the benchmark runs.

use core::ffi::{CStr, c_char, c_void};
use core::ptr::null_mut;
use std::path::Path;

use libloading::Library;

type Handle = *mut c_void;

/// Some of the functions of `libpmemset.h`.
#[derive(Clone, Copy)]
struct Functions {
    config_new: unsafe extern "C" fn(*mut Handle) -> i32,
    set_granularity: unsafe extern "C" fn(Handle, i32) -> i32,
    new: unsafe extern "C" fn(*mut Handle, Handle) -> i32,
    source_from_file: unsafe extern "C" fn(*mut Handle, *const c_char, u64) -> i32,
    map_config_new: unsafe extern "C" fn(*mut Handle) -> i32,
    set_length: unsafe extern "C" fn(Handle, usize),
    map: unsafe extern "C" fn(Handle, Handle, Handle, *mut Descriptor) -> i32,
    by_address: unsafe extern "C" fn(Handle, *mut Handle, *mut c_void) -> i32,
    drop: unsafe extern "C" fn(*mut Handle),
    remove_range: unsafe extern "C" fn(Handle, *mut c_void, usize) -> i32,
    persist: unsafe extern "C" fn(Handle, *mut c_void, usize) -> i32,
    memcpy: unsafe extern "C" fn(Handle, *mut c_void, *const c_void, usize, u32) -> *mut c_void,
}

/// `struct pmemset_part_descriptor`.
#[repr(C)]
struct Descriptor {
    address: *mut c_void,
    length_bytes: usize,
}

/// A set made by the C library, with a source and the configuration of a mapping.
pub(crate) struct CSet {
    functions: Functions,
    set: Handle,
    source: Handle,
    config: Handle,
}

impl CSet {
    /// Loads `library`, makes a set, and opens `file`, of which each mapping takes `length_bytes`.
    ///
    /// # Errors
    ///
    /// What cannot be had.
    pub(crate) fn new(library: &Path, file: &CStr, length_bytes: usize) -> Result<Self, String> {
        // SAFETY: the library's initialiser asks for nothing special.
        let library = unsafe { Library::new(library) }.map_err(|error| error.to_string())?;
        // It stays loaded: its functions are copied out of it.
        let library: &'static Library = Box::leak(Box::new(library));
        let functions = Self::functions(library).map_err(|error| error.to_string())?;
        let (mut settings, mut set, mut source, mut config) = (null_mut(), null_mut(), null_mut(), null_mut());
        let step = |name: &str, code: i32| if code == 0 { Ok(()) } else { Err(format!("{name}: {code}")) };
        // SAFETY: as the header says; and so below.
        step("pmemset_config_new", unsafe { (functions.config_new)(&mut settings) })?;
        // SAFETY: 2 is PAGE.
        step("pmemset_config_set_…", unsafe { (functions.set_granularity)(settings, 2) })?;
        // SAFETY: as above.
        step("pmemset_new", unsafe { (functions.new)(&mut set, settings) })?;
        // SAFETY: as above.
        step("pmemset_xsource_from_file", unsafe { (functions.source_from_file)(&mut source, file.as_ptr(), 4) })?;
        // SAFETY: as above.
        step("pmemset_map_config_new", unsafe { (functions.map_config_new)(&mut config) })?;
        // SAFETY: as above.
        unsafe { (functions.set_length)(config, length_bytes) };
        Ok(Self { functions, set, source, config })
    }

    fn functions(library: &'static Library) -> Result<Functions, libloading::Error> {
        Ok(Functions {
            // SAFETY: each has the type of the header, and so below.
            config_new: unsafe { *library.get(b"pmemset_config_new\0")? },
            // SAFETY: as above.
            set_granularity: unsafe { *library.get(b"pmemset_config_set_required_store_granularity\0")? },
            // SAFETY: as above.
            new: unsafe { *library.get(b"pmemset_new\0")? },
            // SAFETY: as above.
            source_from_file: unsafe { *library.get(b"pmemset_xsource_from_file\0")? },
            // SAFETY: as above.
            map_config_new: unsafe { *library.get(b"pmemset_map_config_new\0")? },
            // SAFETY: as above.
            set_length: unsafe { *library.get(b"pmemset_map_config_set_length\0")? },
            // SAFETY: as above.
            map: unsafe { *library.get(b"pmemset_map\0")? },
            // SAFETY: as above.
            by_address: unsafe { *library.get(b"pmemset_part_map_by_address\0")? },
            // SAFETY: as above.
            drop: unsafe { *library.get(b"pmemset_part_map_drop\0")? },
            // SAFETY: as above.
            remove_range: unsafe { *library.get(b"pmemset_remove_range\0")? },
            // SAFETY: as above.
            persist: unsafe { *library.get(b"pmemset_persist\0")? },
            // SAFETY: as above.
            memcpy: unsafe { *library.get(b"pmemset_memcpy\0")? },
        })
    }

    /// Maps the first bytes of the source, and returns where.
    pub(crate) fn map(&self) -> *mut c_void {
        let mut descriptor = Descriptor { address: null_mut(), length_bytes: 0 };
        // SAFETY: all of them are alive.
        let code = unsafe { (self.functions.map)(self.set, self.source, self.config, &mut descriptor) };
        assert_eq!(code, 0, "pmemset_map");
        descriptor.address
    }

    /// Removes what was mapped.
    pub(crate) fn remove(&self, address: *mut c_void, length_bytes: usize) {
        // SAFETY: the set is alive.
        let code = unsafe { (self.functions.remove_range)(self.set, address, length_bytes) };
        assert_eq!(code, 0, "pmemset_remove_range");
    }

    /// Looks up a part, and lets it go again.
    pub(crate) fn look_up(&self, address: *mut c_void) {
        let mut part = null_mut();
        // SAFETY: the set is alive.
        assert_eq!(unsafe { (self.functions.by_address)(self.set, &mut part, address) }, 0, "by address");
        // SAFETY: the handle has just come from there.
        unsafe { (self.functions.drop)(&mut part) };
    }

    /// Persists a range.
    pub(crate) fn persist(&self, address: *mut c_void, length_bytes: usize) {
        // SAFETY: the set is alive.
        assert_eq!(unsafe { (self.functions.persist)(self.set, address, length_bytes) }, 0, "pmemset_persist");
    }

    /// Copies, and flushes nothing (`PMEMSET_F_MEM_NOFLUSH`).
    pub(crate) fn copy(&self, to: *mut c_void, bytes: &[u8]) {
        // SAFETY: the range is mapped, and the bytes are the caller's.
        unsafe { (self.functions.memcpy)(self.set, to, bytes.as_ptr().cast(), bytes.len(), 1 << 5) };
    }
}
