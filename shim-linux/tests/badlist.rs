//! Lists of bad sectors, complete, cut off and damaged.

use pmemset_core::support::Random;
use pmemset_core::{Errno, Span};
use pmemset_linux::internal::{Device, Sysfs};
use pmemset_linux::nd::{Attribute, NdError};
use rustix::fs::makedev;
use testkit::sysfs::{BUS, Tree};

const CUT_OFF: Result<(), NdError> = Err(NdError::TooLong { attribute: Attribute::BadBlocks });

fn list(tree: &Tree) -> (Result<(), NdError>, Vec<Span>) {
    let region = Sysfs::at(tree.open().into()).device(Device::Block(makedev(259, 0))).unwrap().region.unwrap();
    let mut blocks = Vec::new();
    (region.bad_blocks(|block| blocks.push(block)), blocks)
}

#[test]
fn blocks_are_listed_in_bytes() {
    let tree = Tree::two_modules();
    assert_eq!(list(&tree), (Ok(()), vec![]));
    tree.region("badblocks", "8 1\n20 16\n");
    let expected = vec![Span::new(4096, 512).unwrap(), Span::new(10_240, 8192).unwrap()];
    assert_eq!(list(&tree), (Ok(()), expected));
}

/// An empty list proves nothing where nobody tells the kernel what is bad.
#[test]
fn only_buses_that_tell_of_bad_blocks_are_believed() {
    let tree = Tree::two_modules();
    let provider = format!("{BUS}/provider");
    let tells = |name: &str| list(tree.file(&provider, name)).0;
    for name in ["ACPI.NFIT\n", "nfit_test.1\n", "ibm,persistent-memory:ibm,pmemory@44100001\n"] {
        assert_eq!(tells(name), Ok(()), "{name}");
    }
    let nothing = Err(NdError::Unreadable { attribute: Attribute::BadBlocks, cause: Errno::OPNOTSUPP });
    for name in ["CXL\n", "e820\n", "virtio-pmem\n", "2000000000.pmem\n", "ocxlpmem\n", "\n"] {
        assert_eq!(tells(name), nothing, "{name}");
    }
    tree.remove(&provider);
    let absent = NdError::Unreadable { attribute: Attribute::Provider, cause: Errno::NOENT };
    assert_eq!(list(&tree).0, Err(absent));
}

#[test]
fn what_the_kernel_cuts_off_is_not_taken_for_the_end() {
    let tree = Tree::two_modules();
    let line = "1000000 100\n";
    let whole = 4095 / line.len();
    for text in [line.repeat(whole + 1)[..4095].to_owned(), format!("1 1\n{}", line.repeat(whole))[..4095].to_owned()] {
        tree.region("badblocks", &text);
        let (complete, blocks) = list(&tree);
        assert_eq!((complete, blocks.len()), (CUT_OFF, text.lines().count() - usize::from(!text.ends_with('\n'))));
    }
    tree.region("badblocks", line.repeat(whole));
    assert_eq!(list(&tree).0, Ok(()));
    // A page that happens to be full is not trusted either.
    let full = format!("{}100 10\n", line.repeat(whole - 1));
    let full = format!("{full}{}", "1 1\n".repeat((4095 - full.len()) / 4));
    let rest = 4095 - full.len();
    let full = full.replacen("1000000", &"1".repeat(7 + rest), 1);
    assert_eq!((full.len(), full.ends_with('\n')), (4095, true));
    assert_eq!(list(tree.region("badblocks", full)).0, CUT_OFF);
}

#[test]
fn damaged_and_missing_lists_are_errors() {
    let tree = Tree::two_modules();
    for text in [
        "8",
        "8 1\n9",
        "8\n",
        "8 0\n",
        "8 1 1\n",
        "-8 1\n",
        "\n",
        "8 1\n\n",
        &"7".repeat(50),
        "8 99999999999999999999\n",
    ] {
        assert_eq!(
            list(tree.region("badblocks", text)).0,
            Err(NdError::Garbage { attribute: Attribute::BadBlocks }),
            "{text:?}"
        );
    }
    tree.remove(&format!("{BUS}/region0/badblocks"));
    assert_eq!(list(&tree).0, Err(NdError::Unreadable { attribute: Attribute::BadBlocks, cause: Errno::NOENT }));
}

#[test]
fn lists_of_files_agree_with_a_sector_model() {
    for seed in 0..400 {
        println!("cargo xtask fuzz fiemap --seed {seed}");
        testkit::fuzzers::fiemap(&mut Random::new(seed));
    }
}
