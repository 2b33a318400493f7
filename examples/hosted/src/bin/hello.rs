//! The example on the project's front page.
#![allow(clippy::std_instead_of_core, reason = "as a newcomer writes it")]

use pmemset_linux::{Config, FileSource, Granularity, Linux, MapConfig, OpenOptions, Set};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let source = FileSource::open("records.bin", OpenOptions::new().create_if_needed())?;
    let set = Set::with_capacity(Linux::new(), Config::new(Granularity::Page), 16); // room for 16 segments

    let part = set.map(&source, &MapConfig::new().length(64 << 10))?; // the file grows; mapped while `part` lives
    part.write(0, b"remember me")?; // durable when it returns

    set.remove(part)?; // deep-flushed, then unmapped
    Ok(())
}
