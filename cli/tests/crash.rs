//! Short ones of what `soak_history` does for long: a full disk under load, and kills with weaker durabilities.

mod support;

use std::time::Duration;

#[test]
fn a_disk_full_for_a_moment_loses_nothing() {
    for durability in ["always", "interval"] {
        support::crash::a_disk_full_under_load(durability, Duration::from_secs(1));
    }
}

#[test]
fn killed_at_random_moments_whoever_is_affected_is_told() {
    support::crash::killed_who_is_affected_is_told(12);
}
