//! A hub whose disk fills up under load, and one that is killed while its topics are as safe as they are configured each.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "compiled into several test programs, each of which uses a part"
)]

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::history::{Event, Hub, Stream, Tmpfs, connect, position, publish, random};
use super::{WATCHDOG, run};

/// Lets publishers end also when a check of the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Fills what is left of a file system.
fn fill(path: &std::path::Path) {
    let mut ballast = std::fs::File::create(path).expect("there is room for a name");
    let mut block = vec![1_u8; 64 << 10];
    while !block.is_empty() {
        if ballast.write_all(&block).is_err() {
            block.truncate(block.len() / 2);
        }
    }
}

/// The disk is full for `held` while publishers publish and readers read. What was acknowledged is there afterwards, what was
/// refused never, and all goes on without a restart.
pub fn a_disk_full_under_load(durability: &str, held: Duration) {
    const PUBLISHERS: usize = 4;
    const READERS: usize = 4;
    let disk = Tmpfs::of(16 << 10);
    let data = disk.path().join("data");
    let durability = format!("history.durability={durability}");
    let settings =
        [&*durability, "history.events=100", "store.segment_bytes=64KiB", "store.queue_bytes=64KiB"];
    let hub = Hub::start(&data, &settings);
    let (acknowledged, refused) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let (stop, count) = (AtomicBool::new(false), AtomicU64::new(0));
    let reach = |what: &str, enough: &dyn Fn() -> bool| {
        let start = Instant::now();
        while !enough() {
            assert!(start.elapsed() < WATCHDOG, "{durability}: {what}");
            thread::sleep(Duration::from_millis(10));
        }
    };
    let refusals = || refused.lock().expect("no panic").len();
    let mut readers: Vec<Stream> = (0..READERS).map(|_| hub.read("t", "replay=all", None)).collect();
    let mut end = String::new();
    thread::scope(|scope| {
        let _stop = Stop(&stop);
        for publisher in 0..PUBLISHERS {
            let (hub, acknowledged, refused) = (&hub, &acknowledged, &refused);
            let (stop, count) = (&stop, &count);
            scope.spawn(move || {
                let mut socket = connect(&hub.address);
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let data = format!("{publisher}/{n} {}", "x".repeat(100));
                    match publish(&mut socket, "t", &data).expect("the hub lives") {
                        Ok(id) => {
                            acknowledged.lock().expect("no panic").push((id, data));
                            count.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(why) => {
                            assert!(why.contains("\"not_stored\"") && why.contains("No space left"), "{why}");
                            refused.lock().expect("no panic").push(data);
                        }
                    }
                    // The file system is small.
                    thread::sleep(Duration::from_millis(5));
                }
            });
        }
        reach("nothing is taken", &|| count.load(Ordering::Relaxed) > 200);
        let ballast = disk.path().join("ballast");
        fill(&ballast);
        reach("nothing is refused", &|| refusals() > 0);
        let full = Instant::now();
        // Who comes meanwhile gets what is there; who was there is heard of below.
        let mut come = 0;
        while full.elapsed() < held || come == 0 {
            let before = acknowledged.lock().expect("no panic").len().saturating_sub(PUBLISHERS);
            let seen = hub.read("t", "replay=all", None).take(before);
            assert!(seen.iter().all(|event| event.name.is_empty()), "{durability}: a notice");
            come += 1;
            thread::sleep(Duration::from_millis(200));
        }
        let (taken, not) = (count.load(Ordering::Relaxed), refusals());
        // A write that is small enough may find room in between.
        reach("nobody says that the disk fails", &|| !hub.store()["failing"].is_null());
        std::fs::remove_file(&ballast).expect("is removed");
        reach("nothing is taken any more", &|| count.load(Ordering::Relaxed) > taken + 200);
        reach("the disk fails for ever", &|| hub.store()["failing"].is_null());
        eprintln!("{durability}: full for {:?}, {not} refused, {come} readers came", full.elapsed());
    });
    // Refused once more at most, as the first of those that wait for the disk to work again.
    let mut socket = connect(&hub.address);
    while end.is_empty() {
        end = publish(&mut socket, "t", "end").expect("the hub lives").unwrap_or_default();
    }
    let to_end = |stream: &mut Stream| {
        let mut all: Vec<Event> = Vec::new();
        while all.last().is_none_or(|event| event.id != end) {
            all.extend(stream.take(1));
        }
        all
    };
    let all = to_end(&mut readers[0]);
    for reader in &mut readers[1..] {
        assert!(to_end(reader) == all, "{durability}: readers differ");
    }
    assert!(all.iter().all(|event| event.name.is_empty()), "{durability}: a notice to a live reader");
    assert!(all.windows(2).all(|two| position(&two[0].id) < position(&two[1].id)), "in order, each once");
    let by_id: HashMap<&str, &str> = all.iter().map(|event| (&*event.id, &*event.data)).collect();
    let acknowledged = acknowledged.into_inner().expect("no panic");
    assert_eq!(
        all.len(),
        acknowledged.len() + 1,
        "{durability}: readers have what was taken, and nothing else"
    );
    for (id, data) in &acknowledged {
        assert_eq!(by_id.get(&**id), Some(&&**data), "{durability}: {id} was acknowledged");
    }
    // From the disk alone.
    hub.stop();
    let hub = Hub::start(&data, &settings);
    assert!(to_end(&mut hub.read("t", "replay=all", None)) == all, "{durability}: the same after a restart");
    hub.stop();
    let (code, out, err) = run(&["data", "check", data.to_str().expect("UTF-8")]);
    assert_eq!(code, Some(0), "{out}{err}");
}

/// The topics of the next test, each as safe as it is called.
const TOPICS: [&str; 4] = ["always", "os", "interval", "none"];

/// Kills a hub under load `rounds` times whose topics have a durability each: what `always` and `os` have acknowledged is there;
/// of the others the newest may be lost, and then a reader that comes back is told before anything new.
pub fn killed_who_is_affected_is_told(rounds: u64) {
    let dir = tempfile::tempdir().expect("a folder");
    let rules = "history.topics=always durability=always,os durability=os,none durability=none";
    let settings = [rules, "history.events=50", "store.segment_bytes=64KiB"];
    let path: String = TOPICS.iter().map(|name| format!("&topic={name}")).collect();
    let path = format!("/events?{}", &path[1..]);
    let (mut seed, mut affected, mut oldest_lost) = (0x9e37_79b9_7f4a_7c15, 0, Duration::ZERO);
    // All that anybody has seen, over all rounds: no id may come again with other data.
    let mut known: HashMap<String, String> = HashMap::new();
    // What was there when the last round began, and the id that a reader has.
    let (mut stored, mut last): (Vec<Event>, Option<String>) = (Vec::new(), None);
    // What the last round acknowledged, and how long before the kill.
    let mut pending: Vec<(String, String, &str, Duration)> = Vec::new();
    for round in 0..=rounds {
        let hub = Hub::start(dir.path(), &settings);
        let first_new = hub.publish("always", &format!("round {round}"));
        let see = |stream: &mut Stream| {
            let mut all: Vec<Event> = Vec::new();
            while all.last().is_none_or(|event| event.id != first_new) {
                all.extend(stream.take(1));
            }
            all
        };
        let events = |all: &[Event]| all.iter().filter(|e| e.name.is_empty()).cloned().collect::<Vec<_>>();
        let now = events(&see(&mut hub.read_path(&format!("{path}&replay=all"), None)));
        assert!(now.windows(2).all(|two| position(&two[0].id) < position(&two[1].id)), "in order, each once");
        assert!(now.len() > stored.len(), "round {round}: older events are gone");
        assert_eq!(now[..stored.len()], stored, "round {round}: what was there once stays");
        for event in &now {
            let before = known.insert(event.id.clone(), event.data.clone());
            assert!(
                before.is_none_or(|data| data == event.data),
                "round {round}: {} was given twice",
                event.id
            );
        }
        // The reader of the round before comes back with the last id it has.
        if let Some(id) = &last {
            let back = see(&mut hub.read_path(&path, Some(id)));
            let rest: Vec<Event> =
                now.iter().filter(|event| position(&event.id) > position(id)).cloned().collect();
            assert_eq!(events(&back), rest, "round {round}: what it has missed, once");
            let told = back.iter().position(|event| event.name == "fanfare.gap");
            assert_eq!(told, Some(back.len() - 2), "round {round}: told right before what is new: {back:?}");
        }
        let there: HashMap<&str, &str> = now.iter().map(|event| (&*event.id, &*event.data)).collect();
        let newest = now.iter().rev().nth(1).map_or(0, |event| position(&event.id));
        for (id, data, topic, age) in pending.drain(..) {
            match there.get(&*id) {
                Some(found) => assert_eq!(*found, data, "round {round}"),
                None => {
                    assert!(matches!(topic, "interval" | "none"), "round {round}: {data} is lost");
                    assert!(position(&id) > newest, "round {round}: {data} is lost, and later ones are not");
                    affected += 1;
                    oldest_lost = oldest_lost.max(age);
                }
            }
        }
        stored = now;
        if round == rounds {
            hub.stop();
            break;
        }
        let mut reader = hub.read_path(&path, Some(&first_new));
        let acknowledged = Mutex::new(Vec::new());
        let pause = Duration::from_millis(20 + random(&mut seed) % 250);
        // In every other round nobody syncs for the weaker ones.
        let publishers = if round % 2 == 0 { &TOPICS[2..] } else { &TOPICS[..] };
        let (killed, seen) = thread::scope(|scope| {
            for topic in publishers {
                // Connected before it may be killed.
                let (mut socket, acknowledged) = (connect(&hub.address), &acknowledged);
                scope.spawn(move || {
                    for n in 0.. {
                        let data = format!("{topic}/{round}/{n}");
                        let Some(answer) = publish(&mut socket, topic, &data) else { return };
                        let id = answer.expect("is taken");
                        acknowledged.lock().expect("no panic").push((id, data, *topic, Instant::now()));
                        // All of history is read again after each kill.
                        thread::sleep(Duration::from_millis(1));
                    }
                });
            }
            let reading = scope.spawn(move || std::iter::from_fn(|| reader.next()).collect::<Vec<_>>());
            thread::sleep(pause);
            let killed = Instant::now();
            hub.kill();
            (killed, reading.join().expect("no panic"))
        });
        last = Some(seen.last().map_or(first_new, |event| event.id.clone()));
        known.extend(seen.into_iter().map(|event| (event.id, event.data)));
        let acknowledged = acknowledged.into_inner().expect("no panic");
        known.extend(acknowledged.iter().map(|(id, data, ..)| (id.clone(), data.clone())));
        pending = acknowledged
            .into_iter()
            .map(|(id, data, topic, at)| (id, data, topic, killed.saturating_duration_since(at)))
            .collect();
    }
    assert!(affected > 0, "nothing was ever lost, so nothing was shown");
    eprintln!(
        "killed {rounds} times: {} events there, {affected} acknowledged ones of `interval` and `none` lost and told, the oldest \
         {oldest_lost:?} before its kill (the interval is 50 ms)",
        stored.len()
    );
}
