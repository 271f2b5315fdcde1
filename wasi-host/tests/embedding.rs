//! What a process that runs handlers may count on: its signals are its own, and what they took comes back.
#![cfg(all(feature = "wasm-jit", target_os = "linux"))]

mod support;

use std::time::{Duration, Instant};

use fanfare_engine::Verdict;
use fanfare_wasi_host::{Config, Isolation, Runtime, WasmHandler};
use support::*;

/// A line of `/proc/self/status`.
fn status(name: &str) -> String {
    let text = std::fs::read_to_string("/proc/self/status").expect("Linux");
    text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}")).to_owned()
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").expect("Linux").count()
}

/// One test, for it looks at the whole process.
#[test]
fn signals_threads_and_memory_are_as_before() {
    let (signals, before) = (status("SigCgt"), threads());
    let runtime = Runtime::new().expect("this machine runs handlers");
    let bytes = transform(
        "(if (i32.gt_u (local.get $n) (i32.const 2)) (then (i32.store (i32.const -8) (i32.const 1)))) (i32.const 0)",
    );
    for isolation in [Isolation::Shared, Isolation::PerEvent] {
        let config = Config { isolation, ..Config::default() };
        let handler = WasmHandler::new(&runtime, "guest", &bytes, &config).expect("sound");
        assert_eq!(call(&handler, "x"), Ok(Verdict::Pass));
        assert!(call(&handler, "harm").is_err());
    }
    assert_eq!(status("SigCgt"), signals, "a signal has got a handler");
    assert_eq!(threads(), before + 1, "one thread for the clock");

    // Each instance takes all the memory that it may and is thrown away: what stays does not grow with their number.
    let hoard = transform(
        "(loop $l (br_if $l (i32.ne (i32.const -1) (memory.grow (i32.const 16)))))
        (memory.fill (i32.const 65536) (i32.const 1) (i32.const 15000000)) (i32.const 0)",
    );
    let config = Config { time: Duration::from_secs(10), ..Config::default() };
    let handler = WasmHandler::new(&runtime, "guest", &hoard, &config).expect("sound");
    let resident = || -> u64 {
        let line = status("VmRSS");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
    };
    assert_eq!(call(&handler, "x"), Ok(Verdict::Pass));
    let after_one = resident();
    for _ in 0..50 {
        assert_eq!(call(&handler, "x"), Ok(Verdict::Pass));
    }
    let grown = resident().saturating_sub(after_one);
    assert!(grown < 64 << 10, "{grown} KiB more after 50 instances of 15 MiB");

    drop((handler, runtime));
    let start = Instant::now();
    // The kernel takes a moment to let go of a thread that has been joined.
    while threads() > before {
        assert!(start.elapsed() < Duration::from_secs(60), "the thread does not end with its runtime");
        std::thread::sleep(Duration::from_millis(1));
    }
}
