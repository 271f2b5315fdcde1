//! Long runs: code exchanged every 100 ms under load, and modules that nobody has written. `cargo xtask soak`.
#![cfg(feature = "wasm-jit")]

mod support;

use std::time::{Duration, Instant};

use fanfare_engine::Verdict;
use support::random::{Random, Tried, mutated};
use support::smith::Outcomes;
use support::*;

#[test]
#[ignore = "long"]
fn ten_minutes_of_reloads_lose_nothing() {
    exchange::under_load(6_000, Duration::from_millis(100));
}

/// Resident memory of this process, in KiB.
#[cfg(target_os = "linux")]
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a size");
    line.split_ascii_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}

#[test]
#[ignore = "long"]
#[cfg(target_os = "linux")]
fn strange_modules_leave_nothing_behind() {
    let original = build_example("tally");
    let neighbour = load(&pass()).expect("sound");
    let mut tried = Tried::default();
    let (start, mut seed, mut after_warm_up) = (Instant::now(), 1_000_000, None);
    while start.elapsed() < Duration::from_secs(300) {
        seed += 1;
        let mut random = Random::new(seed);
        tried.one(&RUNTIME, &mutated(&original, &mut random));
        assert_eq!(call(&neighbour, "x"), Ok(Verdict::Pass), "seed {seed}");
        if start.elapsed() > Duration::from_secs(60) {
            after_warm_up.get_or_insert_with(resident);
        }
    }
    let grown = resident().saturating_sub(after_warm_up.expect("it was long enough"));
    println!("{} seeds, {tried:?}, {grown} KiB more after the first minute", seed - 1_000_000);
    assert!(grown < 100 << 10, "{grown} KiB more");
}

/// Threads of this process.
#[cfg(target_os = "linux")]
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").expect("Linux").count()
}

#[test]
#[ignore = "long"]
#[cfg(target_os = "linux")]
fn random_modules_and_components_leave_nothing_behind() {
    let neighbour = load(&pass()).expect("sound");
    let mut outcomes = Outcomes::default();
    let (start, before, mut seed, mut after_warm_up) = (Instant::now(), threads(), 2_000_000, None);
    // 10,000 files at least, however fast this machine is.
    while outcomes.files < 10_000 || start.elapsed() < Duration::from_secs(300) {
        outcomes.one(seed);
        seed += 1;
        assert_eq!(call(&neighbour, "x"), Ok(Verdict::Pass), "seed {seed}");
        if outcomes.files > 2_000 {
            after_warm_up.get_or_insert_with(resident);
        }
    }
    let grown = resident().saturating_sub(after_warm_up.expect("it was long enough"));
    println!("{outcomes:?}, {grown} KiB more after the first 2,000 files");
    assert!(grown < 100 << 10, "{grown} KiB more");
    assert_eq!(threads(), before, "no thread is stuck");
}
