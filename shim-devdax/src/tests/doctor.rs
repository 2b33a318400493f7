//! What the doctor says of machines that are described by trees, and of paths of this one.

use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;
use std::string::{String, ToString as _};
use std::vec::Vec;
use std::{env, format, fs, println};

use pmemset_core::{Granularity, Platform as _};
use pmemset_linux::Linux;
use pmemset_linux::internal::doctor::Machine;
use testkit::machines::{ALL, machine, parse_json};
use testkit::sysfs::Folder;

use crate::doctor::{self, Kind, Report, Severity, Subject, Value};

fn description(name: &str) -> &'static str {
    ALL.iter().find(|described| described.name == name).unwrap().description
}

fn examined(description: &str) -> Report {
    let folder = Folder::new();
    doctor::examine_all_of(&machine(&folder, description))
}

/// The text, as it is on a processor with `clwb`.
fn text(report: &Report) -> String {
    format!("{report}\n").replace(&format!(" {}\n", Linux.cpu().method()), " clwb\n")
}

fn report_of(machine: &Machine) -> String {
    text(&doctor::examine_all_of(machine))
}

fn subject<'r>(report: &'r Report, name: &str) -> &'r Subject {
    report.subjects.iter().find(|subject| subject.name == name).unwrap_or_else(|| panic!("{name} in {report}"))
}

/// To renew the texts after a change that is meant: `PMEMSET_WRITE_EXPECTED=1 cargo test -p pmemset-devdax doctor`.
#[test]
fn every_machine_has_its_text() {
    let mut wrong = 0;
    for described in ALL {
        let found = text(&examined(described.description));
        if env::var_os("PMEMSET_WRITE_EXPECTED").is_some() {
            fs::write(described.expected, &found).unwrap();
        }
        if fs::read_to_string(described.expected).unwrap_or_default() != found {
            wrong += 1;
            println!("{}:\n{found}", described.name);
        }
    }
    assert_eq!(wrong, 0, "texts that differ from those in xtask/testkit/machines");
}

/// Programs read the same that people do.
#[test]
fn json_says_what_the_text_says() {
    for described in ALL {
        let report = examined(described.description);
        let json = parse_json(&report.to_json());
        assert_eq!(json["good"].get::<bool>(), Some(&report.is_good()), "{}", described.name);
        let subjects: &Vec<_> = json["subjects"].get().unwrap();
        assert_eq!(subjects.len(), report.subjects.len());
        for (subject, said) in report.subjects.iter().zip(subjects) {
            assert_eq!(said["name"].get(), Some(&subject.name));
            assert_eq!(said["kind"].get(), Some(&subject.kind.to_string()));
            match &subject.verdict {
                None => assert!(said["verdict"].is_null()),
                Some(verdict) => {
                    assert_eq!(said["verdict"]["why"].get(), Some(&verdict.why));
                    let granularity = verdict.granularity.map(|granularity| granularity.to_string());
                    assert_eq!(said["verdict"]["granularity"].get(), granularity.as_ref());
                }
            }
            for fact in &subject.facts {
                let value = &said["facts"][fact.name.replace(' ', "_").as_str()];
                match &fact.value {
                    Value::Text(text) => assert_eq!(value.get(), Some(text)),
                    #[allow(clippy::cast_precision_loss, reason = "the numbers of these machines are small")]
                    Value::Bytes(number) | Value::Count(number) => assert_eq!(value.get(), Some(&(*number as f64))),
                    Value::Flag(flag) => assert_eq!(value.get(), Some(flag)),
                    Value::Unknown(why) => assert_eq!(value["unknown"].get(), Some(why)),
                    other => panic!("{other:?}"),
                }
            }
            let findings: &Vec<_> = said["findings"].get().unwrap();
            assert_eq!(findings.len(), subject.findings.len());
            for (finding, said) in subject.findings.iter().zip(findings) {
                assert_eq!(said["what"].get(), Some(&finding.what));
                assert_eq!(said["mend"].get(), finding.mend.as_ref());
                assert_eq!(said["severity"].get(), Some(&finding.severity.to_string()));
            }
        }
    }
}

/// Names come from whoever made the file: neither form is broken by them, and no escape sequence reaches a terminal.
#[test]
fn names_cannot_forge_a_report() {
    let mut report = Report::default();
    report.push(Subject::new(Kind::File, "a\"\\\n\u{1b}[2J\u{7f}é"));
    assert_eq!(parse_json(&report.to_json())["subjects"][0]["name"].get(), Some(&report.subjects[0].name));
    assert_eq!(report.to_string(), "file a\"\\\\n\\u{1b}[2J\\u{7f}é");
}

/// A machine is bad only where something is lost or refused, not where it could be faster.
#[test]
fn hints_leave_a_machine_good() {
    let bad: Vec<&str> = ALL.iter().filter(|one| !examined(one.description).is_good()).map(|one| one.name).collect();
    assert_eq!(bad, ["bad-blocks", "container", "dirty", "raw", "read-only"]);
}

/// What the doctor says of a device is what a set gets that opens it.
#[test]
fn a_device_gets_what_its_source_gets() {
    let folder = Folder::new();
    let machine = machine(&folder, description("cxl"));
    let report = doctor::examine_all_of(&machine);
    let said = subject(&report, "/dev/dax0.0").verdict.clone().unwrap();
    let (_, durability) =
        crate::open::judged(machine.sysfs().unwrap(), rustix::fs::makedev(252, 0), Linux.cpu()).unwrap();
    assert_eq!((said.granularity, said.why), (Some(durability.granularity()), durability.to_string()));
}

/// A refusal that somebody asked about is an error; one that stands in a list is not.
#[test]
fn a_refused_device_that_was_asked_about_is_an_error() {
    // Any character device of this machine will do: the tree says that it is a device DAX.
    let null = Path::new("/dev/null");
    let description = description("hmem").replace("252:0", "1:3");
    let folder = Folder::new();
    let machine = machine(&folder, &description);
    assert_eq!(fs::metadata(null).unwrap().rdev(), rustix::fs::makedev(1, 3));
    let report = doctor::examine_of(&machine, null);
    let device = subject(&report, "/dev/dax1.0");
    assert_eq!(device.verdict.as_ref().unwrap().granularity, None);
    assert!(device.findings.iter().any(|finding| finding.severity == Severity::Error), "{report}");
    assert!(doctor::examine_all_of(&machine).is_good());
    // The same device on no such bus is opened by nobody.
    let report = doctor::examine(null);
    assert_eq!(subject(&report, "/dev/null").kind, Kind::Other);
    assert!(!report.is_good() && report.to_string().contains("this is a character device"), "{report}");
}

#[test]
fn what_is_not_there_is_an_error() {
    for (path, why) in [("/no/such/file", "no such file"), ("/dev/null/x", "not a directory"), ("a\0b", "")] {
        let report = doctor::examine(path.as_ref());
        assert!(!report.is_good() && report.to_string().contains(why), "{report}");
    }
}

/// Looking changes nothing: not the folder, and of a file not even the times.
#[test]
fn looking_changes_nothing() {
    let folder = Folder::new();
    folder.file("file", "0123");
    symlink("file", folder.at("link")).unwrap();
    let state = |path: &Path| {
        let found = fs::metadata(path).unwrap();
        (
            found.len(),
            found.mtime(),
            found.mtime_nsec(),
            found.ctime(),
            found.ctime_nsec(),
            found.mode(),
            found.blocks(),
        )
    };
    let names = || fs::read_dir(folder.path()).unwrap().count();
    let (file, directory) = (folder.at("file"), folder.path());
    let before = (state(&file), state(directory), names());
    let (of_file, of_link) = (doctor::examine(&file), doctor::examine(&folder.at("link")));
    let of_directory = doctor::examine(directory);
    assert_eq!((state(&file), state(directory), names()), before);
    assert_eq!(fs::read(&file).unwrap(), b"0123");
    for (report, path) in [(&of_file, &file), (&of_link, &folder.at("link"))] {
        let file = subject(report, path.to_str().unwrap());
        assert_eq!((file.kind, file.fact("length")), (Kind::File, Some(&Value::Bytes(4))));
        assert!(file.verdict.as_ref().unwrap().granularity.is_some());
    }
    let mount = subject(&of_directory, directory.to_str().unwrap());
    assert_eq!(mount.kind, Kind::Mount);
    // As a source there says.
    let source = crate::FileSource::temporary(directory).unwrap().facts().unwrap().granularity.unwrap();
    let verdict = mount.verdict.as_ref().unwrap();
    assert_eq!((verdict.granularity, verdict.why.as_str()), (Some(source.granularity()), source.to_string().as_str()));
    assert!(verdict.granularity != Some(Granularity::Page) || mount.fact("MAP_SYNC") == Some(&Value::Flag(false)));
}

/// Whatever an attribute turns out to be: a folder, a pipe that nobody writes to, endless or garbage.
#[test]
fn broken_attributes_break_nothing() {
    for described in ALL {
        let folder = Folder::new();
        let machine = machine(&folder, described.description);
        let paths = attributes(described.description);
        for (index, path) in paths.iter().enumerate() {
            let at = folder.at(path);
            let Ok(text) = fs::read(&at) else { continue };
            fs::remove_file(&at).unwrap();
            match index % 5 {
                0 => fs::create_dir(&at).unwrap(),
                1 => rustix::fs::mknodat(rustix::fs::CWD, &at, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap(),
                2 => symlink("/dev/zero", &at).unwrap(),
                3 => fs::write(&at, "18446744073709551616\n").unwrap(),
                _ => {}
            }
            let report = doctor::examine_all_of(&machine);
            parse_json(&report.to_json());
            assert!(report.to_string().starts_with("this machine"), "{path}: {report}");
            let _ = fs::remove_file(&at).or_else(|_| fs::remove_dir(&at));
            fs::write(&at, text).unwrap();
        }
        assert_eq!(report_of(&machine), fs::read_to_string(described.expected).unwrap(), "all is as it was");
    }
}

/// The paths of all attributes in a description.
fn attributes(description: &str) -> Vec<String> {
    let mut section = String::new();
    let mut paths = Vec::new();
    for line in description.lines() {
        if let Some((path, _)) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            section = format!("sys/{path}/");
        } else if let Some((name, _)) = line.split_once(" =") {
            paths.push(format!("{section}{name}"));
        }
    }
    paths
}
