//! A handler that counts, and what has to be true of its count.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "compiled into several test programs, each of which uses a part"
)]

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::history::{Hub, connect, publish, random};
use super::run;

/// Counts each event of `t/*` in its state and says the count in `all`; what it refuses it has counted before.
const COUNT: &str = r#"
    #include "fanfare_handler.h"
    ff_outcome transform(const ff_event *event) {
        int64_t count = 0;
        ff_kv_increment(FF_TEXT("n"), 1, 0, &count);
        if (ff_equal(event->data, FF_TEXT("no"))) return ff_reject(FF_TEXT("no"));
        if (ff_equal(event->data, FF_TEXT("trap"))) __builtin_trap();
        ff_event *made = ff_alloc(sizeof *made);
        *made = (ff_event){.topic = FF_TEXT("all"), .data = ff_number(count)};
        return ff_emit(made, 1);
    }"#;

/// Builds it in a folder; the setting that loads it.
pub fn counting(dir: &Path) -> String {
    let (source, made) = (dir.join("count.c"), dir.join("count.wasm"));
    std::fs::write(&source, COUNT).expect("written");
    let header = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/handlers/c");
    let built = Command::new("clang")
        .args(["--target=wasm32", "-O2", "-mbulk-memory", "-nostdlib", "-Wl,--no-entry", "-I"])
        .args([&header, Path::new("-o"), &made, &source])
        .status()
        .expect("clang runs; `cargo xtask install-deps` installs clang and lld");
    assert!(built.success());
    format!("handlers=t/*={}", made.display())
}

/// How far history has been read, and how many events that were.
#[derive(Default)]
pub struct Read {
    pub count: u64,
    last: Option<String>,
}

impl Read {
    /// Counts once more, and sees that the counts in history go on without a hole up to that.
    pub fn on(&mut self, hub: &Hub) -> u64 {
        let last = hub.publish("t/1", "x");
        let mut stream = hub.read("all", "replay=all", self.last.as_deref());
        loop {
            let event = stream.next().expect("the last one is to come");
            assert_eq!(event.name, "", "a notice: {event:?}");
            self.count += 1;
            assert_eq!(event.data, self.count.to_string(), "{event:?}");
            if event.id == last {
                self.last = Some(last);
                return self.count;
            }
        }
    }
}

/// Counts once more, and sees that history is all counts from 1 on without a hole; the last.
pub fn all_counts(hub: &Hub) -> u64 {
    Read::default().on(hub)
}

/// Kills a hub under load `rounds` times, with durability `always`. After every start the count that the handler goes on
/// from is that of the events in history.
pub fn killed_the_count_agrees(rounds: u64) {
    let dir = tempfile::tempdir().expect("a folder");
    let handler = counting(dir.path());
    let settings = [&*handler, "history.durability=always", "history.events=50", "store.segment_bytes=64KiB"];
    let data = dir.path().join("data");
    let (mut seed, mut before, mut read) = (0x9e37_79b9_7f4a_7c15, 0, Read::default());
    for round in 0..rounds {
        let hub = Hub::start(&data, &settings);
        let count = read.on(&hub);
        assert!(count > before, "round {round}: {count} after {before}");
        let pause = Duration::from_millis(20 + random(&mut seed) % 250);
        let acknowledged: u64 = thread::scope(|scope| {
            let publishers: Vec<_> = (0..4)
                .map(|publisher| {
                    // Connected before it may be killed.
                    let (mut socket, topic) = (connect(&hub.address), format!("t/{publisher}"));
                    scope.spawn(move || {
                        let mut taken = 0;
                        for n in 0.. {
                            let data = ["x", "x", "no", "x", "trap"][n % 5];
                            match publish(&mut socket, &topic, data) {
                                None => break,
                                Some(answer) => {
                                    assert_eq!(answer.is_ok(), data == "x", "{data}: {answer:?}");
                                    taken += u64::from(answer.is_ok());
                                }
                            }
                        }
                        taken
                    })
                })
                .collect();
            thread::sleep(pause);
            hub.kill();
            publishers.into_iter().map(|publisher| publisher.join().expect("no panic")).sum()
        });
        before = count + acknowledged;
    }
    let hub = Hub::start(&data, &settings);
    let count = all_counts(&hub);
    assert!(count > before && before > rounds, "{count} after {before}");
    hub.stop();
    let text = data.to_str().expect("UTF-8");
    let (code, out, err) = run(&["data", "check", text]);
    assert_eq!(code, Some(0), "{out}{err}");
}
