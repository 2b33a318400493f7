//! Regions and memory modules, read from trees that look like sysfs.

use pmemset_core::{DeepFlush, DeviceId, Errno};
use pmemset_linux::internal::{Device, Region, Sysfs};
use pmemset_linux::nd::{Attribute, NdError, PersistenceDomain};
use rustix::fs::makedev;
use testkit::sysfs::{BUS, Tree};

const PMEM0: Device = Device::Block(makedev_const(259, 0));

const fn makedev_const(major: u64, minor: u64) -> u64 {
    major << 8 | minor
}

fn region(tree: &Tree) -> Region {
    Sysfs::at(tree.open().into()).device(PMEM0).unwrap().region.unwrap()
}

#[test]
fn two_modules_in_ascending_order() {
    assert_eq!(PMEM0, Device::Block(makedev(259, 0)));
    let tree = Tree::two_modules();
    let region = region(&tree);
    assert_eq!(region.id(), 0);
    assert_eq!(region.persistence_domain(), PersistenceDomain::MemoryController);
    assert_eq!(region.read_only(), Ok(false));
    assert_eq!(region.span().unwrap().start(), 0x2_4000_0000);
    assert_eq!(region.span().unwrap().length_bytes(), 1 << 30);
    assert_eq!(region.modules().unwrap().numbers(), [2, 10]);
    assert_eq!((region.dirty_shutdowns(2), region.dirty_shutdowns(10)), (Ok(Some(3)), Ok(Some(4))));
    let mut id = DeviceId::new();
    assert_eq!(region.device(&mut id), Ok(7));
    assert_eq!(id.as_bytes(), b"8089-a2-1834-000000028089-a2-1834-00000010");
}

#[test]
fn every_family_of_modules_is_read() {
    for family in ["papr", "cxl"] {
        let tree = Tree::two_modules();
        std::fs::rename(tree.at(&format!("{BUS}/nmem2/nfit")), tree.at(&format!("{BUS}/nmem2/{family}"))).unwrap();
        assert_eq!(region(&tree).dirty_shutdowns(2), Ok(Some(3)));
    }
}

#[test]
fn domain_is_the_regions_own() {
    let tree = Tree::two_modules();
    tree.file(&format!("{BUS}/region1/persistence_domain"), "none\n");
    for (text, domain) in [
        ("cpu_cache\n", PersistenceDomain::CpuCache),
        ("none\n", PersistenceDomain::None),
        ("cpu_cache or so\n", PersistenceDomain::Unknown),
        ("", PersistenceDomain::Unknown),
        (&"x".repeat(5000), PersistenceDomain::Unknown),
    ] {
        assert_eq!(region(tree.region("persistence_domain", text)).persistence_domain(), domain);
    }
    tree.remove(&format!("{BUS}/region0/persistence_domain"));
    assert_eq!(region(&tree).persistence_domain(), PersistenceDomain::Unknown);
}

#[test]
fn other_devices_are_on_no_region() {
    let tree = Tree::two_modules();
    tree.device("block", "254:0", "devices/pci0000:00/virtio1/block/vda");
    tree.device("char", "252:0", "devices/platform/ACPI0017:00/root0/decoder0.0/region0/dax_region0/dax0.0");
    tree.device("char", "252:1", &format!("{BUS}/region0/dax0.0/dax0.1"));
    let sysfs = Sysfs::at(tree.open().into());
    assert!(sysfs.device(Device::Block(makedev(254, 0))).unwrap().region.is_none());
    assert!(sysfs.device(Device::Character(makedev(252, 0))).unwrap().region.is_none());
    let region = sysfs.device(Device::Character(makedev(252, 1))).unwrap().region.unwrap();
    assert_eq!((region.id(), region.bus()), (0, 0));
    // The number of a block device is no number of a character device.
    let error = sysfs.device(Device::Character(makedev(259, 0))).unwrap_err();
    assert_eq!(error, NdError::Unreadable { attribute: Attribute::CharacterDevice, cause: Errno::NOENT });
    std::os::unix::fs::symlink(tree.at(BUS).join("region0"), tree.at("dev/char/252:2")).unwrap();
    let error = sysfs.device(Device::Character(makedev(252, 2))).unwrap_err();
    assert_eq!(error, NdError::Garbage { attribute: Attribute::CharacterDevice });
}

#[test]
fn deep_flush_has_four_answers() {
    let tree = Tree::two_modules();
    let file = format!("{BUS}/region0/deep_flush");
    assert_eq!(region(&tree).deep_flush(), Ok(DeepFlush::Done));
    assert_eq!(tree.text(&file), b"1\n");
    assert_eq!(region(tree.region("deep_flush", "0\n")).deep_flush(), Ok(DeepFlush::NotNeeded));
    assert_eq!(tree.text(&file), b"0\n");
    assert_eq!(region(tree.region("deep_flush", "yes\n")).deep_flush(), Err(Errno::INVAL));
    assert_eq!(region(tree.remove(&file)).deep_flush(), Ok(DeepFlush::NotNeeded));
    std::fs::create_dir(tree.at(&file)).unwrap();
    assert_eq!(region(&tree).deep_flush(), Err(Errno::ISDIR));
}

#[test]
fn a_missing_or_damaged_module_is_an_error() {
    let set = |path: &str, text: &str| {
        let tree = Tree::two_modules();
        tree.file(&format!("{BUS}/{path}"), text);
        tree
    };
    let garbage = |attribute| NdError::Garbage { attribute };
    let modules = |tree: &Tree| region(tree).modules().map(|modules| modules.numbers().len());
    assert_eq!(modules(&set("region0/mappings", "0\n")), Ok(0));
    assert_eq!(modules(&set("region0/mappings", "two\n")), Err(garbage(Attribute::Mappings)));
    assert_eq!(modules(&set("region0/mappings", "")), Err(garbage(Attribute::Mappings)));
    assert_eq!(
        modules(&set("region0/mappings", "3\n")),
        Err(NdError::Unreadable { attribute: Attribute::Mapping, cause: Errno::NOENT })
    );
    assert_eq!(
        modules(&set("region0/mapping1", "nmem10,0,1\n")),
        Err(garbage(Attribute::Mapping)),
        "the same one twice"
    );
    assert_eq!(modules(&set("region0/mapping1", "nmem2\n")), Err(garbage(Attribute::Mapping)));
    assert_eq!(region(&set("nmem2/nfit/dirty_shutdown", "-1\n")).dirty_shutdowns(2), Ok(None));
    assert_eq!(
        region(&set("nmem2/nfit/dirty_shutdown", "\n")).dirty_shutdowns(2),
        Err(garbage(Attribute::DirtyShutdown))
    );
    let tree = Tree::two_modules();
    tree.remove(&format!("{BUS}/nmem2/nfit/dirty_shutdown"));
    let absent = NdError::Unreadable { attribute: Attribute::DirtyShutdown, cause: Errno::NOENT };
    assert_eq!(region(&tree).dirty_shutdowns(2), Err(absent));
    let tree = set("region0/mappings", "33\n");
    for index in 0..33 {
        tree.region(&format!("mapping{index}"), format!("nmem{index},0,1\n"));
    }
    assert_eq!(modules(&tree), Err(NdError::TooLong { attribute: Attribute::Mappings }));
    assert_eq!(modules(tree.region("mappings", "32\n")), Ok(32));
}
