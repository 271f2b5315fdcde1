//! State of handlers and topics among those who do not wait for each other: what is stored is made of what is stored.

mod support;

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use fanfare_store::{Change, Config, Durability, ErrorKind, Store, Topics};
use support::{MemDisk, all, data, draft, open, small};

fn put(key: &str, value: &str, until_ms: u64) -> Change {
    Change::Put { table: "h".into(), key: key.into(), value: value.into(), until_ms }
}

/// Publishers count in turns, each from the count of the one before, and then wait for the disk together. It fails now
/// and then: history is 1, 2, 3, and so on, each that was answered among them, and the stored count is the last.
#[test]
fn counts_have_no_hole_whatever_fails() {
    for durability in [Durability::Always, Durability::Os] {
        let disk = MemDisk::default();
        let store = open(&disk, durability).expect("opens");
        // The version that it was read at, and the count.
        let copy = Mutex::new((store.state_version(), 0_u64));
        let (answered, done) = (Mutex::new(BTreeMap::new()), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        let mut kept = copy.lock().expect("no panic");
                        if kept.0 != store.state_version() {
                            let (version, table) = store.table("h");
                            let count =
                                table.get("n").map_or(0, |(count, _)| count.parse().expect("a number"));
                            *kept = (version, count);
                        }
                        let next = kept.1 + 1;
                        if store.admit(1, durability).is_err() {
                            continue;
                        }
                        let (event, change) =
                            ([draft("t", &next.to_string())], [put("n", &next.to_string(), 0)]);
                        let taken = store.try_submit_onto(kept.0, &event, &change, 0);
                        let Ok(Some(ticket)) = taken else { continue };
                        kept.1 = next;
                        drop(kept);
                        if store.wait(&ticket).is_ok() {
                            let before = answered.lock().expect("no panic").insert(ticket.first, next);
                            assert_eq!(before, None, "a position twice");
                        }
                    }
                });
            }
            scope.spawn(|| {
                for _ in 0..40 {
                    let now = disk.calls();
                    disk.fail(now + 5, now + 7, io::ErrorKind::StorageFull);
                    while disk.calls() < now + 7 {
                        std::thread::yield_now();
                    }
                }
                disk.heal();
                done.store(true, Ordering::Relaxed);
            });
        });
        let answered = answered.into_inner().expect("no panic");
        assert!(answered.len() > 20, "{}", answered.len());
        assert!(store.state_version() > 0, "nothing ever failed");
        let check = |store: &Store| {
            let events = all(store, Topics::All).events;
            let wrong = (1..).zip(data(&events)).find(|(n, data)| n.to_string() != *data);
            assert_eq!(wrong, None, "{durability:?}, of {} events", events.len());
            for (position, count) in &answered {
                let at =
                    events.binary_search_by_key(position, |event| event.position).expect("it was answered");
                assert_eq!(events[at].draft.data, count.to_string());
            }
            assert_eq!(store.table("h").1["n"].0, events.len().to_string());
        };
        check(&store);
        std::mem::forget(store);
        if durability == Durability::Always {
            check(&open(&disk.after_kill(), durability).expect("opens again"));
        }
    }
}

#[test]
fn a_table_has_what_waits_to_be_written() {
    let store = open(&MemDisk::default(), Durability::None).expect("opens");
    let submit = |changes: &[Change]| {
        let ticket = store.submit(&[], changes, 0, Durability::None).expect("taken");
        assert!(ticket.is_settled_at_once());
    };
    submit(&[put("a", "1", 0), put("b", "2", 7)]);
    store.flush().expect("written");
    let (version, table) = store.table("h");
    submit(&[put("a", "3", 0), Change::Delete { table: "h".into(), key: "b".into() }]);
    assert_eq!(store.table("h"), (version, BTreeMap::from([("a".into(), ("3".into(), 0))])));
    assert_eq!(table, BTreeMap::from([("a".into(), ("1".into(), 0)), ("b".into(), ("2".into(), 7))]));
    assert_eq!(store.table("other"), (version, BTreeMap::new()));
    store.flush().expect("written");
    assert_eq!(store.tables(), [("h".to_owned(), 1, 2)]);
    assert_eq!(store.delete_table("h", 0).expect("deleted"), 1);
    assert_eq!((store.tables(), store.delete_table("h", 0).expect("nothing there")), (Vec::new(), 0));
}

#[test]
fn what_was_made_of_lost_state_is_refused() {
    let disk = MemDisk::default();
    let store = open(&disk, Durability::Always).expect("opens");
    let version = store.state_version();
    let lost = store.submit(&[], &[put("a", "1", 0)], 0, Durability::Always).expect("taken");
    let now = disk.calls();
    disk.fail(now, now + 1, io::ErrorKind::StorageFull);
    assert_eq!(store.wait(&lost).expect_err("the disk is full").kind(), ErrorKind::DiskFull);
    let late = |version| store.try_submit_onto(version, &[draft("t", "x")], &[put("a", "2", 0)], 0);
    let refused = late(version).expect_err("it is of another version");
    assert_eq!(refused.kind(), ErrorKind::Stale);
    assert!(refused.to_string().contains("could not be stored"), "{refused}");
    let (version, table) = store.table("h");
    assert_eq!(table, BTreeMap::new());
    let ticket = late(version).expect("taken").expect("there is room");
    store.wait(&ticket).expect("stored");
    assert_eq!(store.table("h").1["a"].0, "2");
    // Events alone that fail take nobody with them.
    let lost = store.submit(&[draft("t", "y")], &[], 0, Durability::Always).expect("taken");
    let now = disk.calls();
    disk.fail(now, now + 1, io::ErrorKind::StorageFull);
    assert!(store.wait(&lost).is_err());
    assert_eq!(store.state_version(), version);
}

#[test]
fn what_has_passed_its_time_goes() {
    const MINUTE: u64 = 60_000;
    let disk = MemDisk::default();
    let store = open(&disk, Durability::Always).expect("opens");
    let changes = [put("never", "1", 0), put("soon", "2", MINUTE), put("late", "3", 3 * MINUTE)];
    store.append(&[], &changes, 0).expect("stored");
    let keys = |store: &Store| store.table("h").1.into_keys().collect::<Vec<_>>();
    store.retain(MINUTE - 1).expect("retains");
    assert_eq!(keys(&store), ["late", "never", "soon"]);
    store.retain(MINUTE).expect("retains");
    assert_eq!(keys(&store), ["late", "never"]);
    store.append(&[], &[put("at once", "4", 1)], 0).expect("stored");
    store.retain(2 * MINUTE - 1).expect("retains");
    assert_eq!(keys(&store), ["at once", "late", "never"], "looked through once in a minute");
    std::mem::forget(store);
    let store = open(&disk.after_kill(), Durability::Always).expect("opens again");
    store.retain(5 * MINUTE).expect("retains");
    assert_eq!(keys(&store), ["never"]);
    // Given more time before it was looked for.
    store.append(&[], &[put("k", "1", 6 * MINUTE)], 0).expect("stored");
    store.append(&[], &[put("k", "1", 9 * MINUTE)], 0).expect("stored");
    store.retain(7 * MINUTE).expect("retains");
    assert_eq!(keys(&store), ["k", "never"]);
}

/// What is made of state waits for the disk wherever any topic does, whatever topics it is about itself.
#[test]
fn state_is_as_safe_as_the_safest_topic() {
    let rules = |rule: &str| vec![rule.to_owned()];
    for (durability, topics, waits) in [
        (Durability::None, Vec::new(), false),
        (Durability::Interval, rules("safe durability=always"), true),
        (Durability::Always, rules("t durability=none"), true),
    ] {
        let config = Config { topics, ..small(durability) };
        let store = Store::open_on(Arc::new(MemDisk::default()), "d".into(), config).expect("opens");
        let submit = |changes: &[Change]| {
            store.admit(1, durability).expect("room");
            let event = [draft("t", "x")];
            let taken = if changes.is_empty() {
                store.try_submit(&event, changes, 0, store.durability_of("t"))
            } else {
                store.try_submit_onto(store.state_version(), &event, changes, 0)
            };
            !taken.expect("taken").expect("there is room").is_settled_at_once()
        };
        assert_eq!((submit(&[]), submit(&[put("n", "1", 0)])), (false, waits), "{durability}");
    }
}

#[test]
fn closing_and_deleting_add_up_also_before_they_are_written() {
    for (deletes_first, flushes) in [(true, false), (true, true), (false, false), (false, true)] {
        let disk = MemDisk::default();
        let store = open(&disk, Durability::None).expect("opens");
        store.append(&[draft("a", "1"), draft("b", "2")], &[], 0).expect("is taken");
        for deletes in [deletes_first, !deletes_first] {
            let ticket = match deletes {
                true => store.try_delete_topic("a", 0, Durability::None),
                false => store.try_close_topic("a", 0, Durability::None),
            };
            store.wait(&ticket.expect("is taken").expect("has room")).expect("is none of a disk's business");
            if flushes {
                store.flush().expect("flushes");
            }
        }
        let check = |store: &Store| {
            assert_eq!(store.closed_topics(), ["a"], "{deletes_first} {flushes}");
            assert_eq!(data(&all(store, Topics::All).events), ["2"], "{deletes_first} {flushes}");
        };
        store.flush().expect("flushes");
        check(&store);
        store.close().expect("closes");
        let store = open(&disk, Durability::None).expect("opens again");
        check(&store);
        // As the command does, which opens it again.
        store.delete_topic("a", 0).expect("deletes it");
        assert!(store.closed_topics().is_empty());
        store.append(&[draft("a", "3")], &[], 0).expect("is open");
        store.flush().expect("flushes");
        assert_eq!(data(&all(&store, Topics::Only(&["a"])).events), ["3"]);
    }
}
