//! The example on the project's front page is a program that runs.

use std::process::Command;

#[test]
fn what_the_front_page_shows_is_compiled_and_keeps_its_record() {
    let page = include_str!("../../../README.md");
    let shown = page.split_once("```rust\n").and_then(|(_, rest)| rest.split_once("```")).unwrap().0;
    let program = include_str!("../src/bin/hello.rs");
    assert_eq!(program.split_once("\n\n").unwrap().1, shown);

    let folder = std::env::temp_dir().join(format!("pmemset-front-page-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    for _ in 0..2 {
        let status = Command::new(env!("CARGO_BIN_EXE_hello")).current_dir(&folder).status().unwrap();
        assert!(status.success());
    }
    let records = std::fs::read(folder.join("records.bin")).unwrap();
    assert_eq!((records.len(), &records[..11]), (64 << 10, &b"remember me"[..]));
    std::fs::remove_dir_all(&folder).unwrap();
}
