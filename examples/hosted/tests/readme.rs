//! The programs print what their README shows.

use std::process::Command;

#[test]
fn the_demo_prints_what_its_readme_shows() {
    let path = std::env::temp_dir().join(format!("pmemset-readme-{}", std::process::id()));
    let run = |verb: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_demo")).arg(verb).arg(&path).arg("7").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let printed = run("store") + &run("verify");
    std::fs::remove_file(&path).unwrap();
    testkit::readme::check(include_str!("../README.md"), "demo store FILE 7; demo verify FILE 7", &printed).unwrap();
}
