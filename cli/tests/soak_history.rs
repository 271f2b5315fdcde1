//! Long: a hub with `--data` under load, killed two hundred times.

mod support;

#[test]
#[ignore = "long: started by cargo xtask soak"]
fn killed_two_hundred_times_with_always_it_loses_nothing() {
    support::history::killed_it_loses_nothing(200);
}

#[cfg(feature = "wasm-jit")]
#[test]
#[ignore = "long: started by cargo xtask soak"]
fn killed_two_hundred_times_what_a_handler_counts_agrees() {
    support::state::killed_the_count_agrees(200);
}
