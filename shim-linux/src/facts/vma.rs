//! The list of this process's mappings, read in the order of addresses.

use core::ffi::CStr;

use rustix::fd::AsFd;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io;

use crate::errno::errno;
use crate::fd::Fd;

use super::answers::FactError;
use super::parse::{self, Vma};

/// As much of a line as is looked at: all but the path.
const LINE_MAX_BYTES: usize = 128;

/// Opens a file of `/proc/self`.
pub(super) fn open(path: &CStr) -> Result<Fd, FactError> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    Fd::open(CWD, path, flags, Mode::empty()).map_err(|cause| FactError::NoProc(errno(cause)))
}

/// A file read byte by byte.
#[derive(Debug)]
pub(super) struct Bytes {
    file: Fd,
    buffer: [u8; 1024],
    filled: usize,
    next: usize,
}

impl Bytes {
    pub(super) fn open(path: &CStr) -> Result<Self, FactError> {
        Ok(Self { file: open(path)?, buffer: [0; 1024], filled: 0, next: 0 })
    }

    /// Returns the next byte; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<u8>, FactError> {
        if self.next >= self.filled {
            let read = io::retry_on_intr(|| io::read(self.file.as_fd(), &mut self.buffer));
            (self.filled, self.next) = (read.map_err(|cause| FactError::NoProc(errno(cause)))?, 0);
        }
        let byte = self.buffer.get(..self.filled).and_then(|bytes| bytes.get(self.next)).copied();
        self.next = self.next.saturating_add(1);
        Ok(byte)
    }
}

/// The mappings, in the order of their addresses.
#[derive(Debug)]
pub(super) struct Vmas {
    bytes: Bytes,
    line: [u8; LINE_MAX_BYTES],
    /// The mapping that was found last.
    last: Option<Vma>,
    /// The mapping whose line ended the amounts of the one before it.
    ahead: Option<Vma>,
}

impl Vmas {
    /// Opens `/proc/self/maps`, which costs no walk through page tables, or another file with the same lines.
    pub(super) fn open(path: &CStr) -> Result<Self, FactError> {
        Ok(Self { bytes: Bytes::open(path)?, line: [0; LINE_MAX_BYTES], last: None, ahead: None })
    }

    /// Returns the mapping that has `address`, which lies behind those asked about before, or in the last one.
    pub(super) fn at(&mut self, address: usize) -> Result<Vma, FactError> {
        loop {
            let vma = match self.last {
                Some(vma) if vma.extent.end() > address => vma,
                _ => match self.next()? {
                    Some(vma) => vma,
                    None => return Err(FactError::NoMapping),
                },
            };
            self.last = Some(vma);
            if vma.extent.contains(address) {
                return Ok(vma);
            }
            if vma.extent.start() > address {
                return Err(FactError::NoMapping);
            }
        }
    }

    /// Returns what `/proc/self/smaps` says of the mapping found last: how many bytes of it are in page tables, and
    /// how many by huge pages.
    pub(super) fn amounts(&mut self) -> Result<(u64, u64), FactError> {
        let (mut resident, mut huge) = (0, 0_u64);
        while self.ahead.is_none() {
            let Some(length_bytes) = self.next_line()? else { break };
            let line = self.line.get(..length_bytes).unwrap_or_default();
            match parse::amount(line) {
                Some((b"Rss", bytes)) => resident = bytes,
                Some((b"ShmemPmdMapped" | b"FilePmdMapped", bytes)) => huge = huge.saturating_add(bytes),
                Some(_) => {}
                None => self.ahead = parse::vma(line).ok(),
            }
        }
        Ok((resident, huge))
    }

    fn next(&mut self) -> Result<Option<Vma>, FactError> {
        if let Some(vma) = self.ahead.take() {
            return Ok(Some(vma));
        }
        while let Some(length_bytes) = self.next_line()? {
            if let Ok(vma) = parse::vma(self.line.get(..length_bytes).unwrap_or_default()) {
                return Ok(Some(vma));
            }
        }
        Ok(None)
    }

    /// Reads the next line, and returns the length of what there was room for; `None` at the end.
    fn next_line(&mut self) -> Result<Option<usize>, FactError> {
        let mut length_bytes = 0_usize;
        while let Some(byte) = self.bytes.next()? {
            if byte == b'\n' {
                return Ok(Some(length_bytes));
            }
            if let Some(place) = self.line.get_mut(length_bytes) {
                *place = byte;
                length_bytes = length_bytes.saturating_add(1);
            }
        }
        Ok((length_bytes > 0).then_some(length_bytes))
    }
}
