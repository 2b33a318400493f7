//! The example on the project's front page is a program that runs, in a package that has what the page says and no
//! more.

use std::path::Path;
use std::process::Command;

const PAGE: &str = include_str!("../../../README.md");

/// Returns the first lines on the page that are marked as `language`.
fn shown(language: &str) -> &'static str {
    let (_, rest) = PAGE.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0
}

#[test]
fn the_program_beside_the_other_examples_is_the_one_on_the_page() {
    let program = include_str!("../src/bin/hello.rs");
    assert_eq!(program.split_once("\n\n").unwrap().1, shown("rust"));
}

#[test]
fn what_the_front_page_shows_is_a_whole_program_when_it_is_copied() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    // Apart from the repository, so that nothing of its workspace helps.
    let package = std::env::temp_dir().join(format!("pmemset-front-page-{}", std::process::id()));
    std::fs::create_dir_all(package.join("src")).unwrap();
    let dependencies = shown("toml");
    let there = dependencies.replace("\"pmemset/", &format!("\"{}/", repository.display()));
    assert_ne!(there, dependencies, "the page says where the library is");
    let manifest = format!("[package]\nname = \"copied\"\nedition = \"2024\"\n\n{there}");
    std::fs::write(package.join("Cargo.toml"), manifest).unwrap();
    std::fs::write(package.join("src/main.rs"), shown("rust")).unwrap();
    // The versions that are on this machine already.
    std::fs::copy(repository.join("Cargo.lock"), package.join("Cargo.lock")).unwrap();

    for _ in 0..2 {
        let output = Command::new(env!("CARGO"))
            .args(["run", "--offline", "--target-dir"])
            .arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("front-page"))
            .current_dir(&package)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let records = std::fs::read(package.join("records.bin")).unwrap();
        assert_eq!((records.len(), &records[..11]), (64 << 10, &b"remember me"[..]));
    }
    std::fs::remove_dir_all(&package).unwrap();
}
