//! Bad blocks: the region's list seen from the device, and clearing through the control node of the region's bus.

use pmemset_core::error::{BadBlocksError, ClearError};
use pmemset_core::support::Collector;
use pmemset_core::{BadBlocks, Errno, Span};
use pmemset_linux::Fd;
use pmemset_linux::internal::{ArsCap, ClearRequest, PathText, Region, errno, open_at, parse, sysfs};
use pmemset_linux::nd::{Attribute, NdError};
use rustix::fd::AsFd as _;
use rustix::fs::{self, CWD, FileType, Mode, OFlags};
use rustix::io;

use crate::device::DaxDevice;

/// The unit of the kernel's lists.
const SECTOR_BYTES: u64 = 512;
/// The number of blocks that are cleared before the list is read again.
const BLOCKS_AT_A_TIME: usize = 8;

/// A bus that answers two requests of `ndctl(4)`.
pub(crate) trait Bus {
    /// Asks what the bus can do with a range of physical addresses.
    fn capability(&self, request: &mut ArsCap) -> Result<(), Errno>;
    /// Clears a range of physical addresses.
    fn clear(&self, request: &mut ClearRequest) -> Result<(), Errno>;
}

/// The control node `/dev/ndctlB` of a bus.
struct Node(Fd);

impl Bus for Node {
    fn capability(&self, request: &mut ArsCap) -> Result<(), Errno> {
        request.ask(self.0.as_fd())
    }
    fn clear(&self, request: &mut ClearRequest) -> Result<(), Errno> {
        request.ask(self.0.as_fd())
    }
}

/// Opens the control node of the bus that `region` is on, if the bus says that it can clear.
fn node(region: &Region) -> Result<Node, ClearError> {
    let commands = sysfs::parsed(region.dir().as_fd(), Attribute::Commands, c"../commands", |text| {
        let has = |name: &[u8]| parse::trim(text).split(|byte| *byte == b' ').any(|command| command == name);
        Ok((has(b"ars_cap") && has(b"clear_error")).into())
    });
    match commands {
        Ok(1..) => {}
        Ok(0) | Err(NdError::Unreadable { cause: Errno::NOENT, .. }) => return Err(ClearError::Unsupported),
        Err(error) => return Err(ClearError::Failed(error.errno())),
    }
    let mut path = PathText::new();
    let path = path.text(b"../nd/ndctl").number(region.bus()).text(b"/dev").as_c_str();
    let path = path.ok_or(ClearError::Failed(Errno::RANGE))?;
    let number = sysfs::parsed(region.dir().as_fd(), Attribute::DeviceNumber, path, |text| {
        parse::device_number(text).map(|(major, minor)| fs::makedev(major, minor))
    });
    let number = number.map_err(|error| ClearError::Failed(error.errno()))?;
    let failed = |cause| ClearError::Failed(errno(cause));
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let mut path = PathText::new();
    let path = path.text(b"/dev/ndctl").number(region.bus()).as_c_str().ok_or(ClearError::Failed(Errno::RANGE))?;
    let fd = io::retry_on_intr(|| open_at(CWD, path, flags, Mode::empty())).map_err(failed)?;
    let stat = fs::fstat(&fd).map_err(failed)?;
    let is_node = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    if is_node && stat.st_rdev == number { Ok(Node(fd)) } else { Err(ClearError::Failed(Errno::NODEV)) }
}

/// What a device is made of, which stays as it is as long as it is the same device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    place: Place,
    uuid: Option<[u8; 16]>,
}

impl Identity {
    fn of(device: &DaxDevice, region: &Region) -> Result<Self, NdError> {
        Ok(Self { place: Place::of(device, region)?, uuid: device.uuid()? })
    }

    /// Fails with `ENODEV` where somebody has made another device of the memory meanwhile: what is cleared and listed
    /// by physical addresses, and overwritten through the device, is not the same any more.
    fn check(&self, device: &DaxDevice, region: &Region) -> Result<(), ClearError> {
        match Self::of(device, region) {
            Ok(now) if now == *self => Ok(()),
            _ => Err(ClearError::Failed(Errno::NODEV)),
        }
    }
}

/// Where a device lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// Its bytes, counted from the start of the region.
    in_region: Span,
    /// Its first physical address.
    physical: u64,
}

impl Place {
    fn of(device: &DaxDevice, region: &Region) -> Result<Self, NdError> {
        let physical = device.physical_address()?;
        let whole = region.span()?;
        let garbage = NdError::Garbage { attribute: Attribute::Resource };
        let own = Span::new(physical, device.length_bytes()?).filter(|own| whole.covers(*own)).ok_or(garbage)?;
        let start = own.start().checked_sub(whole.start()).ok_or(garbage)?;
        Ok(Self { in_region: Span::new(start, own.length_bytes()).ok_or(garbage)?, physical })
    }

    /// Returns the bytes of the device that a block of the region has.
    fn rebase(&self, block: Span) -> Option<Span> {
        let mine = block.intersect(self.in_region)?;
        Span::new(mine.start().checked_sub(self.in_region.start())?, mine.length_bytes())
    }

    /// Rounds a block of the device to whole units of clearing.
    fn round(&self, block: Span, unit_bytes: u64) -> Option<Span> {
        block.align_outward(unit_bytes)?.intersect(Span::new(0, self.in_region.length_bytes())?)
    }
}

/// Lists the bad blocks of the device that touch `range`.
#[inline(never)]
pub(crate) fn list(device: &DaxDevice, range: Span, blocks: &mut [Span]) -> BadBlocks {
    let unit = |region: &Region, physical| node(region).ok().and_then(|node| unit_bytes(&node, physical));
    list_with(device, range, blocks, &unit)
}

/// Returns what the bus clears at a time at a physical address; `None` where it cannot.
fn unit_bytes(bus: &dyn Bus, physical: u64) -> Option<u64> {
    let mut capability = ArsCap { address: physical, length_bytes: SECTOR_BYTES, ..Default::default() };
    bus.capability(&mut capability).ok()?;
    let unit = u64::from(capability.clear_unit_bytes);
    (capability.status & 0xffff == 0 && unit.is_power_of_two()).then_some(unit)
}

fn list_with(
    device: &DaxDevice,
    range: Span,
    blocks: &mut [Span],
    unit: &dyn Fn(&Region, u64) -> Option<u64>,
) -> BadBlocks {
    let Some(region) = device.nd_region() else { return BadBlocks::Unknown(BadBlocksError::NoRegion) };
    let place = match Place::of(device, region) {
        Ok(place) => place,
        Err(error) => return BadBlocks::Unknown(error.into()),
    };
    let (mut collector, mut known_unit) = (Collector::new(blocks), None);
    let read = region.bad_blocks(|block| {
        let Some(block) = place.rebase(block) else { return };
        // Asked for only once there is something bad: it takes the right to open the control node.
        let ask = || unit(region, place.physical).unwrap_or(0).max(SECTOR_BYTES);
        let unit_bytes = *known_unit.get_or_insert_with(ask);
        if let Some(block) = place.round(block, unit_bytes).filter(|block| block.overlaps(range)) {
            collector.add(block);
        }
    });
    match (read, collector.finish()) {
        (Ok(()), answer) => answer,
        // The kernel has cut off its list: what is there is bad, and there may be more.
        (Err(NdError::TooLong { .. }), BadBlocks::Listed { count, .. }) => BadBlocks::Listed { count, more: true },
        (Err(error), _) => BadBlocks::Unknown(error.into()),
    }
}

/// Makes bytes that were cleared 0: what firmware leaves there is not said anywhere.
type Zero<'z> = &'z dyn Fn(Span) -> Result<(), ClearError>;

/// Clears what is bad in `block`, has `zero` overwrite it, and reads the list again.
pub(crate) fn clear(device: &DaxDevice, block: Span, zero: Zero<'_>) -> Result<(), ClearError> {
    let region = device.nd_region().ok_or(ClearError::Unknown(BadBlocksError::NoRegion))?;
    clear_with(device, block, &|| node(region), zero)
}

fn clear_with<B: Bus>(
    device: &DaxDevice,
    block: Span,
    open: &dyn Fn() -> Result<B, ClearError>,
    zero: Zero<'_>,
) -> Result<(), ClearError> {
    let region = device.nd_region().ok_or(ClearError::Unknown(BadBlocksError::NoRegion))?;
    let length_bytes = device.length_bytes().map_err(|error| ClearError::Failed(error.errno()))?;
    if block.end() > length_bytes {
        return Err(ClearError::OutOfRange { length_bytes });
    }
    let identity = Identity::of(device, region).map_err(|error| ClearError::Unknown(error.into()))?;
    let place = identity.place;
    let bus = open()?;
    let unit_bytes = unit_bytes(&bus, place.physical).ok_or(ClearError::Unsupported)?.max(SECTOR_BYTES);
    let unit = |_: &Region, _| Some(unit_bytes);
    let mut rest = Some(block);
    while let Some(asked) = rest {
        let mut found = [asked; BLOCKS_AT_A_TIME];
        let (count, more) = match list_with(device, asked, &mut found, &unit) {
            BadBlocks::None => break,
            BadBlocks::Listed { count, more } => (count, more),
            BadBlocks::Unknown(reason) => return Err(ClearError::Unknown(reason)),
            _ => return Err(ClearError::Unsupported),
        };
        let found = found.get(..count).unwrap_or(&found);
        for bad in found.iter().filter_map(|bad| place.round(bad.intersect(block)?, unit_bytes)) {
            identity.check(device, region)?;
            clear_piece(&bus, place, bad)?;
            identity.check(device, region)?;
            zero(bad)?;
        }
        rest = found
            .last()
            .filter(|last| more && last.end() > asked.start())
            .and_then(|last| asked.starting_at(last.end()));
    }
    let left = list_with(device, block, &mut [], &unit);
    identity.check(device, region)?;
    match left {
        BadBlocks::None => Ok(()),
        BadBlocks::Unknown(reason) => Err(ClearError::Unknown(reason)),
        _ => Err(ClearError::StillBad),
    }
}

/// Clears whole units of the device. The call succeeds also where the firmware refuses: what it says counts.
fn clear_piece(bus: &dyn Bus, place: Place, piece: Span) -> Result<(), ClearError> {
    const STATUS: u32 = 0xffff;
    const NOT_SUPPORTED: u32 = 1;
    let address = place.physical.checked_add(piece.start()).ok_or(ClearError::Failed(Errno::OVERFLOW))?;
    let length_bytes = piece.length_bytes();
    let refused = |cause| match cause {
        Errno::NOTTY | Errno::OPNOTSUPP => ClearError::Unsupported,
        other => ClearError::Failed(other),
    };
    let mut capability = ArsCap { address, length_bytes, ..Default::default() };
    bus.capability(&mut capability).map_err(refused)?;
    let known = Span::new(capability.address, capability.length_bytes);
    match (capability.status & STATUS, known.zip(Span::new(address, length_bytes))) {
        (0, Some((known, piece))) if known.covers(piece) => {}
        (0, _) => return Err(ClearError::Failed(Errno::NXIO)),
        _ => return Err(ClearError::Unsupported),
    }
    let mut request = ClearRequest { address, length_bytes, ..Default::default() };
    bus.clear(&mut request).map_err(refused)?;
    match request.status & STATUS {
        0 if request.cleared_bytes >= length_bytes => Ok(()),
        0 => Err(ClearError::Failed(Errno::NXIO)),
        NOT_SUPPORTED => Err(ClearError::Unsupported),
        _ => Err(ClearError::Failed(Errno::IO)),
    }
}

#[cfg(test)]
mod tests;
