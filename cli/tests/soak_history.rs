//! Long: a hub with `--data` under load, killed two hundred times, and on a disk that stays full for half a minute.

mod support;

use std::time::Duration;

#[test]
#[ignore = "long: started by cargo xtask soak"]
fn killed_two_hundred_times_with_always_it_loses_nothing() {
    support::history::killed_it_loses_nothing(200);
}

#[test]
#[ignore = "long: started by cargo xtask soak"]
fn killed_two_hundred_times_whoever_is_affected_is_told() {
    support::crash::killed_who_is_affected_is_told(200);
}

#[test]
#[ignore = "long: started by cargo xtask soak"]
fn a_disk_full_for_thirty_seconds_loses_nothing() {
    for durability in ["always", "os", "interval", "none"] {
        support::crash::a_disk_full_under_load(durability, Duration::from_secs(30));
    }
}

#[cfg(feature = "wasm-jit")]
#[test]
#[ignore = "long: started by cargo xtask soak"]
fn killed_two_hundred_times_what_a_handler_counts_agrees() {
    support::state::killed_the_count_agrees(200);
}
