//! What becomes of deleted topics: on disk, and in what the store remembers of them.

mod support;

use std::path::Path;

use fanfare_store::{Durability, Store, Topics};
use support::{MemDisk, after, all, data, draft, open};

#[test]
fn a_deleted_topic_gives_its_space_back() {
    let disk = MemDisk::default();
    let store = open(&disk, Durability::Os).expect("opens");
    for i in 0..400_u64 {
        let secret = draft("gone", &format!("secret {i} {}", "x".repeat(60))).with_id(format!("own-{i}"));
        store.append(&[secret, draft("kept", &i.to_string())], &[], i).expect("stored");
    }
    let before = store.stats();
    store.delete_topic("gone", 0).expect("deletes");
    assert!(all(&store, Topics::Only(&["gone"])).events.is_empty(), "at once");
    assert!(!all(&store, Topics::Only(&["gone"])).gone.is_empty(), "and is told");
    let given_back = store.compact(0).expect("compacts");
    assert!(given_back > before.bytes / 2 && store.stats().bytes < before.bytes / 2);
    assert_eq!(store.compact(0).expect("compacts"), 0, "nothing is left to do");
    store.append(&[draft("gone", "new")], &[], 0).expect("stored");
    store.flush().expect("flushes");
    for name in disk.names() {
        let bytes = disk.bytes(&name);
        assert!(!bytes.windows(6).any(|part| part == b"secret"), "{} still has it", name.display());
    }
    let check = |store: &Store| {
        let page = all(store, Topics::Only(&["gone"]));
        assert_eq!(data(&page.events), ["new"]);
        assert!(page.gone.first().is_some_and(|(at, _)| *at == 1) && page.gaps.is_empty(), "{page:?}");
        for from in [1, 2, 300, 798] {
            assert!(!after(store, Topics::Only(&["gone", "kept"]), from).gone.is_empty(), "after {from}");
        }
        assert!(after(store, Topics::Only(&["gone", "kept"]), 799).gone.is_empty());
        assert_eq!(all(store, Topics::Only(&["kept"])).events.len(), 400);
        assert_eq!(store.position_of_id(&["gone"], "own-7").expect("looks"), None);
    };
    check(&store);
    store.close().expect("closes");
    let store = open(&disk, Durability::Os).expect("opens again");
    check(&store);
    assert_eq!(store.append(&[draft("gone", "x")], &[], 0).expect("stored"), 802);
}

#[test]
fn topics_deleted_without_end_leave_no_marks_in_the_state() {
    let disk = MemDisk::default();
    let store = open(&disk, Durability::Os).expect("opens");
    let state = || {
        let names = disk.names();
        let newest =
            names.iter().rfind(|name| name.to_string_lossy().contains("state-")).expect("a snapshot");
        disk.bytes(newest).len()
    };
    for round in 0..40_u64 {
        for n in 0..50 {
            let topic = format!("room/{round}/{n}");
            store.append(&[draft(&topic, &"x".repeat(80)), draft("kept", "y")], &[], round).expect("stored");
            store.delete_topic(&topic, round).expect("deletes");
        }
        store.compact(round).expect("compacts");
        // What is not looked at any more is not remembered: the next file begins with a state without it.
        for _ in 0..60 {
            store.append(&[draft("kept", &"y".repeat(80))], &[], round).expect("stored");
        }
        // Deletions since the last look: at most those of this round, of some 60 bytes each.
        assert!(state() < 60 * 60, "{} bytes after round {round}", state());
    }
    store.compact(40).expect("compacts");
    for topic in ["room/0/0", "room/39/49"] {
        let page = all(&store, Topics::Only(&[topic]));
        assert!(
            page.events.is_empty() && page.gone.len() == 1,
            "{topic} is gone, and that is told: {page:?}"
        );
    }
    store.close().expect("closes");
    let store = open(&disk, Durability::Os).expect("opens again");
    assert_eq!(all(&store, Topics::Only(&["room/7/7"])).events, []);
    assert_eq!(all(&store, Topics::Only(&["kept"])).events.len(), 40 * 110);
}

#[test]
fn a_deletion_is_remembered_while_a_damaged_file_has_its_events() {
    let disk = MemDisk::default();
    let store = open(&disk, Durability::Os).expect("opens");
    for _ in 0..200 {
        store.append(&[draft("gone", "secret"), draft("kept", &"y".repeat(40))], &[], 0).expect("stored");
    }
    store.close().expect("closes");
    // A bit of the second file, whose index is made again and names the damage.
    let log = Path::new("d/0000000002.log");
    let mut bytes = disk.bytes(log);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    disk.set(log, &bytes);
    disk.forget(Path::new("d/0000000002.idx"));
    let store = open(&disk, Durability::Os).expect("opens");
    assert_eq!(store.damages().len(), 1);
    store.delete_topic("gone", 0).expect("deletes");
    for now in 0..3 {
        store.compact(now).expect("compacts");
        assert_eq!(all(&store, Topics::Only(&["gone"])).events, [], "look {now}");
    }
    let whole = disk.bytes(log);
    assert!(whole.windows(6).any(|part| part == b"secret"), "the damaged file is not touched");
    store.close().expect("closes");
    let store = open(&disk, Durability::Os).expect("opens again");
    assert_eq!(all(&store, Topics::Only(&["gone"])).events, []);
}
