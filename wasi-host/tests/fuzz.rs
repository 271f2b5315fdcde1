//! Modules with random changes, and random ones, from fixed seeds: whatever is in them, loading and calling come back, and a
//! handler beside them goes on. `soak_wasi` does the same for long.
#![cfg(feature = "wasm-jit")]

mod support;

use fanfare_engine::Verdict;
use support::random::{Random, Tried, mutated};
use support::smith::Outcomes;
use support::*;

#[test]
fn mutated_modules_come_to_an_end() {
    let originals = ["tally", "mask"].map(build_example);
    let neighbour = load(&pass()).expect("sound");
    let mut tried = Tried::default();
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let bytes = mutated(&originals[seed as usize % 2], &mut random);
        tried.one(&RUNTIME, &bytes);
        assert_eq!(call(&neighbour, "x"), Ok(Verdict::Pass), "seed {seed}");
    }
    assert!(tried.loaded >= 10 && tried.answers > 0, "{tried:?}");
}

#[test]
fn random_modules_and_components_come_to_an_end() {
    let neighbour = load(&pass()).expect("sound");
    let mut outcomes = Outcomes::default();
    for seed in 0..60 {
        outcomes.one(seed);
        assert_eq!(call(&neighbour, "x"), Ok(Verdict::Pass), "seed {seed}");
    }
    let failed: u64 = outcomes.failed.values().sum();
    let refused = |why: &str| outcomes.refused.get(why).copied().unwrap_or_default();
    assert!(refused("import") > 0 && refused("contract") > 0 && refused("start") > 0, "{outcomes:?}");
    assert!(outcomes.loaded >= 10 && outcomes.answered > 0 && failed > 0, "{outcomes:?}");
}
