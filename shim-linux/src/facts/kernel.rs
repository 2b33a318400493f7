//! The kernel's answers about one piece of a mapping after the other, in the order of addresses.

use pmemset_core::{Errno, Extent};
use rustix::fd::AsFd;

use crate::auxv;
use crate::nd::block_device::Pieces;
use crate::nd::parse;
use crate::nd::region::{Device, Region};
use crate::nd::sysfs::{self, Attribute, NdError, PATH_MAX_BYTES, Sysfs};

use super::answers::{FactError, Hindrance, Memory, Node, Pages, SegmentFacts};
use super::descriptor::{Kind, Mapped};
use super::hindrance::Asked;
use super::hugepages;
use super::nodes;
use super::pages::{PageMap, Resident};
use super::parse::Vma;
use super::vma::Vmas;

/// What is asked, opened once.
#[derive(Debug)]
pub(super) struct Kernel {
    vmas: Result<Vmas, FactError>,
    /// `/proc/self/smaps`, which only old kernels are asked for.
    amounts: Option<Vmas>,
    page_map: Result<PageMap, FactError>,
    sysfs: Result<Sysfs, Errno>,
    ground: Option<Ground>,
}

/// What is mapped, and what sysfs says of it: the same for all segments of a source.
#[derive(Clone, Copy, Debug)]
struct Ground {
    mapped: Mapped,
    memory: Memory,
    /// `None` for what is not at one place: pages are asked then.
    node: Option<Result<Node, FactError>>,
    region: Option<u32>,
}

impl Kernel {
    pub(super) fn open() -> Self {
        Self {
            vmas: Vmas::open(c"/proc/self/maps"),
            amounts: None,
            page_map: PageMap::open(),
            sysfs: Sysfs::system(),
            ground: None,
        }
    }

    /// Returns the facts of `extent`, which is mapped and stays so, and lies behind those asked about before.
    pub(super) fn facts(&mut self, extent: Extent, offset: u64) -> SegmentFacts {
        let unknown = |reason| SegmentFacts {
            extent,
            offset,
            memory: Err(reason),
            resident_bytes: Err(reason),
            pages: Err(reason),
            hindrance: None,
            node: Err(reason),
            region: None,
        };
        let vma = match self.vmas.as_mut().map_err(|reason| *reason).and_then(|vmas| vmas.at(extent.start())) {
            Ok(vma) => vma,
            Err(reason) => return unknown(reason),
        };
        let ground = self.ground(&vma);
        let resident = self.resident(&vma, extent, ground.as_ref().ok());
        let (memory, region) = (ground.map(|ground| ground.memory), ground.ok().and_then(|ground| ground.region));
        let node = match ground.map(|ground| ground.node) {
            Ok(Some(node)) => node,
            _ => nodes::of_pages(extent),
        };
        let pages = pages_of(memory.ok(), resident);
        let hindrance = ground.ok().and_then(|ground| {
            let piece = extent.intersect(vma.extent)?;
            let asked = Asked { vma: &vma, piece, offset, memory: ground.memory, mapped: &ground.mapped };
            self.hindrance(&asked, resident)
        });
        let resident_bytes = resident.map(|resident| resident.bytes);
        SegmentFacts { extent, offset, memory, resident_bytes, pages, hindrance, node, region }
    }

    /// Finds what `vma` maps, and what sysfs says of it.
    fn ground(&mut self, vma: &Vma) -> Result<Ground, FactError> {
        let known = self.ground;
        let mapped = Mapped::find(vma, known.map(|ground| ground.mapped))?;
        if let Some(ground) = known.filter(|ground| ground.mapped == mapped) {
            return Ok(ground);
        }
        let ground = match mapped.kind {
            Kind::Device { number } => self.on_device(mapped, number)?,
            Kind::File { device, is_dax: true, .. } => self.on_medium(mapped, device),
            Kind::File { file_system, .. } => {
                let is_tmpfs = file_system == crate::file::FileSystem::TMPFS;
                let memory = if is_tmpfs { Memory::Tmpfs } else { Memory::PageCache(file_system) };
                Ground { mapped, memory, node: None, region: None }
            }
        };
        self.ground = Some(ground);
        Ok(ground)
    }

    /// A device DAX: its own directory says everything.
    fn on_device(&self, mapped: Mapped, number: rustix::fs::Dev) -> Result<Ground, FactError> {
        let sysfs = self.sysfs.as_ref().map_err(|cause| FactError::Failed(*cause))?;
        let device = sysfs.device(Device::Character(number))?;
        let dir = device.dir.as_fd();
        let mut buffer = [0; PATH_MAX_BYTES];
        let attribute = Attribute::Subsystem;
        if sysfs::link_name(dir, attribute, c"subsystem", &mut buffer)? != b"dax" {
            return Err(NdError::Garbage { attribute }.into());
        }
        let alignment_bytes = sysfs::dax_alignment(dir)?;
        let garbage = NdError::Garbage { attribute: Attribute::Align };
        let alignment_bytes = usize::try_from(alignment_bytes).map_err(|_| garbage)?;
        let node = match sysfs::read(dir, Attribute::NumaNode, c"numa_node", parse::count) {
            // Soft-reserved memory may have no processors near it, but it would be a node of its own.
            Ok(None) => sysfs::read(dir, Attribute::TargetNode, c"target_node", parse::count),
            other => other,
        };
        let node = node.map_err(FactError::Sysfs).and_then(nodes::of_device);
        let region = device.region.as_ref().map(Region::id);
        Ok(Ground { mapped, memory: Memory::DeviceDax { alignment_bytes }, node: Some(node), region })
    }

    /// A file on fs-dax: the region that its block device is on, or the first of them.
    fn on_medium(&self, mapped: Mapped, device: rustix::fs::Dev) -> Ground {
        let told = |region: &Region| {
            let node = sysfs::read(region.dir().as_fd(), Attribute::NumaNode, c"numa_node", parse::count);
            (node.map_err(FactError::Sysfs).and_then(nodes::of_device), Some(region.id()))
        };
        let found = self.sysfs.as_ref().map_err(|cause| FactError::Failed(*cause)).and_then(|sysfs| {
            if let Some(region) = sysfs.device(Device::Block(device))?.region {
                return Ok(told(&region));
            }
            let pieces = sysfs.pieces(device)?;
            Pieces::as_slice(&pieces).first().map(|piece| told(&piece.region)).ok_or(FactError::NoNode)
        });
        let (node, region) = found.unwrap_or_else(|reason| (Err(reason), None));
        Ground { mapped, memory: Memory::FsDax, node: Some(node), region }
    }

    /// Looks how much is in the page tables, and by which pages.
    fn resident(&mut self, vma: &Vma, extent: Extent, ground: Option<&Ground>) -> Result<Resident, FactError> {
        let memory = ground.map(|ground| ground.memory);
        // The walk of every file that lists pages takes apart what one entry of the third level maps.
        if matches!(memory, Some(Memory::DeviceDax { alignment_bytes }) if alignment_bytes > hugepages::size_bytes()) {
            return Err(FactError::NotLooked);
        }
        let page_map = self.page_map.as_ref().map_err(|reason| *reason)?;
        let mut resident = page_map.look(extent)?;
        if resident.huge_bytes.is_none() && matches!(memory, Some(Memory::Tmpfs | Memory::PageCache(_))) {
            resident.huge_bytes = self.huge_by_amounts(vma, resident.bytes);
        }
        Ok(resident)
    }

    /// Asks an old kernel, which answers for whole mappings only: for all of one, or for nothing of one, it is an
    /// answer.
    fn huge_by_amounts(&mut self, vma: &Vma, resident_bytes: usize) -> Option<usize> {
        if self.amounts.is_none() {
            self.amounts = Vmas::open(c"/proc/self/smaps").ok();
        }
        let amounts = self.amounts.as_mut()?;
        // Between the two readings, the mapping may have become another one.
        if amounts.at(vma.extent.start()).ok()? != *vma {
            return None;
        }
        match amounts.amounts().ok()? {
            (_, 0) => Some(0),
            (resident, huge) if resident == huge => Some(resident_bytes),
            _ => None,
        }
    }

    /// Returns why not all of what is mapped is mapped by huge pages, or will not be.
    fn hindrance(&self, asked: &Asked<'_>, resident: Result<Resident, FactError>) -> Option<Hindrance> {
        let small_bytes = match resident {
            Ok(Resident { bytes, huge_bytes: Some(huge_bytes) }) => Some(bytes.saturating_sub(huge_bytes)),
            _ => None,
        };
        let is_touched = resident.is_ok_and(|resident| resident.bytes > 0);
        if is_touched && small_bytes == Some(0) {
            return None;
        }
        let against = self.sysfs.as_ref().ok().and_then(|sysfs| asked.hindrance(sysfs));
        if against.is_some() || matches!(asked.memory, Memory::DeviceDax { .. }) {
            return against;
        }
        match small_bytes {
            Some(small_bytes) if is_touched && small_bytes <= asked.at_the_ends() => {
                Some(Hindrance::TooShort { huge_bytes: hugepages::size_bytes() })
            }
            Some(_) if is_touched => Some(Hindrance::Unknown),
            _ => None,
        }
    }
}

/// Returns by which pages memory is mapped.
fn pages_of(memory: Option<Memory>, resident: Result<Resident, FactError>) -> Result<Pages, FactError> {
    let one =
        |bytes, resident_bytes| Pages { smallest_bytes: bytes, largest_bytes: bytes, in_largest_bytes: resident_bytes };
    // A fault that its alignment does not fit is refused (`drivers/dax/device.c`).
    if let Some(Memory::DeviceDax { alignment_bytes }) = memory {
        return Ok(one(alignment_bytes, resident.map_or(0, |resident| resident.bytes)));
    }
    let (page_bytes, huge_bytes) = (auxv::page_size_bytes(), hugepages::size_bytes());
    match resident? {
        Resident { bytes: 0, .. } => Err(FactError::NotTouched),
        Resident { huge_bytes: None, .. } => Err(FactError::OldKernel),
        Resident { bytes, huge_bytes: Some(0) } => Ok(one(page_bytes, bytes)),
        Resident { bytes, huge_bytes: Some(huge) } if huge == bytes => Ok(one(huge_bytes, bytes)),
        Resident { huge_bytes: Some(huge), .. } => {
            Ok(Pages { smallest_bytes: page_bytes, largest_bytes: huge_bytes, in_largest_bytes: huge })
        }
    }
}
