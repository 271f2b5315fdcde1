//! Memory with readers that stand still (L1 of the reliability checklist, scaled to a unit test).

use std::fs;
use std::time::Duration;

use super::{Ask, Rig, SMALL, engine_config, eventually, lane_config};
use crate::config::Config;

const STALLED: usize = 300;
const EVENT: usize = 256 << 10;
const EVENTS: usize = 1_024;

/// Resident memory of this process in bytes.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("it is listed");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number of KiB") << 10
}

/// Other tests share the process, so the bound is generous; without one, the stalled readers' share of what is published would
/// be 75 GiB.
#[test]
#[cfg(target_os = "linux")]
fn stalled_readers_hold_no_events() {
    let rig = Rig::with(engine_config(), Config { write_timeout: Duration::from_secs(600), ..lane_config() });
    let stalled: Vec<_> =
        (0..STALLED).map(|_| rig.open(&Ask { buffers: Some(SMALL), ..Ask::default() }).opened()).collect();
    let mut reader = rig.open(&Ask::default()).opened();
    let (before, data) = (resident(), "x".repeat(EVENT));
    for _ in 0..EVENTS {
        rig.publish("chat", &data);
        assert_eq!(reader.data().len(), EVENT);
    }
    eventually("the others are behind", || rig.stats().partial >= STALLED as u64);
    let growth = resident().saturating_sub(before);
    assert!(growth < 200 << 20, "grew by {} MiB", growth >> 20);
    // A socket that took some more bytes after its event was evicted is cut, by the policy; nobody was cut for being slow.
    let lapped = &rig.shared.counters.lapped;
    eventually("every stalled reader is there or was lapped", || {
        rig.stats().sockets + lapped.get() == STALLED as u64 + 1
    });
    assert_eq!(rig.shared.counters.stalled.get(), 0);
    drop(stalled);
    eventually("all are gone but one", || rig.stats().sockets == 1);
}
