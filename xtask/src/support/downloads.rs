//! Debian packages that are downloaded and unpacked without being installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::packages::{self, Mirror};
use crate::support::processes::{output_of, root};

/// Where everything is kept that virtual machines are made of.
pub(crate) fn home() -> PathBuf {
    root().join("target/lab")
}

/// A set of package lists: the machine's own, or those of its backports.
pub(crate) struct Packages {
    options: Vec<String>,
}

impl Packages {
    /// Returns the package lists that apt has already.
    pub(crate) fn own() -> Self {
        Self { options: Vec::new() }
    }

    /// Returns the backports of this Debian release, from the mirror that apt already uses, in folders of their own.
    ///
    /// # Errors
    ///
    /// That there is no apt, no mirror or no network.
    pub(crate) fn backports() -> Result<Self, String> {
        let Mirror { site, codename } = packages::mirror()?;
        let folder = home().join("backports");
        fs::create_dir_all(folder.join("lists/partial")).map_err(|error| error.to_string())?;
        fs::create_dir_all(folder.join("cache/archives/partial")).map_err(|error| error.to_string())?;
        let sources = folder.join("sources.list");
        fs::write(&sources, format!("deb {site} {codename}-backports main\n")).map_err(|error| error.to_string())?;
        let options = [
            format!("Dir::Etc::SourceList={}", sources.display()),
            "Dir::Etc::SourceParts=/dev/null".into(),
            format!("Dir::State::Lists={}", folder.join("lists").display()),
            format!("Dir::Cache={}", folder.join("cache").display()),
        ];
        let packages = Self { options: options.into_iter().flat_map(|option| ["-o".into(), option]).collect() };
        packages.run("apt-get", &["-qq", "update"], &folder)?;
        Ok(packages)
    }

    /// Returns the packages that `package` depends on, in its newest version here.
    pub(crate) fn dependencies(&self, package: &str) -> Result<Vec<String>, String> {
        let text = self.run("apt-cache", &["depends", package], &home())?;
        Ok(text.lines().filter_map(|line| Some(line.trim().strip_prefix("Depends: ")?.to_owned())).collect())
    }

    fn run(&self, program: &str, arguments: &[&str], folder: &Path) -> Result<String, String> {
        let output = Command::new(program).args(&self.options).args(arguments).current_dir(folder).output();
        let output = output.map_err(|error| format!("{program}: {error}"))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(format!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
    }
}

/// Downloads packages and unpacks them into `folder`, without installing them.
///
/// # Errors
///
/// What apt or dpkg said.
pub(crate) fn unpack(packages: &Packages, names: &[String], folder: &Path) -> Result<(), String> {
    let download = folder.with_extension("deb");
    for path in [folder, &download] {
        let _ = fs::remove_dir_all(path);
        fs::create_dir_all(path).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let mut arguments = vec!["-qq", "download"];
    arguments.extend(names.iter().map(String::as_str));
    packages.run("apt-get", &arguments, &download)?;
    for entry in fs::read_dir(&download).map_err(|error| error.to_string())?.flatten() {
        output_of("dpkg", &[Path::new("-x"), &entry.path(), folder])?;
    }
    fs::remove_dir_all(&download).map_err(|error| error.to_string())
}
