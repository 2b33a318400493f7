//! Whole machines as the doctor sees them: trees of sysfs and procfs from short descriptions, and a kernel that answers
//! as they say.
//!
//! A description has lines, and sections of sysfs:
//!
//! - `[devices/…/region0] nd`: the lines that follow are of this folder. `nd` and `cxl` put it on that bus, `block
//!   259:0` and `dax 252:0` give it that number.
//! - `size = 512`: an attribute; `\n` is a line's end. `driver -> kmem`: a link to a folder of that name. `size !`: an
//!   attribute that cannot be read.
//! - Before the first section: `proc/… = …`, `mount LINE` (a line of `mountinfo`), `map_sync 259:0` (the file system on
//!   this device grants it), `unnamed 259:0 13` (it takes no unnamed file, and this is the error's number),
//!   `denied /dev/dax0.0`, `page 65536`, and `no sysfs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use pmemset_linux::arch::Cpu;
use pmemset_linux::internal::doctor::{Kernel, Machine, Probed, accepted};
use pmemset_linux::internal::{Sysfs, Table};
use pmemset_linux::{Backing, Errno, FileSystem, GranularityReason, Linux, OpenError, Platform as _};
use rustix::fs::{Dev, makedev};

use crate::sysfs::Folder;

macro_rules! machines {
    ($($name:literal)*) => {
        /// The descriptions of all machines, and what the doctor says of them.
        pub const ALL: &[Described] = &[$(Described {
            name: $name,
            description: include_str!(concat!("../machines/", $name, ".machine")),
            expected: concat!(env!("CARGO_MANIFEST_DIR"), "/machines/", $name, ".txt"),
        },)*];
    };
}

machines! {
    "bad-blocks" "btt" "container" "cxl" "dirty" "hmem" "legacy" "none" "nvdimm-interleaved" "nvdimm-single" "papr"
    "partitions" "raw" "read-only" "system-ram" "virtio"
}

/// A machine, and what the doctor is to say of it.
#[derive(Debug)]
pub struct Described {
    /// Its name.
    pub name: &'static str,
    /// See the module.
    pub description: &'static str,
    /// The file with the text.
    pub expected: &'static str,
}

/// What every machine's procfs has.
const PROC: [(&str, &str); 4] = [
    ("proc/sys/kernel/osrelease", "6.12.0\n"),
    ("proc/sys/vm/max_map_count", "65530\n"),
    ("proc/sys/vm/overcommit_memory", "0\n"),
    (
        "proc/self/limits",
        "Limit                     Soft Limit           Hard Limit           Units     \n\
         Max file size             unlimited            unlimited            bytes     \n\
         Max locked memory         8388608              8388608              bytes     \n\
         Max address space         unlimited            unlimited            bytes     \n",
    ),
];

/// Answers as a description says.
#[derive(Debug, Default)]
struct Answers {
    page_bytes: usize,
    map_sync: BTreeSet<Dev>,
    unnamed: BTreeMap<Dev, i32>,
    denied: BTreeSet<PathBuf>,
}

impl Kernel for Answers {
    fn page_bytes(&self) -> usize {
        self.page_bytes
    }

    fn cpu(&self) -> Cpu {
        *Linux.cpu()
    }

    fn probe(&self, _: &Path, device: Dev, sysfs: Option<&Sysfs>) -> Result<Probed, OpenError> {
        if let Some(number) = self.unnamed.get(&device) {
            return Err(OpenError::CannotCreateTemporary(Errno::from_raw(*number)));
        }
        let refused = GranularityReason::NoMapSync(Errno::OPNOTSUPP);
        let granted = self.map_sync.contains(&device).then(|| accepted(sysfs, device)).flatten();
        Ok(Probed { file_system: FileSystem::EXT, backing: Backing::Allocated, reason: Ok(granted.unwrap_or(refused)) })
    }

    fn table(&self, _: Dev, _: &mut Table) -> Result<(), Errno> {
        Err(Errno::ACCES)
    }

    fn may_open(&self, path: &Path) -> Result<(), Errno> {
        if self.denied.contains(path) { Err(Errno::ACCES) } else { Ok(()) }
    }
}

fn device(text: &str) -> Dev {
    let (major, minor) = text.split_once(':').expect("MAJOR:MINOR");
    makedev(major.parse().unwrap(), minor.parse().unwrap())
}

/// Makes the tree of `description` in `folder`, and returns the machine.
///
/// # Panics
///
/// Where the description is wrong.
pub fn machine(folder: &Folder, description: &str) -> Machine {
    for (path, text) in PROC {
        folder.file(path, text);
    }
    folder.file("sys/devices/system/node/online", "0\n");
    let mut answers = Answers { page_bytes: 4096, ..Answers::default() };
    let (mut section, mut mounts) = (None, String::new());
    for line in description.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(rest) = line.strip_prefix('[') {
            let (path, tag) = rest.split_once(']').unwrap_or_else(|| panic!("{line}"));
            section = Some(format!("sys/{path}"));
            tagged(folder, path, tag.trim());
        } else if let Some(section) = &section {
            attribute(folder, section, line);
        } else {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let (first, second) = rest.split_once(' ').unwrap_or((rest, ""));
            match word {
                "mount" => mounts.extend([rest, "\n"]),
                "map_sync" => drop(answers.map_sync.insert(device(first))),
                "unnamed" => drop(answers.unnamed.insert(device(first), second.parse().unwrap())),
                "denied" => drop(answers.denied.insert(first.into())),
                "page" => answers.page_bytes = first.parse().unwrap(),
                "no" => fs::remove_dir_all(folder.at("sys")).unwrap(),
                _ => attribute(folder, "", line),
            }
        }
    }
    folder.file("proc/self/mountinfo", mounts);
    Machine::at(folder.path(), Box::new(answers))
}

/// Puts the folder `path` of sysfs where its tag says.
fn tagged(folder: &Folder, path: &str, tag: &str) {
    let full = folder.at("sys").join(path);
    fs::create_dir_all(&full).unwrap();
    let name = path.rsplit('/').next().unwrap();
    let (tag, number) = tag.split_once(' ').unwrap_or((tag, ""));
    let link = |at: String| {
        let at = folder.at("sys").join(at);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        let depth = at.strip_prefix(folder.at("sys")).unwrap().iter().count() - 1;
        symlink(format!("{}{path}", "../".repeat(depth)), at).unwrap();
    };
    match tag {
        "" => {}
        "nd" | "cxl" => link(format!("bus/{tag}/devices/{name}")),
        "block" => {
            link(format!("dev/block/{number}"));
            folder.file(&format!("sys/{path}/dev"), format!("{number}\n"));
        }
        "dax" => {
            link(format!("dev/char/{number}"));
            link(format!("bus/dax/devices/{name}"));
            folder.file(&format!("sys/{path}/dev"), format!("{number}\n"));
            let up = "../".repeat(path.split('/').count());
            symlink(format!("{up}bus/dax"), full.join("subsystem")).unwrap();
        }
        other => panic!("no such tag: {other}"),
    }
}

fn attribute(folder: &Folder, section: &str, line: &str) {
    let at = |name: &str| if section.is_empty() { name.to_owned() } else { format!("{section}/{name}") };
    if let Some((name, text)) = line.split_once(" = ") {
        folder.file(&at(name), format!("{}\n", text.replace("\\n", "\n")));
    } else if let Some((name, target)) = line.split_once(" -> ") {
        let path = folder.at(&at(name));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    } else if let Some(name) = line.strip_suffix(" !") {
        let _ = fs::remove_file(folder.at(&at(name)));
        fs::create_dir_all(folder.at(&at(name))).unwrap();
    } else if let Some(name) = line.strip_suffix(" =") {
        folder.file(&at(name), "");
    } else {
        panic!("neither an attribute nor a link: {line}");
    }
}

/// Makes sure that `text` is JSON, by a parser that is not ours.
///
/// # Panics
///
/// Where it is not.
pub fn parse_json(text: &str) -> tinyjson::JsonValue {
    text.parse().unwrap_or_else(|error| panic!("{error}: {text}"))
}
