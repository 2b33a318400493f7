//! Why a device cannot be a source.

use pmemset_core::support::errors;
use pmemset_core::{Errno, code};
use pmemset_linux::internal::kind_name;
use pmemset_linux::nd::{Doubt, NdError};
use rustix::fs::FileType;

errors! {
    /// Why a device cannot be a source.
    // Parts side by side take less code where an error is passed on.
    ///
    /// ```
    /// use pmemset_devdax::{DaxError, DaxOptions, DaxSource};
    ///
    /// match DaxSource::open("/dev/dax0.0", DaxOptions::new()) {
    ///     Err(DaxError::SystemRam) => println!("reconfigure it as devdax first"),
    ///     Err(error) => println!("{error}"),
    ///     Ok(device) => println!("{}", device.durability()),
    /// }
    /// ```
    #[repr(u32)]
    pub enum DaxError {
        /// There is no such file, or the path holds a NUL byte. `daxctl list` names the devices that there are. Memory
        /// that the firmware has set apart is ordinary memory of the system, and no device, where the kernel was
        /// started with `efi=nosoftreserve` or built without `CONFIG_EFI_SOFT_RESERVE`; of a namespace, `ndctl
        /// create-namespace --mode=devdax` makes one.
        InvalidPath(cause: Errno) = code::INVALID_SOURCE_PATH => "no device has this path: {cause}";
        /// It is a file of another kind, or a character device of another subsystem than `dax`.
        NotDeviceDax {
            /// What it is.
            kind: FileType,
        } = code::INVALID_FILE_TYPE => "not a device DAX, but {}", other(kind);
        /// The descriptor is not open for reading.
        NotReadable = code::INVALID_FILE_HANDLE
            => "the descriptor is not open for reading: open it for reading and writing";
        /// The descriptor is not open for writing: stores are what it is for.
        NotWritable = code::FILE_DESCRIPTOR_NOT_WRITABLE
            => "the descriptor is not open for writing: open it for reading and writing";
        /// The device could not be opened or asked about.
        Open(cause: Errno) = cause.code() => "cannot open the device: {cause}";
        /// The device is part of the system's ordinary memory: its driver is `kmem`.
        ///
        /// `daxctl reconfigure-device --mode=devdax --force daxR.N` takes the memory away from the system, if nothing
        /// there is in use that cannot be moved, and gives it to programs. Where that is refused, it can be done at the
        /// next start, before the memory is onlined (`memhp_default_state=offline`).
        SystemRam = Errno::NXIO.code()
            => "the kernel uses the device as ordinary memory (system-ram mode): \
                `daxctl reconfigure-device --mode=devdax --force`";
        /// No driver has the device: soft-reserved memory may wait for one (`daxctl enable-device daxR.N`).
        NoDriver = Errno::NXIO.code() => "no driver is bound to the device: `daxctl enable-device`";
        /// An attribute of the device does not say what it should.
        Attribute(error: NdError) = error.errno().code() => "{error}";
        /// The device's alignment is not a power of two, or more than its length.
        InvalidAlignment {
            /// The alignment in the way, in bytes.
            alignment_bytes: u64,
        } = code::INVALID_ALIGNMENT_VALUE
            => "the device's alignment of {alignment_bytes} bytes is not a power of two, or more than the whole device";
        /// Nothing says that the memory keeps its content, or something says that it does not.
        NotPersistent(doubt: Doubt) = Errno::OPNOTSUPP.code()
            => "not known to be persistent memory: {doubt}; see `DaxOptions::accept_unproven`";
    }
}

const fn other(kind: FileType) -> &'static str {
    match kind {
        FileType::CharacterDevice => "another character device",
        kind => kind_name(kind),
    }
}
