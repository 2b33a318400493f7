//! What the demo does with the path that it is given.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

fn demo(verb: &str, path: &Path, more: &[&str]) -> Result<String, String> {
    let output = Command::new(env!("CARGO_BIN_EXE_demo")).arg(verb).arg(path).arg("7").args(more).output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    if output.status.success() { Ok(said) } else { Err(said) }
}

/// A folder of its own for each test.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn no_file_is_made_below_dev() {
    let folder = folder("below-dev");
    let (plain, link) = (PathBuf::from(format!("/dev/demo-{}", std::process::id())), folder.join("dev"));
    symlink("/dev", &link).unwrap();
    symlink(&plain, folder.join("dangling")).unwrap();
    for path in [plain.clone(), link.join(plain.file_name().unwrap()), folder.join("dangling")] {
        for more in [&[][..], &["--force"]] {
            let outcome = demo("store", &path, more);
            let made = fs::remove_file(&plain).is_ok();
            assert!(!made, "{} was made", plain.display());
            assert!(outcome.unwrap_err().contains(path.to_str().unwrap()), "{}", path.display());
        }
    }
}

#[test]
fn what_is_not_a_demos_is_left_alone() {
    let path = folder("foreign").join("notes");
    fs::write(&path, "not a demo's").unwrap();
    assert!(demo("store", &path, &[]).unwrap_err().contains("--force"));
    assert_eq!(fs::read_to_string(&path).unwrap(), "not a demo's");
    // Long, and zeros at first: somebody's image of a disk.
    fs::write(&path, [vec![0; 1 << 20], b"data".to_vec()].concat()).unwrap();
    assert!(demo("store", &path, &[]).unwrap_err().contains("--force"));
    assert!(fs::read(&path).unwrap().ends_with(b"data"));
    demo("store", &path, &["--force"]).unwrap();
    assert!(demo("verify", &path, &[]).unwrap().contains("in a second process"));
}

#[test]
fn its_own_file_is_overwritten() {
    let path = folder("own").join("records");
    fs::write(&path, "").unwrap();
    for _ in 0..2 {
        let said = demo("store", &path, &[]).unwrap();
        assert!(said.contains(": 512 KiB, all allocated"), "{said}");
        assert!(said.contains("\nmapped   pages ") && said.contains("\n         no huge pages: "), "{said}");
    }
}

#[test]
fn the_front_pages_picture_is_what_the_demo_draws() {
    let folder = folder("picture");
    let (records, picture) = (folder.join("records.pmem"), folder.join("window.svg"));
    demo("store", &records, &[]).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_demo")).arg("svg").args([&records, &picture]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let drawn = fs::read_to_string(&picture).unwrap();
    assert_eq!(
        drawn,
        include_str!("../pictures/window.svg"),
        "`cargo xtask demo --svg FILE` makes another picture now"
    );
    assert!(include_str!("../../../README.md").contains("(examples/hosted/pictures/window.svg)"));
}
