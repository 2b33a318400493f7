//! Intersections and lists against a model that has a bit for every unit.

use proptest::prelude::*;

use super::*;
use crate::Errno;
use crate::health::ClearError;

fn span(start: u64, end: u64) -> Span {
    Span::between(start, end).unwrap()
}

#[test]
fn each_reason_not_to_tell_has_the_pages_number() {
    let table = [
        (BadBlocksError::NoRegion, -200_036),
        (BadBlocksError::NoBounds(Errno::ACCES), -200_037),
        (BadBlocksError::Unsupported, -200_038),
        (BadBlocksError::Failed(Errno::IO), -5),
    ];
    for (reason, code) in table {
        assert_eq!(reason.code(), code);
        assert_eq!(ClearError::Unknown(reason).code(), code);
        assert_eq!(crate::error::MapError::BadBlocksUnknown { reason }.code(), code);
    }
    assert_eq!(BadBlocksError::from(Errno::OPNOTSUPP), BadBlocksError::Unsupported);
    assert_eq!(BadBlocksError::from(Errno::IO), BadBlocksError::Failed(Errno::IO));
}

#[test]
fn long_block_over_several_extents() {
    // Block 0..100, extents 10..20, 30..40 and 90..120 of the medium, one behind the other in the source.
    let extents = [(span(10, 20), 0), (span(30, 40), 10), (span(90, 120), 20)];
    let pieces: Vec<_> = extents.iter().filter_map(|(at, logical)| in_extent(span(0, 100), *at, *logical, 1)).collect();
    assert_eq!(pieces, [span(0, 10), span(10, 20), span(20, 30)]);
    assert_eq!(in_extent(span(20, 30), span(10, 20), 0, 1), None);
    assert_eq!(in_extent(span(15, 16), span(10, 20), u64::MAX - 5, 1), None, "does not fit 64 bits");
    assert_eq!(in_extent(span(u64::MAX - 1, u64::MAX), span(0, u64::MAX), 0, 4096), None);
    assert_eq!(in_extent(span(512, 1024), span(0, 1 << 20), 8192, 4096), Some(span(8192, 12288)));
}

#[test]
fn bounds_are_checked_without_wrapping() {
    assert_eq!(check_bounds(4096, 10, 4106), Ok(Some(span(4096, 4106))));
    assert_eq!(check_bounds(4096, 0, 4096), Ok(None));
    let out_of_range = Err(McsafeError::OutOfRange { length_bytes: 4096 });
    assert_eq!(check_bounds(4097, 0, 4096), out_of_range);
    assert_eq!(check_bounds(4096, 1, 4096), out_of_range);
    assert_eq!(check_bounds(u64::MAX, 2, 4096), out_of_range);
    assert_eq!(check_bounds(0, usize::MAX, 4096), out_of_range);
}

fn bits(spans: &[Span]) -> Vec<bool> {
    (0..64).map(|at| spans.iter().any(|span| span.contains(at))).collect()
}

proptest! {
    #[test]
    fn intersection_agrees_with_a_sector_model(
        (b0, bn) in (0..40_u64, 1..40_u64), (e0, en) in (0..40_u64, 1..40_u64), logical in 0..10_u64, shift in 0..4_u32,
    ) {
        let (block, extent, unit) = (span(b0, b0 + bn), span(e0, e0 + en), 1_u64 << shift);
        let mut model = vec![false; 256];
        for sector in e0..e0 + en {
            if block.contains(sector) {
                let at = logical + sector - e0;
                for rounded in at / unit * unit..(at / unit + 1) * unit {
                    model[rounded as usize] = true;
                }
            }
        }
        let found = in_extent(block, extent, logical, unit);
        let listed: Vec<bool> = (0..256).map(|at| found.is_some_and(|found| found.contains(at))).collect();
        prop_assert_eq!(listed, model);
    }

    #[test]
    fn collector_keeps_the_lowest_blocks(
        added in prop::collection::vec((0..60_u64, 1..4_u64), 0..20), room in 0..6_usize,
    ) {
        let spans: Vec<Span> = added.iter().map(|(start, length)| span(*start, start + length)).collect();
        let mut blocks = vec![span(0, 1); room];
        let mut collector = Collector::new(&mut blocks);
        for span in &spans {
            collector.add(*span);
        }
        let (count, more) = match collector.finish() {
            BadBlocks::None => (0, false),
            BadBlocks::Listed { count, more } => (count, more),
            BadBlocks::Unknown(_) => unreachable!(),
        };
        let kept = &blocks[..count];
        prop_assert!(kept.windows(2).all(|pair| pair[0].end() < pair[1].start()), "{:?}", kept);
        let (listed, all) = (bits(kept), bits(&spans));
        if more {
            // Everything below the end of the last one is there, and there is something behind it that is not.
            let end = kept.last().map_or(0, |last| last.end() as usize);
            prop_assert_eq!(&listed[..end], &all[..end]);
            prop_assert!(room == 0 || count > 0);
            prop_assert!(all[end..].contains(&true) || spans.len() > room);
        } else {
            prop_assert_eq!(listed, all);
        }
    }

    #[test]
    fn asking_again_behind_the_last_block_finds_all(
        added in prop::collection::vec((0..60_u64, 1..4_u64), 0..20), room in 1..6_usize,
    ) {
        let spans: Vec<Span> = added.iter().map(|(start, length)| span(*start, start + length)).collect();
        let (mut found, mut rest) = (Vec::new(), Some(span(0, 64)));
        while let Some(asked) = rest {
            let mut blocks = vec![asked; room];
            let mut collector = Collector::new(&mut blocks);
            spans.iter().filter(|span| span.overlaps(asked)).for_each(|span| collector.add(*span));
            let BadBlocks::Listed { count, more } = collector.finish() else { break };
            found.extend_from_slice(&blocks[..count]);
            rest = asked.starting_at(blocks[..count].last().unwrap().end()).filter(|_| more);
        }
        prop_assert_eq!(bits(&found), bits(&spans));
    }
}
