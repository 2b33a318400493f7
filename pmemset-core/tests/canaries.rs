//! Programs with one flush, fence or order too few: the simulator finds every one, and accepts them when they are
//! right.
#![allow(unsafe_code, reason = "stores to simulated memory")]

use pmemset_core::arch::StoreKind;
use pmemset_core::sim::{Call, Explore, Explored, Failure, Fault, Hardware, Machine, Medium, SimPlatform, SimSource};
use pmemset_core::{BadBlocks, Extent, Granularity, Health as _, Platform, Source, Span};

const PAGE_BYTES: usize = 256;

/// One mapped page and what the programs below do with it.
struct Page {
    platform: SimPlatform,
    source: SimSource,
    window: Extent,
}

impl Page {
    fn new(machine: &Machine, granularity: Granularity) -> Self {
        let source = machine.add_source(Medium::new(PAGE_BYTES as u64).granularity(granularity));
        let platform = machine.platform();
        let window = platform.reserve(PAGE_BYTES, PAGE_BYTES).unwrap();
        // SAFETY: reserved just now.
        unsafe { source.map(window, 0) }.unwrap();
        machine.settle();
        Self { platform, source, window }
    }

    fn store(&self, word: usize, value: u64) {
        let at = core::ptr::with_exposed_provenance_mut::<u64>(self.window.start());
        // SAFETY: the page is mapped, and no test stores past its 32 words.
        let at = unsafe { at.add(word) };
        // SAFETY: as above.
        unsafe { at.write_volatile(value) }
    }

    fn flush(&self, word: usize, words: usize) {
        let range = self.window.slice(word * 8, words * 8).unwrap();
        // SAFETY: the page is mapped.
        unsafe { self.platform.write_back(range) }
    }

    fn persist(&self, word: usize, words: usize) {
        self.flush(word, words);
        self.platform.fence();
    }

    fn stream(&self, word: usize, words: &[u64]) {
        let dest = core::ptr::with_exposed_provenance_mut::<u8>(self.window.start() + word * 8);
        // SAFETY: the words are in the mapped page.
        unsafe { self.platform.copy(dest, words.as_ptr().cast(), words.len() * 8, StoreKind::Streaming) }
    }
}

/// Words 0 and 8 (on two lines) are a record, word 16 is its mark.
fn marked_record_is_whole(machine: &Machine) -> Result<(), String> {
    let words = machine.source(0).words(0, 17);
    match (words[0], words[8], words[16]) {
        (1, 2, 1) => Ok(()),
        (_, _, 0) if machine.acknowledged() == 0 => Ok(()),
        (first, second, mark) => Err(format!("mark {mark}, record {first} {second}, told {}", machine.acknowledged())),
    }
}

fn explore(granularity: Granularity, work: impl Fn(&Page)) -> Result<Explored, Failure> {
    let explore = Explore::new(Hardware::new().page_bytes(PAGE_BYTES));
    let work = |machine: &Machine| {
        work(&Page::new(machine, granularity));
        machine.acknowledge(1);
    };
    let outcome = explore.run(work, marked_record_is_whole);
    if let Err(failure) = &outcome {
        let replay = failure.replay.to_string().parse().unwrap();
        assert_eq!(explore.replay(&replay, work, marked_record_is_whole).as_ref(), Err(&failure.message));
    }
    outcome
}

fn record(page: &Page) {
    page.store(0, 1);
    page.store(8, 2);
}

#[test]
fn right_program_is_accepted() {
    let outcome = explore(Granularity::CacheLine, |page| {
        record(page);
        page.persist(0, 9);
        page.store(16, 1);
        page.persist(16, 1);
    });
    // The record is read where the mark is, and not before the mark is sure to be there.
    let explored = outcome.unwrap();
    assert!(explored.is_complete() && explored.unordered.is_empty() && explored.hints.is_empty(), "{explored}");
}

#[test]
fn missing_flush_is_found() {
    let failure = explore(Granularity::CacheLine, |page| {
        record(page);
        page.persist(0, 1);
        page.store(16, 1);
        page.persist(16, 1);
    })
    .unwrap_err();
    assert_eq!(failure.lost().iter().map(|unit| unit.offset).collect::<Vec<_>>(), [64]);
    let text = failure.to_string();
    assert!(
        text.contains("at 0x40")
            && text.contains("not written back since")
            && text.contains(&failure.replay.to_string()),
        "{text}"
    );
}

#[test]
fn missing_fence_is_found() {
    let failure = explore(Granularity::CacheLine, |page| {
        record(page);
        page.flush(0, 9);
        page.store(16, 1);
        page.persist(16, 1);
    });
    assert_eq!(failure.unwrap_err().call(), Call::WriteBack);
    let last = explore(Granularity::CacheLine, |page| {
        record(page);
        page.persist(0, 9);
        page.store(16, 1);
        page.flush(16, 1);
    });
    assert_eq!(last.unwrap_err().call(), Call::End);
}

#[test]
fn flush_before_the_store_is_found() {
    let failure = explore(Granularity::CacheLine, |page| {
        page.store(0, 1);
        page.flush(0, 9);
        page.store(8, 2);
        page.platform.fence();
        page.store(16, 1);
        page.persist(16, 1);
    });
    assert_eq!(failure.unwrap_err().lost()[0].offset, 64);
}

#[test]
fn mark_persisted_together_with_its_data_is_found() {
    explore(Granularity::CacheLine, |page| {
        record(page);
        page.store(16, 1);
        page.persist(0, 17);
    })
    .unwrap_err();
    // On one line, too: the order of stores between two steps is the compiler's.
    let one_line = Explore::new(Hardware::new().page_bytes(PAGE_BYTES)).run(
        |machine| {
            let page = Page::new(machine, Granularity::CacheLine);
            page.store(0, 42);
            page.store(1, 1);
            page.persist(0, 2);
        },
        |machine| match machine.source(0).words(0, 2)[..] {
            [42, 1] | [_, 0] => Ok(()),
            ref words => Err(format!("{words:?}")),
        },
    );
    assert_eq!(one_line.unwrap_err().message, "[0, 1]");
}

#[test]
fn torn_16_byte_value_is_found_and_8_bytes_never_tear() {
    let half = |words: &[u64]| (words[0] ^ words[1]) != 0;
    let run = |check: &dyn Fn(&[u64]) -> bool| {
        Explore::new(Hardware::new().page_bytes(PAGE_BYTES)).run(
            |machine| {
                let page = Page::new(machine, Granularity::CacheLine);
                page.stream(0, &[u64::MAX, u64::MAX]);
                page.platform.fence();
            },
            |machine| {
                let words = machine.source(0).words(0, 2);
                if check(&words) { Err(format!("torn: {words:x?}")) } else { Ok(()) }
            },
        )
    };
    run(&half).unwrap_err();
    let torn_word = |words: &[u64]| words.iter().any(|word| *word != 0 && *word != u64::MAX);
    assert_eq!(run(&torn_word).unwrap().ways, 4 + 1 + 1);
}

#[test]
fn stores_around_the_cache_need_their_fence() {
    let right = explore(Granularity::CacheLine, |page| {
        page.stream(0, &[1]);
        page.stream(8, &[2]);
        page.platform.fence();
        page.stream(16, &[1]);
        page.platform.fence();
    });
    right.unwrap().assert_complete();
    let wrong = explore(Granularity::CacheLine, |page| {
        page.stream(0, &[1]);
        page.stream(8, &[2]);
        page.stream(16, &[1]);
        page.platform.fence();
    });
    wrong.unwrap_err();
    let beside = explore(Granularity::CacheLine, |page| {
        page.store(8, 2);
        page.stream(9, &[7]);
        page.stream(0, &[1]);
        page.platform.fence();
        page.stream(16, &[1]);
        page.platform.fence();
    });
    assert_eq!(beside.unwrap_err().lost()[0].offset, 64, "an ordinary store is not flushed by a streamed neighbour");
}

#[test]
fn pages_need_sync_and_nothing_else_will_do() {
    let sync = |page: &Page| page.source.sync(page.window, 0).unwrap();
    let right = explore(Granularity::Page, |page| {
        record(page);
        sync(page);
        page.store(16, 1);
        sync(page);
    });
    right.unwrap().assert_complete();
    let flushed = explore(Granularity::Page, |page| {
        record(page);
        page.persist(0, 9);
        page.store(16, 1);
        page.persist(16, 1);
    });
    flushed.unwrap_err();
}

#[test]
fn caches_in_the_power_fail_domain_need_the_fence_alone() {
    let right = explore(Granularity::Byte, |page| {
        record(page);
        page.platform.fence();
        page.store(16, 1);
        page.platform.fence();
    });
    right.unwrap().assert_complete();
    let wrong = explore(Granularity::Byte, |page| {
        record(page);
        page.store(16, 1);
        page.platform.fence();
    });
    wrong.unwrap_err();
}

#[test]
fn stores_of_one_line_on_two_sides_of_a_step_keep_their_order() {
    let outcome = Explore::new(Hardware::new().page_bytes(PAGE_BYTES)).run(
        |machine| {
            let page = Page::new(machine, Granularity::CacheLine);
            page.store(0, 42);
            page.platform.fence();
            page.store(1, 1);
            page.persist(0, 2);
        },
        |machine| match machine.source(0).words(0, 2)[..] {
            [42, 1] | [_, 0] => Ok(()),
            ref words => Err(format!("{words:?}")),
        },
    );
    assert_eq!(outcome.unwrap().ways, 2 + 3 + 1);
}

#[test]
fn streamed_stores_of_one_line_need_a_fence_to_keep_their_order() {
    let explore = |fence: bool| {
        Explore::new(Hardware::new().page_bytes(PAGE_BYTES)).run(
            |machine| {
                let page = Page::new(machine, Granularity::CacheLine);
                page.stream(0, &[42]);
                if fence {
                    page.platform.fence();
                }
                page.stream(1, &[1]);
                page.platform.fence();
            },
            |machine| match machine.source(0).words(0, 2)[..] {
                [42, 1] | [_, 0] => Ok(()),
                ref words => Err(format!("{words:?}")),
            },
        )
    };
    explore(true).unwrap().assert_complete();
    assert_eq!(explore(false).unwrap_err().message, "[0, 1]");
}

#[test]
fn failed_sync_loses_what_was_dirty_and_the_next_one_says_nothing() {
    let explore = |stored_again: bool| {
        Explore::new(Hardware::new().page_bytes(PAGE_BYTES)).run(
            |machine| {
                let page = Page::new(machine, Granularity::Page);
                page.store(0, 1);
                page.store(8, 2);
                machine.fail(Fault::nth(0).only(Call::Sync));
                page.source.sync(page.window, 0).unwrap_err();
                if stored_again {
                    page.store(24, 9); // the whole page is dirty again
                }
                page.source.sync(page.window, 0).unwrap();
                page.store(16, 1);
                page.source.sync(page.window, 0).unwrap();
                machine.acknowledge(1);
            },
            |machine| match machine.source(0).words(0, 17)[..] {
                ref words if machine.acknowledged() == 1 && (words[0], words[8]) != (1, 2) => Err("lost".to_owned()),
                ref words if words[16] == 1 && words[0] == 0 => Err("marked, and lost".to_owned()),
                _ => Ok(()),
            },
        )
    };
    assert_eq!(explore(false).unwrap_err().message, "marked, and lost");
    explore(true).unwrap().assert_complete();
}

#[test]
fn failed_sync_loses_dirty_pages_that_it_was_not_asked_for() {
    let outcome = Explore::new(Hardware::new().page_bytes(PAGE_BYTES)).run(
        |machine| {
            let source = machine.add_source(Medium::new(2 * PAGE_BYTES as u64).granularity(Granularity::Page));
            let platform = machine.platform();
            let window = platform.reserve(2 * PAGE_BYTES, PAGE_BYTES).unwrap();
            // SAFETY: reserved just now.
            unsafe { source.map(window, 0) }.unwrap();
            machine.settle();
            let page = Page { platform, source, window };
            page.store(0, 1);
            page.store(PAGE_BYTES / 8, 2);
            let (first, second) = (window.slice(0, PAGE_BYTES).unwrap(), window.slice(PAGE_BYTES, PAGE_BYTES).unwrap());
            machine.fail(Fault::nth(0).only(Call::Sync));
            page.source.sync(first, 0).unwrap_err();
            page.source.sync(second, PAGE_BYTES as u64).unwrap();
            machine.acknowledge(1);
        },
        |machine| match machine.source(0).words(PAGE_BYTES, 1)[0] {
            0 if machine.acknowledged() == 1 => Err("lost".to_owned()),
            _ => Ok(()),
        },
    );
    outcome.unwrap_err();
}

#[test]
fn states_that_differ_in_what_was_kept_alone_are_checked() {
    let outcome = Explore::new(Hardware::new().page_bytes(PAGE_BYTES)).run(
        |machine| {
            let page = Page::new(machine, Granularity::CacheLine);
            page.store(0, 1);
            page.flush(0, 1);
            machine.keep(b"clean");
        },
        |machine| match machine.source(0).words(0, 1)[0] {
            0 if machine.kept() == b"clean" => Err("kept as clean, and lost".to_owned()),
            _ => Ok(()),
        },
    );
    outcome.unwrap_err();
}

#[test]
fn states_that_differ_in_bad_blocks_alone_are_checked() {
    let outcome = Explore::new(Hardware::new().page_bytes(PAGE_BYTES)).run(
        |machine| {
            let page = Page::new(machine, Granularity::CacheLine);
            page.platform.fence();
            page.source.damage(Span::new(0, 64).unwrap());
        },
        |machine| {
            let (all, mut blocks) = (Span::new(0, PAGE_BYTES as u64).unwrap(), [Span::new(0, 1).unwrap(); 2]);
            match machine.source(0).bad_blocks(all, &mut blocks) {
                BadBlocks::None => Ok(()),
                bad => Err(format!("{bad:?}")),
            }
        },
    );
    outcome.unwrap_err();
}

#[test]
fn cut_during_recovery_is_explored() {
    // The work sets a flag; recovery clears two words in the wrong order, which only a cut inside of it shows.
    let explore = |fixed: bool, depth| {
        Explore::new(Hardware::new().page_bytes(PAGE_BYTES)).depth(depth).run(
            |machine| {
                let page = Page::new(machine, Granularity::CacheLine);
                page.store(0, 5);
                page.persist(0, 1);
                page.store(8, 1);
                page.persist(8, 1);
            },
            move |machine| {
                let platform = machine.platform();
                let source = machine.source(0);
                let words = source.words(0, 9);
                if words[8] == 1 && words[0] != 5 {
                    return Err("flag without value".to_owned());
                }
                let window = platform.reserve(PAGE_BYTES, PAGE_BYTES).unwrap();
                // SAFETY: reserved just now.
                unsafe { source.map(window, 0) }.unwrap();
                let page = Page { platform, source, window };
                for word in if fixed { [8, 0] } else { [0, 8] } {
                    page.store(word, 0);
                    page.persist(word, 1);
                }
                Ok(())
            },
        )
    };
    explore(true, 2).unwrap().assert_complete();
    explore(false, 0).unwrap().assert_complete();
    assert_eq!(explore(false, 1).unwrap_err().message, "flag without value");
}

#[test]
fn what_is_not_read_is_not_decided() {
    let run = |words: usize| {
        Explore::new(Hardware::new()).runs_max(300).run(
            |machine| {
                let source = machine.add_source(Medium::new(4096));
                let platform = machine.platform();
                let window = platform.reserve(4096, 4096).unwrap();
                // SAFETY: reserved just now.
                unsafe { source.map(window, 0) }.unwrap();
                let page = Page { platform, source, window };
                machine.settle();
                (0..32).for_each(|line| page.store(line * 8, 1));
                page.persist(0, 256);
            },
            |machine| match machine.source(0).words(0, words).iter().sum::<u64>() {
                lines if lines <= words.div_ceil(8) as u64 => Ok(()),
                lines => Err(format!("{lines} lines")),
            },
        )
    };
    let few = run(25).unwrap();
    assert!(few.is_complete() && few.runs == 16 && few.branches_max == 4, "{few}");
    let many = run(256).unwrap();
    assert!(!many.is_complete() && many.runs <= 300 && many.to_string().contains("NOT COMPLETE"), "{many}");
}
