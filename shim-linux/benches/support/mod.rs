//! What the benchmarks share: interleaved samples, medians, the printed forms, libpmem2 as a peer.
#![allow(dead_code, unsafe_code, reason = "each benchmark uses its part; the peer is a C library")]

use core::hint::black_box;
use core::time::Duration;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::time::Instant;

use pmemset_core::{Errno, Granularity, Platform, Set, Source, forward_source};
use pmemset_linux::{FileSource, Linux, Process};

/// How long to measure, and how to print.
#[derive(Clone, Copy)]
pub(crate) struct Options {
    pub(crate) quick: bool,
    pub(crate) json: bool,
}

impl Options {
    /// Reads the program's arguments; cargo adds `--bench`.
    pub(crate) fn from_arguments() -> Self {
        let has = |name: &str| std::env::args().any(|argument| argument == name);
        Self { quick: has("--quick"), json: has("--json") }
    }

    fn rounds(self) -> usize {
        if self.quick { 9 } else { 41 }
    }

    fn sample(self) -> Duration {
        Duration::from_micros(if self.quick { 300 } else { 1000 })
    }
}

/// One of the ways of doing the same thing.
pub(crate) struct Contender<'a> {
    pub(crate) name: &'static str,
    pub(crate) run: Box<dyn FnMut() + 'a>,
}

/// Returns a contender.
pub(crate) fn contender<'a>(name: &'static str, run: impl FnMut() + 'a) -> Contender<'a> {
    Contender { name, run: Box::new(run) }
}

/// Measures all contenders, one sample of each in turn so that a noisy machine disturbs all alike, and prints the
/// medians in nanoseconds per call; the first contender is this library.
pub(crate) fn compare(options: Options, bench: &str, case: &str, n: usize, mut contenders: Vec<Contender<'_>>) {
    let calls: Vec<u32> = contenders.iter_mut().map(|one| calibrate(options, &mut one.run)).collect();
    let mut samples: Vec<Vec<f64>> = contenders.iter().map(|_| Vec::new()).collect();
    for round in 0..options.rounds() {
        let count = contenders.len();
        for index in (0..count).map(|index| (index + round) % count) {
            let index = if round % 2 == 0 { index } else { count - 1 - index };
            let (Some(one), Some(calls)) = (contenders.get_mut(index), calls.get(index)) else { continue };
            let ns = sample(*calls, &mut one.run);
            if let Some(samples) = samples.get_mut(index) {
                samples.push(ns);
            }
        }
    }
    let medians: Vec<(&str, f64)> =
        contenders.iter().zip(&mut samples).map(|(one, samples)| (one.name, median(samples))).collect();
    print(options, bench, case, n, &medians);
}

fn sample(calls: u32, run: &mut dyn FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..calls {
        run();
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(calls)
}

fn calibrate(options: Options, run: &mut dyn FnMut()) -> u32 {
    let mut calls = 1_u32;
    loop {
        let start = Instant::now();
        for _ in 0..calls {
            run();
        }
        if start.elapsed() >= options.sample() || calls >= 1 << 24 {
            return calls;
        }
        calls *= 2;
    }
}

fn median(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN)
}

fn print(options: Options, bench: &str, case: &str, n: usize, medians: &[(&str, f64)]) {
    let Some(((_, ours), peers)) = medians.split_first() else { return };
    if options.json {
        for (peer, peer_ns) in peers {
            println!(
                r#"{{"bench":"{bench}","case":"{case}","n":{n},"ns":{ours:.1},"peer":"{peer}","peer_ns":{peer_ns:.1},"ratio":{:.3}}}"#,
                ours / peer_ns
            );
        }
    } else {
        print!("{case:<8} {n:>8} B {ours:>10.1} ns");
        for (peer, peer_ns) in peers {
            print!("   {peer} {peer_ns:>10.1} ({:.3})", ours / peer_ns);
        }
        println!();
    }
}

type Handle = *mut core::ffi::c_void;

/// A file mapped by Debian's libpmem2, told to treat it as cache-line granularity.
pub(crate) struct Libpmem2 {
    _library: libloading::Library,
    pub(crate) address: *mut u8,
    memcpy: extern "C" fn(*mut u8, *const u8, usize, u32) -> *mut u8,
    persist: extern "C" fn(*const u8, usize),
}

impl Libpmem2 {
    /// Maps `file`; `Err` says what is missing.
    pub(crate) fn map(file: &File) -> Result<Self, String> {
        // SAFETY: the benchmark has one thread.
        unsafe { std::env::set_var("PMEM2_FORCE_GRANULARITY", "CACHE_LINE") };
        // SAFETY: the library's initialiser asks for nothing special.
        let library = unsafe { libloading::Library::new("libpmem2.so.1") }
            .map_err(|error| format!("Debian's package libpmem2 is not installed ({error})"))?;
        let (mut config, mut source, mut map) = (core::ptr::null_mut(), core::ptr::null_mut(), core::ptr::null_mut());
        let steps = [
            Self::call::<unsafe extern "C" fn(*mut Handle) -> i32>(&library, b"pmem2_config_new\0", |f| {
                // SAFETY: as the manual page says.
                unsafe { f(&mut config) }
            }),
            Self::call::<unsafe extern "C" fn(Handle, u32) -> i32>(
                &library,
                b"pmem2_config_set_required_store_granularity\0",
                // SAFETY: as the manual page says; 2 is PAGE, the coarsest that is accepted.
                |f| unsafe { f(config, 2) },
            ),
            Self::call::<unsafe extern "C" fn(*mut Handle, i32) -> i32>(&library, b"pmem2_source_from_fd\0", |f| {
                // SAFETY: as the manual page says.
                unsafe { f(&mut source, file.as_raw_fd()) }
            }),
            Self::call::<unsafe extern "C" fn(*mut Handle, Handle, Handle) -> i32>(
                &library,
                b"pmem2_map_new\0",
                // SAFETY: as the manual page says.
                |f| unsafe { f(&mut map, config, source) },
            ),
        ];
        if let Some(error) = steps.into_iter().find_map(Result::err) {
            return Err(error);
        }
        type Get<T> = unsafe extern "C" fn(Handle) -> T;
        // SAFETY: the type is that of the manual page.
        let address = unsafe { library.get::<Get<*mut u8>>(b"pmem2_map_get_address\0") }.map_err(|e| e.to_string())?;
        // SAFETY: the map is alive.
        let address = unsafe { address(map) };
        // SAFETY: the type is that of the manual page.
        let memcpy = unsafe { library.get::<Get<_>>(b"pmem2_get_memcpy_fn\0") }.map_err(|e| e.to_string())?;
        // SAFETY: the map is alive.
        let memcpy = unsafe { memcpy(map) };
        // SAFETY: the type is that of the manual page.
        let persist = unsafe { library.get::<Get<_>>(b"pmem2_get_persist_fn\0") }.map_err(|e| e.to_string())?;
        // SAFETY: the map is alive.
        let persist = unsafe { persist(map) };
        Ok(Self { _library: library, address, memcpy, persist })
    }

    fn call<F>(library: &libloading::Library, name: &[u8], run: impl FnOnce(&F) -> i32) -> Result<(), String> {
        // SAFETY: the callers give each function the type of its manual page.
        let function = unsafe { library.get::<F>(name) }.map_err(|error| error.to_string())?;
        match run(&function) {
            0 => Ok(()),
            code => Err(format!("{}: {code}", String::from_utf8_lossy(name.trim_ascii_end()))),
        }
    }

    /// Copies with `flags` as in libpmem2.
    pub(crate) fn copy(&self, to: usize, source: *const u8, length_bytes: usize, flags: u32) {
        black_box((self.memcpy)(self.address.wrapping_add(to), source, length_bytes, flags));
    }

    /// Persists a range of the mapping.
    pub(crate) fn persist(&self, at: usize, length_bytes: usize) {
        (self.persist)(self.address.wrapping_add(at), length_bytes);
    }
}

/// A file on tmpfs, told apart from a real one in nothing but that it claims cache-line granularity, as libpmem2 can be
/// made to claim.
#[derive(Debug)]
pub(crate) struct Forced(FileSource);

// SAFETY: the file source keeps the promises; where there is no persistent memory nothing is durable anyway.
unsafe impl Source for Forced {
    type Space = Process;

    forward_source!(self { Self(file) => file } except granularity);

    fn granularity(&self) -> Result<Granularity, Errno> {
        Ok(Granularity::CacheLine)
    }
}

/// The set that is measured.
pub(crate) type BenchSet<'a, O = ()> = Set<'a, Linux, &'a Forced, O>;

/// Returns an unlinked file of `length_bytes` bytes on tmpfs, as a source and as a file, or why there is none.
pub(crate) fn tmpfs_file(length_bytes: u64) -> Result<(Forced, File), String> {
    let path = format!("/dev/shm/pmemset-bench-{}", std::process::id());
    let make = || {
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        std::fs::remove_file(&path)?;
        file.set_len(length_bytes)?;
        Ok::<_, std::io::Error>((file.try_clone()?, file))
    };
    let (one, other) = make().map_err(|error| format!("no tmpfs at /dev/shm: {error}"))?;
    let source = FileSource::from_owned_fd(one.into()).map_err(|error| error.to_string())?;
    Ok((Forced(source), other))
}

/// Returns libpmem2's mapping of the same file, or says on standard error that this peer is skipped.
pub(crate) fn libpmem2(file: &File) -> Option<Libpmem2> {
    Libpmem2::map(file).inspect_err(|reason| eprintln!("skipped peer libpmem2: {reason}")).ok()
}

/// Writes back the lines of a range and fences: what a program would write by hand.
///
/// # Safety
///
/// The range is mapped.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) unsafe fn clwb_loop(start: *const u8, length_bytes: usize) {
    let end = start.wrapping_add(length_bytes);
    let mut line = start.map_addr(|address| address & !63);
    while line < end {
        // SAFETY: the caller promises the line.
        unsafe { core::arch::asm!("clwb [{}]", in(reg) line, options(nostack, preserves_flags)) };
        line = line.wrapping_add(64);
    }
    // SAFETY: orders stores and does nothing else.
    unsafe { core::arch::asm!("sfence", options(nostack, preserves_flags)) };
}

/// Returns whether the hand-written loop can run here; says so where it cannot.
pub(crate) fn has_clwb(platform: &Linux) -> bool {
    let has = platform.cpu().method() == pmemset_core::arch::Method::Clwb;
    if !has {
        eprintln!("skipped peer clwb loop: this processor flushes with {}", platform.cpu().method());
    }
    has
}
