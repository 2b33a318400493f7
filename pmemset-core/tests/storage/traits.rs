//! What the traits of flash memory and of streams promise, one rule each.

use embedded_io::{Error as _, ErrorKind, Read, ReadExactError, Seek, SeekFrom, Write};
use embedded_storage::nor_flash::{NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};
use embedded_storage::{ReadStorage, Storage};
use pmemset_core::error::{CursorError, FlashError, PersistError};
use pmemset_core::sim::{Call, Fault, Hardware, Machine, Medium};
use pmemset_core::{Cursor, Flash};
use zerocopy::byteorder::little_endian::U32;

use super::{PAGE_BYTES, SimFlash, with_flash, with_part};

fn machine() -> Machine {
    let machine = Machine::new(Hardware::new().page_bytes(PAGE_BYTES).address_space_bytes(16 * PAGE_BYTES));
    let _ = machine.add_source(Medium::new(3 * PAGE_BYTES as u64));
    machine
}

fn bytes_of<const N: usize>(flash: &mut SimFlash<'_>, offset: u32) -> [u8; N] {
    let mut bytes = [0; N];
    ReadNorFlash::read(flash, offset, &mut bytes).unwrap();
    bytes
}

#[test]
fn flash_clears_bits_and_erasing_sets_them() {
    with_flash(&machine(), |mut flash| {
        NorFlash::erase(&mut flash, 0, 512).unwrap();
        assert_eq!(bytes_of::<2>(&mut flash, 511), [0xff, 0]);
        NorFlash::write(&mut flash, 60, &[0xf0; 12]).unwrap();
        NorFlash::write(&mut flash, 64, &[0x3c; 4]).unwrap();
        assert_eq!(
            bytes_of::<12>(&mut flash, 58),
            [0xff, 0xff, 0xf0, 0xf0, 0xf0, 0xf0, 0x30, 0x30, 0x30, 0x30, 0xf0, 0xf0]
        );
        let long: Vec<u8> = (0..=255).collect();
        NorFlash::write(&mut flash, 256, &long).unwrap();
        assert_eq!(bytes_of::<256>(&mut flash, 256).as_slice(), long);
        // What is written as storage sets bits, too.
        Storage::write(&mut flash, 63, &[0xff; 3]).unwrap();
        assert_eq!(bytes_of::<4>(&mut flash, 62), [0xf0, 0xff, 0xff, 0xff]);
    });
}

#[test]
fn flash_is_whole_pages_within_the_part() {
    with_part(&machine(), |part| {
        let flash: Flash<_, 4, 512> = Flash::new(part).unwrap();
        assert_eq!((ReadNorFlash::capacity(&flash), ReadStorage::capacity(&flash)), (512, 512));
        let mut flash: SimFlash<'_> = Flash::new(flash.into_part()).unwrap();
        assert_eq!(ReadNorFlash::capacity(&flash), 768);
        let kind = |result: Result<(), FlashError>| result.unwrap_err().kind();
        let (out, not_aligned) = (NorFlashErrorKind::OutOfBounds, NorFlashErrorKind::NotAligned);
        assert_eq!(kind(NorFlash::erase(&mut flash, 512, 1024)), out);
        assert_eq!(kind(NorFlash::erase(&mut flash, 512, 256)), out);
        assert_eq!(kind(NorFlash::erase(&mut flash, 128, 256)), not_aligned);
        assert_eq!(kind(NorFlash::write(&mut flash, 764, &[1; 8])), out);
        assert_eq!(kind(NorFlash::write(&mut flash, 2, &[1; 4])), not_aligned);
        assert_eq!(kind(NorFlash::write(&mut flash, 4, &[1; 2])), not_aligned);
        assert_eq!(kind(Storage::write(&mut flash, 767, &[1; 2])), out);
        assert_eq!(kind(ReadNorFlash::read(&mut flash, u32::MAX, &mut [1; 2])), out);
        assert_eq!(bytes_of::<768>(&mut flash, 0), [0; 768], "nothing was stored");
        NorFlash::write(&mut flash, 768, &[]).unwrap();
    });
}

#[test]
fn flash_that_begins_within_a_word_is_refused() {
    with_part(&machine(), |part| {
        let set = *part.set();
        let pin = |offset: usize| set.pin(part.extent().slice(offset, 256).unwrap()).unwrap();
        assert_eq!(SimFlash::new(pin(2)).err(), Some(FlashError::NotAligned));
        assert!(SimFlash::new(pin(4)).is_ok());
    });
}

#[test]
fn failures_of_the_part_are_told() {
    let machine = Machine::new(Hardware::new().page_bytes(PAGE_BYTES).address_space_bytes(16 * PAGE_BYTES));
    let _ = machine.add_source(Medium::new(PAGE_BYTES as u64).granularity(pmemset_core::Granularity::Page));
    with_flash(&machine, |mut flash| {
        machine.fail(Fault::nth(0).only(Call::Sync));
        let error = NorFlash::write(&mut flash, 0, &[0; 4]).unwrap_err();
        assert!(matches!(error, FlashError::Persist(PersistError::Sync { .. })), "{error}");
        assert_eq!(error.kind(), NorFlashErrorKind::Other);
        machine.repair();
        let mut cursor = Cursor::new(flash.into_part());
        let error = cursor.write(&[0]).unwrap_err();
        assert!(matches!(error, CursorError::Persist(PersistError::FailedBefore { .. })), "{error}");
    });
}

#[test]
fn cursor_ends_with_the_part() {
    with_part(&machine(), |part| {
        let mut cursor = Cursor::new(part);
        assert_eq!(cursor.seek(SeekFrom::End(-2)), Ok(766));
        assert_eq!(cursor.write(b"abc"), Ok(2));
        assert_eq!((cursor.write(b""), cursor.write(b"c")), (Ok(0), Err(CursorError::Full)));
        assert_eq!(CursorError::Full.kind(), ErrorKind::WriteZero);
        assert_eq!(cursor.seek(SeekFrom::Current(-767)), Ok(1));
        assert_eq!(cursor.seek(SeekFrom::Current(-2)), Err(CursorError::BeforeStart));
        assert_eq!(cursor.stream_position(), Ok(1), "it stays");
        cursor.seek(SeekFrom::Start(765)).unwrap();
        let mut bytes = [9; 4];
        assert_eq!(cursor.read(&mut bytes), Ok(3));
        assert_eq!((bytes, cursor.read(&mut bytes)), (*b"\0ab\x09", Ok(0)));
        cursor.seek(SeekFrom::Start(u64::MAX)).unwrap();
        assert_eq!(cursor.read_exact(&mut bytes), Err(ReadExactError::UnexpectedEof));
        assert_eq!(cursor.seek(SeekFrom::Current(1)), Err(CursorError::BeforeStart));
        cursor.flush().unwrap();
    });
}

#[test]
fn values_are_stored_anywhere_in_the_part() {
    with_part(&machine(), |mut part| {
        part.write_as(3, &0x1234_5678_9abc_u64).unwrap();
        part.write_as(11, &[7_u32, 8][..]).unwrap();
        assert_eq!((part.read_as(3), part.read_as(11)), (Ok(0x1234_5678_9abc_u64), Ok([7_u32, 8])));
        assert_eq!(part.read_as(768), Ok(()), "nothing, at the end");
        let over = part.read_as::<u32>(765);
        assert!(matches!(over, Err(PersistError::NotMapped { .. })), "{over:?}");
        assert!(part.write_as(765, &1_u32).is_err());
        // SAFETY: nobody else uses the part.
        unsafe { part.as_mut_typed::<U32>(11) }.unwrap().set(9);
        // SAFETY: as above.
        assert_eq!(unsafe { part.as_typed::<[U32; 2]>(11) }.unwrap().map(U32::get), [9, 8]);
        // SAFETY: as above.
        assert!(unsafe { part.as_typed::<U32>(766) }.is_err());
    });
}
