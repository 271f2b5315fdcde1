//! Long: a hub on ten million stored events, and on a million topics. Figures are printed; what is asserted are counts, order
//! and memory.

mod support;

use std::collections::VecDeque;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use support::fanfare;
use support::history::{Hub, Stream, answer, connect, position};

/// Nothing is let go but by a rule of the test.
const KEEP: [&str; 3] = ["store.bytes=0", "store.age=0", "log=warn"];
/// The hub's own memory may differ by this much between two sizes of the log, in KiB: allocators and threads.
const NOISE: u64 = 8 << 10;

/// Fills a folder by `fanfare data import` with events of 100 bytes; the n-th, from 0, is in topic n modulo `topics`.
fn import(dir: &Path, events: u64, topics: u64) -> Duration {
    let start = Instant::now();
    let dir = dir.to_str().expect("UTF-8");
    let mut child = fanfare(&["data", "import", dir]).stdin(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufWriter::with_capacity(1 << 20, child.stdin.take().expect("piped"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    writeln!(lines, r#"{{"fanfare_export":1,"epoch":"x","next":{}}}"#, events + 1).expect("it reads");
    for n in 0..events {
        let (at, topic) = (n + 1, n % topics);
        writeln!(
            lines,
            r#"{{"event":{{"position":{at},"at_ms":{now},"topic":"topic/{topic}","data":"{n:0100}"}}}}"#
        )
        .expect("it reads");
    }
    drop(lines.into_inner().expect("it reads"));
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), said), (Some(0), format!("fanfare: {events} events imported\n")));
    start.elapsed()
}

/// Starts a hub, and says how long that took until it listened, the start of the process included.
fn opened(dir: &Path, settings: &[&str]) -> (Hub, Duration) {
    let start = Instant::now();
    let hub = Hub::start(dir, settings);
    (hub, start.elapsed())
}

fn numbers(stream: &mut Stream, count: usize) -> Vec<u64> {
    stream.data(count).iter().map(|data| data.parse().expect("a number")).collect()
}

/// Does something many times: the median of its times, and the longest.
fn times(count: usize, mut run: impl FnMut(usize)) -> (Duration, Duration) {
    let mut each: Vec<Duration> = (0..count)
        .map(|n| {
            let start = Instant::now();
            run(n);
            start.elapsed()
        })
        .collect();
    each.sort_unstable();
    (each[count / 2], each[count - 1])
}

/// Waits until so many events are on disk, which the last ones are within an interval.
fn stored(hub: &Hub, events: u64) {
    let start = Instant::now();
    while hub.store()["events"] != events {
        assert!(start.elapsed() < support::WATCHDOG, "{} events", hub.store()["events"]);
        thread::sleep(Duration::from_millis(20));
    }
}

/// What a hub on a log of so many events in a hundred topics holds in memory, in KiB: when it has opened, and after readers.
fn measured(events: u64) -> (u64, u64) {
    const TOPICS: u64 = 100;
    const LAST: usize = 10_000;
    let dir = tempfile::tempdir().expect("a folder");
    let filling = import(dir.path(), events, TOPICS);
    let (hub, opening) = opened(dir.path(), &KEEP);
    let at_first = hub.resident();
    let each = events / TOPICS;
    // The last 10,000 of a topic: a hundredth of a million positions.
    let topic_start = times(20, |n| {
        let mut stream = hub.read(&format!("topic%2F{n}"), &format!("replay={LAST}"), None);
        assert_eq!(numbers(&mut stream, 1), [(each - LAST as u64) * TOPICS + n as u64]);
    });
    let mut whole = hub.read("topic%2F7", &format!("replay={LAST}"), None);
    let expected: Vec<u64> = (each - LAST as u64..each).map(|round| round * TOPICS + 7).collect();
    assert_eq!(numbers(&mut whole, LAST), expected);
    // The last 10,000 positions, of all topics.
    let epoch =
        hub.publish("topic/7", &format!("{events:0100}")).rsplit_once('-').expect("an id").0.to_owned();
    let all: String = (0..TOPICS).map(|n| format!("topic=topic%2F{n}&")).collect();
    let (path, from) = (format!("/events?{all}"), format!("{epoch}-{}", events - LAST as u64));
    let all_start = times(20, |_| {
        let mut stream = hub.read_path(&path, Some(&from));
        assert_eq!(numbers(&mut stream, 1), [events - LAST as u64]);
    });
    let last = numbers(&mut hub.read_path(&path, Some(&from)), LAST + 1);
    assert!(last.iter().copied().eq(events - LAST as u64..=events), "each once, in order");
    assert_eq!(numbers(&mut whole, 1), [events], "and on with what is new");
    // A whole topic from its beginning, by several readers at once.
    thread::scope(|scope| {
        for n in 0..4 {
            let hub = &hub;
            scope.spawn(move || {
                let mut stream = hub.read(&format!("topic%2F{n}"), "replay=all", None);
                for round in 0..each {
                    assert_eq!(numbers(&mut stream, 1), [round * TOPICS + n]);
                }
            });
        }
    });
    stored(&hub, events + 1);
    let after = hub.resident();
    hub.kill();
    let (hub, killed) = opened(dir.path(), &KEEP);
    assert_eq!(hub.store()["events"], events + 1);
    hub.stop();
    eprintln!(
        "{events} events of 100 bytes: imported in {filling:?}; the program listens after {opening:?}, after a kill {killed:?}; \
         the first of the last 10,000 is there after (median, longest) {topic_start:?} of one topic, {all_start:?} of a \
         hundred on one stream; memory {at_first} KiB when opened, {after} KiB after readers"
    );
    (at_first, after)
}

#[test]
#[ignore = "long: started by cargo xtask soak"]
fn memory_does_not_grow_with_ten_million_events() {
    let (small, large) = (measured(1_000_000), measured(10_000_000));
    assert!(
        large.0 <= small.0 + NOISE,
        "opened: {} KiB with ten times as many, {} KiB before",
        large.0,
        small.0
    );
    assert!(
        large.1 <= small.1 + NOISE,
        "read: {} KiB with ten times as many, {} KiB before",
        large.1,
        small.1
    );
}

/// Publishes one event to each of some topics, many requests on their way at a time.
fn publish_to(hub: &Hub, topics: impl Iterator<Item = u64>, data: &str) {
    const UNDER_WAY: usize = 64;
    let (mut socket, mut waiting) = (connect(&hub.address), VecDeque::new());
    let settle = |socket: &mut _, topic: u64| {
        let (status, body) = answer(socket).expect("an answer");
        assert_eq!(status, 200, "topic {topic}: {body}");
        assert!(position(body.split('"').nth(3).expect("an id")) > 0);
    };
    for topic in topics {
        if waiting.len() == UNDER_WAY {
            settle(&mut socket, waiting.pop_front().expect("is full"));
        }
        let head = format!("POST /events/topic%2F{topic} HTTP/1.1\r\nhost: localhost\r\n");
        write!(socket.get_mut(), "{head}content-length: {}\r\n\r\n{data}", data.len()).expect("is sent");
        waiting.push_back(topic);
    }
    waiting.into_iter().for_each(|topic| settle(&mut socket, topic));
}

#[test]
#[ignore = "long: started by cargo xtask soak"]
fn a_million_topics_open_serve_and_retain() {
    const TOPICS: u64 = 1_000_000;
    /// What a topic may take in memory that has an event there; with a rule, after files were looked at and meanwhile. Bytes.
    const LIVE: u64 = 768;
    const RULED: u64 = 128;
    const LOOKED_AT: u64 = 192;
    /// What looking at a file takes and writing it anew, whatever the number of topics, in KiB.
    const ONE_FILE: u64 = 128 << 10;
    let dir = tempfile::tempdir().expect("a folder");
    let filling = import(dir.path(), 9 * TOPICS, TOPICS);
    let many = format!("limits.topics={TOPICS}");
    let settings = [KEEP.as_slice(), &[&many]].concat();
    let (hub, opening) = opened(dir.path(), &settings);
    let at_first = hub.resident();
    // Topics that nobody has used since the start take nothing; those that were read become free again.
    let serve = |hub: &Hub, count: u64, events: u64| {
        times(2_000, |n| {
            let topic = n as u64 * 499 % TOPICS;
            let mut stream = hub.read(&format!("topic%2F{topic}"), "replay=all", None);
            let expected: Vec<u64> = (events - count..events).map(|round| round * TOPICS + topic).collect();
            assert_eq!(numbers(&mut stream, count as usize), expected);
        })
    };
    let before = serve(&hub, 9, 9);
    let served = hub.resident();
    assert!(served <= at_first + NOISE + 2_000 * LIVE / 1024, "{served} KiB after {at_first}");
    // The tenth event of each, over HTTP.
    let publishing = Instant::now();
    thread::scope(|scope| {
        for part in 0..4 {
            let hub = &hub;
            scope.spawn(move || publish_to(hub, (part..TOPICS).step_by(4), "the tenth"));
        }
    });
    let publishing = publishing.elapsed();
    let full = hub.resident();
    assert!(
        full <= served + NOISE + TOPICS * LIVE / 1024,
        "{full} KiB with a million live topics, {served} before"
    );
    stored(&hub, 10 * TOPICS);
    for n in [0, 1, 499_999, TOPICS - 1] {
        let seen = hub.read(&format!("topic%2F{n}"), "replay=all", None).data(10);
        assert_eq!(
            seen[..9].iter().map(|n| n.parse().expect("a number")).collect::<Vec<u64>>(),
            (0..9).map(|round| round * TOPICS + n).collect::<Vec<_>>()
        );
        assert_eq!(seen[9], "the tenth");
    }
    hub.kill();
    let (hub, killed) = opened(dir.path(), &settings);
    let bytes = hub.store()["bytes"].as_u64().expect("a number");
    hub.stop();
    let rules = [settings.as_slice(), &["history.topics=topic/* events=3"]].concat();
    let hub = Hub::start(dir.path(), &rules);
    let retaining = Instant::now();
    let held = || hub.store()["bytes"].as_u64().expect("a number");
    while held() > bytes * 6 / 10 {
        assert!(retaining.elapsed() < Duration::from_secs(1_200), "{} of {bytes} bytes are left", held());
        thread::sleep(Duration::from_millis(500));
    }
    // Until the whole folder has been looked at: nothing goes for two rounds of retention.
    let mut seen = (0, Instant::now());
    while seen.1.elapsed() < Duration::from_secs(15) {
        let now = held();
        if now != seen.0 {
            seen = (now, Instant::now());
        }
        thread::sleep(Duration::from_millis(500));
    }
    let (retaining, ruled, peak) = (seen.1 - retaining, hub.resident(), hub.resident_at_most());
    eprintln!("{full} KiB live; {ruled} KiB with rules after {retaining:?}, at most {peak} KiB meanwhile");
    assert!(ruled <= at_first + NOISE + TOPICS * RULED / 1024, "{ruled} KiB with rules, {at_first} without");
    let bound = at_first + NOISE + TOPICS * LOOKED_AT / 1024 + ONE_FILE;
    assert!(peak <= bound, "{peak} KiB while files are looked at, {at_first} without");
    for n in [0, 1, 499_999, TOPICS - 1] {
        let seen = hub.read(&format!("topic%2F{n}"), "replay=3", None).data(3);
        let expected = [7 * TOPICS + n, 8 * TOPICS + n].map(|n| format!("{n:0100}"));
        assert_eq!(seen, [&*expected[0], &expected[1], "the tenth"]);
    }
    let left = held();
    hub.stop();
    eprintln!(
        "1,000,000 topics: nine events each imported in {filling:?}; the program listens after {opening:?} with {at_first} KiB, \
         after a kill {killed:?}; nine events of a topic served in {before:?} (median, longest), {served} KiB then; \
         a tenth event for each in {publishing:?}, {full} KiB with all of them live; three of each kept: {left} of {bytes} \
         bytes left after {retaining:?}, {ruled} KiB, at most {peak} KiB meanwhile"
    );
}
