//! What handlers keep, in the real program with `--data`: it agrees with history, whatever happens to the process or the disk.
#![cfg(feature = "wasm-jit")]

mod support;

use support::history::{Hub, Tmpfs, connect, publish};
use support::run;
use support::state::{all_counts, counting, killed_the_count_agrees};

#[test]
fn killed_at_random_moments_the_count_agrees() {
    killed_the_count_agrees(12);
}

#[test]
fn it_survives_a_stop_and_the_tools_know_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("data");
    let text = data.to_str().expect("UTF-8");
    let handler = counting(dir.path());
    // The default durability: nothing waits for the disk, and a stop loses nothing.
    let hub = Hub::start(&data, &[&handler]);
    for n in 1..=5 {
        assert_eq!(all_counts(&hub), n);
    }
    hub.stop();
    let (code, out, err) = run(&["data", "stats", text]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.ends_with("state   count: 1 keys, 2 bytes\n"), "{out}");
    let hub = Hub::start(&data, &[&handler]);
    assert_eq!(all_counts(&hub), 6);
    hub.stop();
    // Without the handler what it keeps stays.
    Hub::start(&data, &[]).stop();
    let (code, out, err) = run(&["data", "forget", text, "count"]);
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "", "fanfare: 1 keys of count deleted\n"));
    let (code, _, err) = run(&["data", "forget", text, "count"]);
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("there is no state of a handler count"), "{err}");
    let (_, out, _) = run(&["data", "stats", text]);
    assert!(!out.contains("state"), "{out}");
}

#[test]
fn what_a_full_disk_refuses_is_not_counted() {
    let disk = Tmpfs::new();
    let data = disk.path().join("data");
    let made = tempfile::tempdir().expect("a folder");
    let settings = [&*counting(made.path()), "history.durability=always"];
    let hub = Hub::start(&data, &settings);
    std::fs::write(disk.path().join("ballast"), vec![1; 128 << 10]).expect("there is room");
    let mut socket = connect(&hub.address);
    let mut taken = 0;
    let fill = "x".repeat(4000);
    let refused = loop {
        match publish(&mut socket, "t/1", "x").expect("an answer") {
            Ok(_) => taken += 1,
            Err(refused) => break refused,
        }
        // No handler handles these: they only need room.
        let _ = publish(&mut socket, "other", &fill).expect("an answer");
        assert!(taken < 1_000, "the disk is never full");
    };
    assert!(refused.contains("\"not_stored\"") && taken > 10, "{taken}: {refused}");
    for _ in 0..20 {
        assert!(publish(&mut socket, "t/2", "x").expect("an answer").is_err(), "it is still full");
    }
    std::fs::remove_file(disk.path().join("ballast")).expect("removed");
    assert_eq!(all_counts(&hub), taken + 1, "without a restart");
    hub.kill();
    let hub = Hub::start(&data, &settings);
    assert_eq!(all_counts(&hub), taken + 2);
    hub.stop();
}
