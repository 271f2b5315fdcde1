//! A hub with its history on disk that has no descriptors left: it says so, nobody who is connected is harmed, and it goes on when
//! there are some again. (Of the listener alone, see `server/tests/descriptors.rs`.)

mod support;

use std::io::BufRead as _;
use std::thread;
use std::time::{Duration, Instant};

use support::history::{Hub, answer, connect, publish, send};
use support::{run, run_with_descriptors};

/// Files as small as they may be, so that a few events end one; no other file is open between them.
const SMALL: [&str; 3] = ["history.durability=always", "store.segment_bytes=4KiB", "store.bytes=0"];

#[test]
fn a_file_that_cannot_be_begun_refuses_publishers_until_it_can() {
    let dir = tempfile::tempdir().expect("a folder");
    let hub = Hub::start(dir.path(), &SMALL);
    let (mut live, mut socket) = (hub.read("t", "", None), connect(&hub.address));
    let mut taken: Vec<String> = Vec::new();
    let mut publish = |taken: &mut Vec<String>| {
        let data = format!("{} {}", taken.len(), "x".repeat(100));
        publish(&mut socket, "t", &data).expect("an answer").map(|_| taken.push(data))
    };
    publish(&mut taken).expect("is taken");
    hub.take_descriptors();
    let refused = loop {
        if let Err(refused) = publish(&mut taken) {
            break refused;
        }
        assert!(taken.len() < 1_000, "no file is ever full");
    };
    assert!(refused.contains("\"not_stored\"") && refused.contains("Too many open files"), "{refused}");
    assert!(refused.contains("0000000001.idx"), "it names the file: {refused}");
    for _ in 0..10 {
        publish(&mut taken).expect_err("there are still none");
    }
    assert!(taken.len() > 5, "what was open was written to its end: {}", taken.len());
    assert_eq!(live.data(taken.len()), taken, "who reads has what was taken, and nothing else");
    // It can be told only to who is connected. Whoever comes now is turned away, or waits.
    let late = connect(&hub.address);
    hub.give_descriptors();
    drop(late);
    let before = taken.len();
    for _ in 0..100 {
        publish(&mut taken).expect("there are some again");
    }
    assert_eq!(live.data(100), taken[before..], "without a restart");
    assert_eq!(hub.read("t", "replay=all", None).data(taken.len()), taken, "and who comes");
    hub.kill();
    let hub = Hub::start(dir.path(), &SMALL);
    assert_eq!(hub.read("t", "replay=all", None).data(taken.len()), taken);
    hub.stop();
}

#[test]
fn readers_of_old_events_and_cutting_down_wait_for_descriptors() {
    let dir = tempfile::tempdir().expect("a folder");
    // Each of the two fills a file to more than half.
    let hub = Hub::start(
        dir.path(),
        &["history.durability=always", "store.segment_bytes=32KiB", "store.bytes=0", "history.events=4"],
    );
    hub.publish_all("gone", (0..200).map(|n| format!("secret {n} {}", "x".repeat(60))));
    hub.publish_all("t", (0..200).map(|n| format!("{n} {}", "x".repeat(60))));
    let (mut asks, mut deletes) = (connect(&hub.address), connect(&hub.address));
    hub.take_descriptors();
    send(&mut deletes, "DELETE /events/gone?history=delete");
    let (status, body) = answer(&mut deletes).expect("an answer");
    assert_eq!(status, 200, "what is open is enough to note it: {body}");
    // Its page cannot be read now, so it is refused or ended, and not left hanging.
    send(&mut asks, "GET /events/t?replay=all");
    let since = Instant::now();
    let lines = asks.lines().map_while(Result::ok).take_while(|_| since.elapsed() < support::WATCHDOG);
    let seen: Vec<String> = lines.collect();
    assert!(since.elapsed() < support::WATCHDOG, "it was left hanging: {seen:?}");
    assert!(!seen.iter().any(|line| line.starts_with("data:")), "{seen:?}");
    // Longer than it takes until files are looked at.
    thread::sleep(Duration::from_secs(6));
    hub.give_descriptors();
    let expected: Vec<String> = (0..200).map(|n| format!("{n} {}", "x".repeat(60))).collect();
    assert_eq!(hub.read("t", "replay=all", None).data(200), expected);
    let start = Instant::now();
    let secret = || {
        let files = std::fs::read_dir(dir.path()).expect("a folder").map(|file| file.expect("a file").path());
        files
            .filter_map(|file| std::fs::read(file).ok())
            .any(|bytes| bytes.windows(6).any(|w| w == b"secret"))
    };
    while secret() {
        assert!(start.elapsed() < support::WATCHDOG, "deleted events are still there");
        thread::sleep(Duration::from_millis(100));
    }
    hub.stop();
}

#[test]
fn a_start_without_enough_says_so() {
    let dir = tempfile::tempdir().expect("a folder");
    let text = dir.path().to_str().expect("UTF-8");
    Hub::start(dir.path(), &SMALL).stop();
    let mut said = Vec::new();
    // From far too few to enough to open the folder, whatever else the program needs.
    for limit in 8..40 {
        let (code, _, err) = run_with_descriptors(limit, &["data", "stats", text]);
        if code == Some(0) {
            break;
        }
        assert_eq!(code, Some(1), "{limit}: {err}");
        assert!(err.contains("Too many open files") && !err.contains("panicked"), "{limit}: {err}");
        said.push(err);
    }
    let (code, out, err) = run(&["data", "stats", text]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(said.len() < 30, "it never worked: {said:?}");
}
