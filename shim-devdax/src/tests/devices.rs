//! What is recognised, in every kernel layout.

use std::format;

use pmemset_core::arch::Cpu;
use pmemset_core::error::DeviceError;
use pmemset_core::{DeviceId, Errno, Granularity, Platform as _};
use pmemset_linux::Linux;
use pmemset_linux::nd::{Attribute, NdError, PersistenceDomain};
use rustix::fs::FileType;

use super::tree::{ACPI, Tree};
use pmemset_linux::nd::Doubt;

use crate::open::unusable;
use crate::{DaxError, DaxOptions, Durability, Mode};

const UUID: [u8; 16] = [1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];

fn absent(attribute: Attribute) -> NdError {
    NdError::Unreadable { attribute, cause: Errno::NOENT }
}

#[test]
fn devices_on_the_nd_bus_are_recognised_in_every_layout() {
    let cxl = "devices/platform/ACPI0017:00/root0/nvdimm-bridge0/ndbus0";
    for tree in [Tree::nfit(), Tree::early_bus(), Tree::class(), Tree::on_bus(cxl, "CXL")] {
        let device = tree.find().unwrap();
        assert_eq!(device.length_bytes(), Ok(32 << 20), "{}", tree.device);
        assert_eq!(device.alignment_bytes(), 2 << 20, "{}", tree.device);
        assert_eq!(device.physical_address(), Ok(0x2_0040_0000), "{}", tree.device);
        assert_eq!(device.mode(), Ok(Mode::DevDax), "{}", tree.device);
        assert_eq!(device.region(), Some(0), "{}", tree.device);
        assert_eq!(device.namespace(), Ok(Some((0, 0))), "{}", tree.device);
        assert_eq!(device.uuid(), Ok(Some(UUID)), "{}", tree.device);
        assert_eq!(device.number(), Tree::number());
    }
    let (new, old) = (Tree::nfit(), Tree::class());
    let device = new.find().unwrap();
    assert_eq!((device.numa_node(), device.target_node()), (Ok(Some(1)), Ok(Some(3))));
    assert_eq!(old.find().unwrap().target_node(), Err(absent(Attribute::TargetNode)));
}

#[test]
fn devices_on_no_nd_bus_are_recognised() {
    for tree in [Tree::hmem(), Tree::cxl()] {
        let device = tree.find().unwrap();
        assert_eq!(device.length_bytes(), Ok(32 << 20));
        assert_eq!(device.alignment_bytes(), 2 << 20);
        assert!(device.region().is_none());
        assert_eq!((device.namespace(), device.uuid()), (Ok(None), Ok(None)));
        assert_eq!((device.numa_node(), device.target_node()), (Ok(None), Ok(Some(2))));
        assert_eq!(device.mode(), Ok(Mode::DevDax));
    }
}

/// Defects J11, J12: size and alignment are the device's own, not those of the namespace.
#[test]
fn the_devices_own_attributes_count() {
    let tree = Tree::nfit().own("align", "4096\n").own("size", "8388608\n");
    let device = tree.find().unwrap();
    assert_eq!((device.alignment_bytes(), device.length_bytes()), (4096, Ok(8 << 20)));
    let tree = tree.own("size", "4194304\n");
    assert_eq!(device.length_bytes(), Ok(4 << 20), "asked anew");
    drop(tree);
    assert_eq!(device.length_bytes(), Err(absent(Attribute::Size)), "the device has gone");
}

#[test]
fn what_is_no_device_dax_is_refused() {
    let other = Tree::new("devices/virtual/mem/null", "class/mem");
    assert_eq!(other.find().err(), Some(DaxError::NotDeviceDax { kind: FileType::CharacterDevice }));
    let tree = Tree::nfit();
    let subsystem = format!("{}/subsystem", tree.device);
    assert_eq!(tree.without(&subsystem).find().err(), Some(DaxError::Attribute(absent(Attribute::Subsystem))));
    assert_eq!(
        Tree::nfit().without("dev/char/252:0").find().err(),
        Some(DaxError::Attribute(absent(Attribute::CharacterDevice)))
    );
}

/// Pitfall 23.
#[test]
fn alignments_are_powers_of_two() {
    for alignment_bytes in [0, 3, 2_097_151, u64::MAX] {
        let tree = Tree::nfit().own("align", &format!("{alignment_bytes}\n"));
        assert_eq!(tree.find().err(), Some(DaxError::InvalidAlignment { alignment_bytes }));
    }
    let tree = Tree::nfit().own("align", "-1\n");
    assert_eq!(tree.find().err(), Some(DaxError::Attribute(NdError::Garbage { attribute: Attribute::Align })));
    let small = Tree::nfit().own("size", "2097151\n");
    assert_eq!(small.source().err(), Some(DaxError::InvalidAlignment { alignment_bytes: 2 << 20 }));
    for alignment_bytes in [4096_u64, 2 << 20, 1 << 30] {
        let tree = Tree::sized(alignment_bytes, 2 << 30);
        assert_eq!(tree.source().unwrap().facts().alignment_bytes() as u64, alignment_bytes);
    }
}

/// Pitfall 69.
#[test]
fn a_device_in_another_mode_has_its_own_error() {
    let ram = Tree::nfit().driver("kmem");
    assert_eq!(ram.find().unwrap().mode(), Ok(Mode::SystemRam));
    assert_eq!(ram.source().err(), Some(DaxError::SystemRam));
    assert!(format!("{}", DaxError::SystemRam).contains("reconfigure-device"));
    let idle = Tree::hmem().without_driver();
    assert_eq!(idle.find().unwrap().mode(), Ok(Mode::NoDriver));
    assert_eq!(idle.source().err(), Some(DaxError::NoDriver));
    let other = Tree::nfit().driver("famfs_dax");
    assert_eq!(other.find().unwrap().mode(), Ok(Mode::Other));
}

/// A container that shows `/sys`, and no device nodes.
#[test]
fn a_path_that_is_not_there_says_what_the_memory_is_used_for() {
    let named = |tree: Tree| {
        let device = tree.device.clone();
        let tree = tree.own("dev", "252:0\n").link("bus/dax/devices/dax0.0", &format!("../../../{device}"));
        let why = |path: &str| unusable(&tree.sysfs(), path.as_bytes());
        assert_eq!(why("/dev/dax0.1"), None, "no such device");
        assert_eq!(why("/dev/dax0"), None);
        assert_eq!(why("/dev/../dax0.0/dev"), None);
        why("/dev/dax0.0")
    };
    assert_eq!(named(Tree::hmem().driver("kmem")), Some(DaxError::SystemRam));
    assert_eq!(named(Tree::cxl().without_driver()), Some(DaxError::NoDriver));
    assert_eq!(named(Tree::nfit()), None, "it could be opened, if its node were there");
}

#[test]
fn modules_tell_who_they_are_without_a_count() {
    let ids = |tree: &Tree| {
        let mut id = DeviceId::new();
        tree.find().unwrap().module_ids(&mut id).map(|()| id.as_bytes().to_vec())
    };
    let id = |text: &[u8]| Ok(text.to_vec());
    let with_module = |tree: Tree, bus: &str| {
        tree.file(&format!("{bus}/region0/mappings"), "1\n")
            .file(&format!("{bus}/region0/mapping0"), "nmem3,0,1073741824,0\n")
    };
    let tree = with_module(Tree::nfit(), ACPI);
    assert_eq!(ids(&tree), Err(DeviceError::Unsupported), "the module says nothing");
    let tree = tree.file(&format!("{ACPI}/nmem3/nfit/id"), "8089-a2-1834-00000003\n");
    assert_eq!(ids(&tree), id(b"8089-a2-1834-00000003"));
    let bus = "devices/platform/ACPI0017:00/root0/nvdimm-bridge0/ndbus0";
    let tree = with_module(Tree::on_bus(bus, "CXL"), bus).file(&format!("{bus}/nmem3/cxl/id"), "81985529216486895\n");
    assert_eq!(ids(&tree), id(b"81985529216486895"));
    for tree in [Tree::hmem(), Tree::cxl(), Tree::nfit()] {
        assert_eq!(ids(&tree), Err(DeviceError::Unsupported), "nothing to know it by");
    }
}

#[test]
fn only_the_devices_own_region_vouches_for_it() {
    let cpu = Linux.cpu();
    let domain = |text: &str| Tree::nfit().file(&format!("{ACPI}/region0/persistence_domain"), text);
    let of = |tree: &Tree| tree.find().unwrap().durability(cpu);
    assert_eq!(of(&domain("cpu_cache\n")), Durability::CpuCache);
    assert_eq!(of(&domain("cpu_cache\n")).granularity(), Granularity::Byte);
    assert_eq!(of(&domain("memory_controller\n")), Durability::WriteBack(PersistenceDomain::MemoryController));
    assert_eq!(of(&domain("\n")), Durability::WriteBack(PersistenceDomain::Unknown));
    assert_eq!(of(&Tree::class()), Durability::WriteBack(PersistenceDomain::Unknown), "no such attribute");
    assert_eq!(of(&Tree::class()).granularity(), Granularity::CacheLine);
    assert_eq!(of(&domain("none\n")), Durability::NotGuaranteed(Doubt::NoDomain));
    let foreign = Tree::nfit().file(&format!("{ACPI}/region1/persistence_domain"), "cpu_cache\n");
    assert_eq!(of(&foreign), Durability::WriteBack(PersistenceDomain::MemoryController));
    let (tree, cached) = (Tree::nfit(), domain("cpu_cache\n"));
    let none = tree.find().unwrap().durability(&Cpu::NONE);
    assert_eq!(none, Durability::NotGuaranteed(Doubt::NoWriteBack));
    assert_eq!(cached.find().unwrap().durability(&Cpu::NONE), Durability::CpuCache);
}

#[test]
fn doubts_are_told_apart_and_refused() {
    let virtio = "devices/pci0000:00/0000:00:04.0/virtio1/ndbus0";
    let cases = [
        (Tree::on_bus(virtio, "virtio-pmem"), Doubt::Virtio),
        (Tree::nfit().file(&format!("{ACPI}/region0/devtype"), "nd_volatile\n"), Doubt::Volatile),
        (Tree::nfit().without(&format!("{ACPI}/provider")), Doubt::UnknownProvider),
        (Tree::nfit().file(&format!("{ACPI}/region0/read_only"), "1\n"), Doubt::ReadOnly),
        (Tree::hmem(), Doubt::NoRegion),
        (Tree::cxl(), Doubt::NoRegion),
    ];
    for (tree, doubt) in cases {
        let source = tree.source().unwrap();
        assert_eq!(source.durability(), Durability::NotGuaranteed(doubt));
        assert_eq!(DaxOptions::new().accept_unproven().check(source.durability()), Ok(()));
        let error = DaxOptions::new().check(source.durability()).err();
        assert_eq!(error, Some(DaxError::NotPersistent(doubt)));
        assert_eq!(error.map(|error| error.code()), Some(Errno::OPNOTSUPP.code()));
    }
    for provider in ["ACPI.NFIT", "e820", "CXL", "nfit_test.0"] {
        assert!(
            Tree::on_bus(ACPI, provider).source().map(|source| DaxOptions::new().check(source.durability()))
                == Ok(Ok(())),
            "{provider}"
        );
    }
}

#[test]
fn what_cannot_be_read_is_not_made_up() {
    let tree = Tree::nfit();
    let own = format!("{}/resource", tree.device);
    let tree = tree.without(&own);
    assert_eq!(tree.find().unwrap().physical_address(), Err(absent(Attribute::Resource)));
    let tree = tree.own("resource", "0x0\n");
    let hidden = tree.find().unwrap().physical_address();
    assert_eq!(hidden, Err(NdError::Unreadable { attribute: Attribute::Resource, cause: Errno::ACCES }));
    let tree = Tree::hmem().own("mapping1/start", "0x300000000\n");
    assert_eq!(tree.find().unwrap().physical_address(), Err(NdError::Garbage { attribute: Attribute::Mapping1 }));
    for text in ["", "namespace0\n", "namespace0.0.0\n", "namespace00.0\n", "dax0.0\n"] {
        let tree = Tree::nfit().file(&format!("{ACPI}/region0/dax0.1/namespace"), text);
        assert_eq!(
            tree.find().unwrap().namespace(),
            Err(NdError::Garbage { attribute: Attribute::Namespace }),
            "{text:?}"
        );
    }
    for text in ["", "01234567-89ab-cdef-0123-456789abcde\n", "01234567089ab-cdef-0123-456789abcdef\n", &"-".repeat(36)]
    {
        let tree = Tree::nfit().file(&format!("{ACPI}/region0/dax0.1/uuid"), text);
        assert_eq!(tree.find().unwrap().uuid(), Err(NdError::Garbage { attribute: Attribute::Uuid }), "{text:?}");
    }
}
