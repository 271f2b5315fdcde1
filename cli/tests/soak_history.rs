//! Long: a hub with `--data` under load, killed two hundred times.

mod support;

#[test]
#[ignore = "long: started by cargo xtask soak"]
fn killed_two_hundred_times_with_always_it_loses_nothing() {
    support::history::killed_it_loses_nothing(200);
}
