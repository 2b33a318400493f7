//! Takes a Debian kernel apart: an image that boots without its decompressor, and the modules that scenarios name.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::downloads::{Packages, home, unpack};
use crate::support::packages;

/// A kernel that is ready to boot.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    /// The uncompressed image.
    pub(crate) image: PathBuf,
    modules: PathBuf,
}

/// Every module that a scenario may name; what they depend on comes along.
const MODULES: [&str; 18] = [
    "crc32c_generic",
    "nfit",
    "nd_pmem",
    "device_dax",
    "dax_pmem",
    "kmem",
    "ext4",
    "xfs",
    "dm_mod",
    "virtio_pmem",
    "virtio_pci",
    "nd_e820",
    "cxl_acpi",
    "cxl_pci",
    "cxl_port",
    "cxl_mem",
    "cxl_pmem",
    "dax_hmem",
];

impl Kernel {
    /// Returns the kernel of `series` ("6.1"), downloading and unpacking it the first time.
    ///
    /// # Errors
    ///
    /// Why it cannot be had.
    pub(crate) fn get(series: &str) -> Result<Self, String> {
        let folder = home().join(format!("kernel-{series}"));
        let kernel = Self { image: folder.join("vmlinux"), modules: folder.join("modules") };
        let list = MODULES.join(" ");
        if fs::read_to_string(folder.join("complete")).is_ok_and(|made| made == list) {
            return Ok(kernel);
        }
        fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        packages::refresh();
        let wanted = format!("linux-image-{series}.");
        let find = |packages: &Packages| {
            let names = packages.dependencies("linux-image-amd64")?;
            Ok::<_, String>(names.into_iter().find(|name| name.starts_with(&wanted)))
        };
        let own = Packages::own();
        let (lists, name) = match find(&own)? {
            Some(name) => (own, name),
            None => {
                let backports = Packages::backports()?;
                let name = find(&backports)?.ok_or_else(|| format!("this Debian has no kernel {series}"))?;
                (backports, name)
            }
        };
        let unpacked = folder.join("package");
        unpack(&lists, &[name], &unpacked)?;
        let compressed = fs::read(only_file(&unpacked.join("boot"), "vmlinuz-")?).map_err(|error| error.to_string())?;
        fs::write(&kernel.image, decompress(payload(&compressed)?)?).map_err(|error| error.to_string())?;
        kernel.collect(&unpacked.join("lib/modules"))?;
        fs::remove_dir_all(&unpacked).map_err(|error| error.to_string())?;
        fs::write(folder.join("complete"), list).map_err(|error| error.to_string())?;
        Ok(kernel)
    }

    /// Returns the files of `names` and of everything that they depend on, in the order to load them.
    pub(crate) fn modules(&self, names: &[&str]) -> Result<Vec<PathBuf>, String> {
        let text = fs::read_to_string(self.modules.join("order")).map_err(|error| error.to_string())?;
        let mut order: Vec<&str> = Vec::new();
        for name in names {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            for module in line.ok_or_else(|| format!("this kernel has no module {name}"))?.split_whitespace() {
                if !order.contains(&module) {
                    order.push(module);
                }
            }
        }
        Ok(order.into_iter().map(|name| self.modules.join(format!("{name}.ko"))).collect())
    }

    fn collect(&self, tree: &Path) -> Result<(), String> {
        fs::create_dir_all(&self.modules).map_err(|error| error.to_string())?;
        let mut index = BTreeMap::new();
        find_modules(tree, &mut index);
        let mut orders = String::new();
        for name in MODULES {
            let mut order = Vec::new();
            if index.contains_key(name) {
                self.resolve(name, &index, &mut order)?;
                orders.push_str(&format!("{name}: {}\n", order.join(" ")));
            } else {
                // Built into this kernel: nothing to load.
                orders.push_str(&format!("{name}:\n"));
            }
        }
        fs::write(self.modules.join("order"), orders).map_err(|error| error.to_string())
    }

    fn resolve(&self, name: &str, index: &BTreeMap<String, PathBuf>, order: &mut Vec<String>) -> Result<(), String> {
        if order.iter().any(|known| known == name) {
            return Ok(());
        }
        let Some(path) = index.get(name) else { return Ok(()) };
        let mut code = fs::read(path).map_err(|error| error.to_string())?;
        if path.extension().is_some_and(|extension| extension != "ko") {
            code = decompress(&code)?;
        }
        for dependency in dependencies(&code) {
            self.resolve(&dependency, index, order)?;
        }
        fs::write(self.modules.join(format!("{name}.ko")), code).map_err(|error| error.to_string())?;
        order.push(name.to_owned());
        Ok(())
    }
}

/// Returns a module without the signature at its end. Debian's kernels load it all the same, and need not work out a
/// hash of it and a power: a third of the instructions of a boot.
pub(crate) fn unsigned(module: &[u8]) -> &[u8] {
    // include/linux/module_signature.h: the signature, eight bytes, its length, big-endian, and this.
    const END: &[u8] = b"~Module signature appended~\n";
    let signed = module.strip_suffix(END).and_then(|rest| rest.split_last_chunk());
    let Some((rest, length)) = signed else { return module };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX).saturating_add(8);
    rest.len().checked_sub(length).map_or(module, |end| &rest[..end])
}

fn only_file(folder: &Path, prefix: &str) -> Result<PathBuf, String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut found = entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    found.next().map(|entry| entry.path()).ok_or_else(|| format!("the kernel package has no {prefix}*"))
}

fn find_modules(folder: &Path, index: &mut BTreeMap<String, PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            find_modules(&path, index);
        } else if let Some((name, _)) = entry.file_name().to_string_lossy().split_once(".ko") {
            index.insert(name.replace('-', "_"), path);
        }
    }
}

/// Returns the names after `depends=` in a module's `.modinfo` section.
fn dependencies(code: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = code.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let value = code[at + KEY.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(value).into_owned();
    names.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

/// Returns the compressed kernel inside a bzImage (x86 boot protocol 2.08: `setup_sects`, `payload_offset`,
/// `payload_length`).
fn payload(image: &[u8]) -> Result<&[u8], String> {
    let word = |at: usize| Some(u32::from_le_bytes(image.get(at..at + 4)?.try_into().ok()?) as usize);
    let find = || {
        (image.get(0x202..0x206)? == b"HdrS").then_some(())?;
        let setup = match image.get(0x1f1)? {
            0 => 4,
            sectors => usize::from(*sectors),
        };
        let start = (setup + 1) * 512 + word(0x248)?;
        image.get(start..start + word(0x24c)?)
    };
    find().ok_or_else(|| "the kernel image is not one that the x86 boot protocol describes".into())
}

/// Runs the program that undoes the compression that the first bytes tell of.
fn decompress(data: &[u8]) -> Result<Vec<u8>, String> {
    let program = match data {
        [0xfd, b'7', b'z', ..] => "xz",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "zstd",
        [0x1f, 0x8b, ..] => "gzip",
        _ => return Err("unknown compression".into()),
    };
    // What follows the compressed stream (the length of the kernel) is no part of it.
    let data = if program == "xz" { data } else { &data[..data.len() - 4] };
    let mut arguments = vec!["-dc"];
    if program == "xz" {
        arguments.push("--single-stream");
    }
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("{program}: {error}"))?;
    let (mut input, data) = (child.stdin.take(), data.to_vec());
    let writer = std::thread::spawn(move || input.as_mut().map(|input| std::io::Write::write_all(input, &data)));
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    drop(writer.join());
    if output.status.success() { Ok(output.stdout) } else { Err(format!("{program} failed: {}", output.status)) }
}

#[cfg(test)]
mod tests {
    use super::{dependencies, payload, unsigned};

    #[test]
    fn dependencies_are_read_from_the_module() {
        assert_eq!(dependencies(b"x\0depends=libnvdimm,dax-pmem\0y"), ["libnvdimm", "dax_pmem"]);
        assert!(dependencies(b"x\0depends=\0").is_empty());
        assert!(dependencies(b"").is_empty());
    }

    #[test]
    fn signatures_are_taken_off() {
        let signed = |length: u8| {
            [b"code-signature\0\x01\x02\0\0\0\0\0\0\0\0", &[length][..], b"~Module signature appended~\n"].concat()
        };
        assert_eq!(unsigned(&signed(10)), b"code");
        assert_eq!(unsigned(b"code"), b"code");
        for damaged in [&signed(200)[..], b"~Module signature appended~\n"] {
            assert_eq!(unsigned(damaged), damaged);
        }
    }

    #[test]
    fn a_damaged_kernel_image_is_refused() {
        assert!(payload(b"").is_err());
        assert!(payload(&[0; 4096]).is_err());
        let mut image = [0_u8; 4096];
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x24c..0x250].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(payload(&image).is_err());
    }
}
