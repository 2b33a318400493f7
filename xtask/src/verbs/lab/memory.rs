//! What the host changes in the file that is a virtual machine's persistent memory.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use lab_machine::{CONTROL, HINTS};

const RECORDS: u64 = CONTROL + 0x100;
const RECORDS_MAX: u32 = 64;

/// The backing file, as the host edits it while the machine runs or between two boots.
pub(crate) struct Memory {
    file: File,
}

impl Memory {
    /// Opens the backing file `path`.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let file = File::options().read(true).write(true).open(path);
        Ok(Self { file: file.map_err(|error| format!("{}: {error}", path.display()))? })
    }

    /// Writes an empty control page.
    pub(crate) fn format(&self) -> Result<(), String> {
        self.write(CONTROL, &[0; 0x1000])?;
        self.write(CONTROL, b"PMST")
    }

    /// Sets the count of unsafe shutdowns of module `dimm`, and whether the last one was unsafe.
    pub(crate) fn set_count(&self, dimm: u64, count: u32, last_unsafe: bool) -> Result<(), String> {
        self.write(CONTROL + 0x10 + 8 * dimm, &count.to_le_bytes())?;
        self.write(CONTROL + 0x14 + 8 * dimm, &u32::from(last_unsafe).to_le_bytes())
    }

    /// Adds bad memory at `address` (physical); the kernel learns of it at the next scrub or boot.
    pub(crate) fn add_bad(&self, address: u64, length_bytes: u64) -> Result<(), String> {
        let count = self.count()?;
        if count >= RECORDS_MAX {
            return Err("the control page has no room for another bad range".into());
        }
        let at = RECORDS + 24 * u64::from(count);
        self.write(at, &1_u64.to_le_bytes())?;
        self.write(at + 8, &address.to_le_bytes())?;
        self.write(at + 16, &length_bytes.to_le_bytes())?;
        self.write(CONTROL + 4, &(count + 1).to_le_bytes())
    }

    /// Returns the bad memory as physical address and length in bytes, in the firmware's order.
    pub(crate) fn bad(&self) -> Result<Vec<(u64, u64)>, String> {
        (0..u64::from(self.count()?.min(RECORDS_MAX)))
            .map(|index| Ok((self.word(RECORDS + 24 * index + 8)?, self.word(RECORDS + 24 * index + 16)?)))
            .collect()
    }

    /// Returns whether the flush hint of module `dimm` was written since the last call.
    pub(crate) fn take_hint(&self, dimm: u64) -> Result<bool, String> {
        let mut page = [0; 0x1000];
        self.read(HINTS + 0x1000 * dimm, &mut page)?;
        self.write(HINTS + 0x1000 * dimm, &[0; 0x1000])?;
        Ok(page.iter().any(|byte| *byte != 0))
    }

    /// Returns where the page that begins with `text` is in the `length_bytes` from `start` on, relative to `start`.
    pub(crate) fn find(&self, start: u64, length_bytes: u64, text: &[u8]) -> Result<Option<u64>, String> {
        let mut chunk = vec![0; 1 << 20];
        for at in (0..length_bytes).step_by(chunk.len()) {
            self.read(start + at, &mut chunk)?;
            if let Some(page) = chunk.chunks(4096).position(|page| page.starts_with(text)) {
                return Ok(Some(at + 4096 * page as u64));
            }
        }
        Ok(None)
    }

    fn count(&self) -> Result<u32, String> {
        let mut bytes = [0; 4];
        self.read(CONTROL + 4, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn word(&self, at: u64) -> Result<u64, String> {
        let mut bytes = [0; 8];
        self.read(at, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn read(&self, at: u64, bytes: &mut [u8]) -> Result<(), String> {
        self.file.read_exact_at(bytes, at).map_err(|error| error.to_string())
    }

    fn write(&self, at: u64, bytes: &[u8]) -> Result<(), String> {
        self.file.write_all_at(bytes, at).map_err(|error| error.to_string())
    }
}
