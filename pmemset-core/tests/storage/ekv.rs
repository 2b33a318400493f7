//! The database `ekv`, whose pages are those of a part.
//!
//! Explored is a stretch of transactions whose page of metadata does not fill up. Version 1.0.0 marks a new one before
//! there is anything in it, and a power cut in between leaves an empty database: the exploration finds that as well,
//! and no flash memory could mend it.

use ekv::config::{ALIGN, PAGE_SIZE};
use ekv::flash::{Flash, PageID};
use ekv::{Config, Database};
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embedded_storage::nor_flash::{NorFlash, ReadNorFlash};
use pmemset_core::error::FlashError;
use pmemset_core::sim::Machine;

use super::{PAGE_BYTES, SimFlash, explored, now, with_flash};

const PAGES: usize = 16;

/// The database's own trait of flash memory.
///
/// The first word of what it writes comes last: version 1.0.0 calls a page damaged whose mark of a chunk is there and
/// whose checksum, in the next word, is not, though it allows flash to leave that. The exploration has found it.
struct Pages<'s>(SimFlash<'s>);

fn place(page: PageID, offset: usize) -> u32 {
    (page.index() * PAGE_SIZE + offset) as u32
}

impl Flash for Pages<'_> {
    type Error = FlashError;

    fn page_count(&self) -> usize {
        PAGES
    }

    async fn erase(&mut self, page: PageID) -> Result<(), FlashError> {
        NorFlash::erase(&mut self.0, place(page, 0), place(page, PAGE_SIZE))
    }

    async fn read(&mut self, page: PageID, offset: usize, bytes: &mut [u8]) -> Result<(), FlashError> {
        ReadNorFlash::read(&mut self.0, place(page, offset), bytes)
    }

    async fn write(&mut self, page: PageID, offset: usize, bytes: &[u8]) -> Result<(), FlashError> {
        let (mark, rest) = bytes.split_at(bytes.len().min(ALIGN));
        NorFlash::write(&mut self.0, place(page, offset + mark.len()), rest)?;
        NorFlash::write(&mut self.0, place(page, offset), mark)
    }
}

type Records<'s> = Database<Pages<'s>, NoopRawMutex>;

fn open(flash: SimFlash<'_>) -> Records<'_> {
    Database::new(Pages(flash), Config::default())
}

/// Writes `number` at two keys in one transaction.
fn commit(records: &Records<'_>, number: u64) {
    let mut transaction = now(records.write_transaction());
    for key in [b"first", b"other"] {
        now(transaction.write(key, &number.to_le_bytes())).unwrap();
    }
    now(transaction.commit()).unwrap();
}

fn find(records: &Records<'_>, key: &[u8]) -> Result<u64, String> {
    let mut value = [0; 8];
    let transaction = now(records.read_transaction());
    let length = now(transaction.read(key, &mut value)).map_err(|error| format!("{error:?}"))?;
    if length == 8 { Ok(u64::from_le_bytes(value)) } else { Err(format!("{length} bytes")) }
}

#[test]
fn database_keeps_what_it_has_told() {
    assert_eq!(PAGE_SIZE, PAGE_BYTES);
    let explored = explored(
        "ekv",
        PAGES,
        |machine: &Machine| {
            with_flash(machine, |flash| {
                let records = open(flash);
                now(records.format()).unwrap();
                now(records.mount()).unwrap();
                (1..4).for_each(|number| commit(&records, number));
                machine.acknowledge(3);
                machine.settle();
                for number in 4..6 {
                    commit(&records, number);
                    machine.acknowledge(number);
                }
            });
        },
        |machine| {
            let told = machine.acknowledged();
            with_flash(machine, |flash| {
                let records = open(flash);
                now(records.mount()).map_err(|error| format!("{error:?}"))?;
                let found = [find(&records, b"first")?, find(&records, b"other")?];
                if found != [told; 2] && found != [told + 1; 2] {
                    return Err(format!("{told} told, {found:?} found"));
                }
                commit(&records, told + 2);
                if find(&records, b"other")? == told + 2 { Ok(()) } else { Err("no store works".into()) }
            })
        },
    );
    explored.unwrap().assert_complete();
}
