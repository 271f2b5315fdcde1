//! Every call failing, power lost after every call, bytes cut and bits flipped: what was answered is there or told.

mod support;

use std::io;
use std::path::{Path, PathBuf};

use fanfare_store::{Change, Durability, ErrorKind, GapCause, Topics};
use support::{Fault, MemDisk, PowerLoss, all, data, draft, open};

/// Publishes until the disk fails or the work is done; what was answered well, and every position that was given out.
fn work(disk: &MemDisk, durability: Durability) -> (Vec<u64>, u64) {
    let (mut answered, mut highest) = (Vec::new(), 0);
    let Ok(store) = open(disk, durability) else { return (answered, highest) };
    for i in 0..60_u64 {
        if i % 20 == 19 {
            // Files are written anew in between, without what was published here.
            let _ = store.append(&[draft("gone", "x")], &[], i).map(|at| highest = at);
            let _ = store.delete_topic("gone", i).and_then(|()| store.compact(i));
        }
        let events = [draft("a", &"x".repeat(150)), draft("b", &i.to_string())];
        let tally = Change::Put { table: "h".into(), key: "n".into(), value: i.to_string(), until_ms: 0 };
        let Ok(ticket) = store.submit(&events, &[tally], i, durability) else { continue };
        let first = ticket.first;
        highest = first + 1;
        if store.wait(&ticket).is_ok() {
            answered.extend([first, first + 1]);
        }
    }
    // As a process that is killed: nothing is closed.
    std::mem::forget(store);
    (answered, highest)
}

/// Opens and compares: each answered event once and in order, others whole or absent, positions never given out twice.
fn verify(disk: &MemDisk, answered: &[u64], highest: u64, what: &str) {
    let store = open(disk, Durability::Always).unwrap_or_else(|error| panic!("{what}: {error}"));
    let page = all(&store, Topics::All);
    let positions: Vec<u64> = page.events.iter().map(|event| event.position).collect();
    assert!(positions.is_sorted_by(|a, b| a < b), "{what}: {positions:?}");
    let lost: Vec<_> = answered.iter().filter(|at| positions.binary_search(at).is_err()).collect();
    assert!(lost.is_empty(), "{what}: lost {lost:?}");
    let (a, b) = (all(&store, Topics::Only(&["a"])), all(&store, Topics::Only(&["b"])));
    assert_eq!(a.events.len(), b.events.len(), "{what}: half a transaction");
    // State is of the same transaction as the last event.
    let tally = store.table("h").1.get("n").map(|(value, _)| value.clone());
    assert_eq!(tally.as_deref(), b.events.last().map(|event| &*event.draft.data), "{what}");
    let next = store.append(&[draft("a", "new")], &[], 0).expect("stored");
    assert!(next > highest, "{what}: {next} was given out before ({highest})");
    assert_eq!(all(&store, Topics::All).events.len(), positions.len() + 1, "{what}");
}

#[test]
fn any_call_may_fail_once() {
    let clean = MemDisk::default();
    assert_eq!(work(&clean, Durability::Always).0.len(), 120);
    for call in 0..clean.calls() {
        let full = Fault::Kind(io::ErrorKind::StorageFull);
        for fault in [full, Fault::Kind(io::ErrorKind::Other), Fault::NoDescriptors] {
            let disk = MemDisk::default();
            disk.fail(call, call + 1, fault);
            let (answered, highest) = work(&disk, Durability::Always);
            disk.heal();
            let what = format!("call {call} failed with {fault:?}");
            let after_open = highest > 0;
            assert!(!after_open || answered.len() >= 100, "{what}: it did not go on: {}", answered.len());
            verify(&disk.after_kill(), &answered, highest, &what);
            let loss = PowerLoss { steps: 0, torn: 0, names: false };
            verify(&disk.after(loss), &answered, highest, &format!("{what}, then power loss"));
        }
    }
}

#[test]
fn power_may_go_after_any_call() {
    let clean = MemDisk::default();
    work(&clean, Durability::Always);
    for call in 0..clean.calls() {
        let disk = MemDisk::default();
        disk.fail(call, u64::MAX, io::ErrorKind::Other);
        let (answered, highest) = work(&disk, Durability::Always);
        disk.heal();
        for names in [false, true] {
            for (steps, torn) in
                [(0, 0), (0, 1), (0, 27), (0, 29), (0, 200), (1, 0), (1, 60), (usize::MAX, 0)]
            {
                let loss = PowerLoss { steps, torn, names };
                verify(&disk.after(loss), &answered, highest, &format!("call {call}, {loss:?}"));
            }
        }
    }
}

#[test]
fn the_last_write_may_be_torn_at_every_byte() {
    let disk = MemDisk::default();
    let store = open(&disk, Durability::Always).expect("opens");
    store.append(&[draft("a", "kept"), draft("b", "0")], &[], 0).expect("stored");
    let os = store.submit(&[draft("a", "torn"), draft("b", "1")], &[], 0, Durability::Os).expect("taken");
    store.wait(&os).expect("written");
    let len = disk.bytes(Path::new("d/0000000001.log")).len();
    std::mem::forget(store);
    for torn in 0..=len {
        let image = disk.after(PowerLoss { steps: 0, torn, names: true });
        let store = open(&image, Durability::Always).expect("opens");
        let kept = all(&store, Topics::All).events;
        assert!(
            data(&kept) == ["kept", "0"] || data(&kept) == ["kept", "0", "torn", "1"],
            "{torn}: {kept:?}"
        );
        let damages = store.damages();
        assert!(
            damages.len() <= 1 && damages.iter().all(|damage| damage.offset + damage.bytes <= len as u64)
        );
    }
}

/// A disk of a store that was closed well, with one file of the log, and where its records begin.
fn closed(events: u64) -> (MemDisk, PathBuf) {
    let disk = MemDisk::default();
    let store = open(&disk, Durability::Always).expect("opens");
    for i in 0..events {
        store.append(&[draft("t", &i.to_string())], &[], 0).expect("stored");
    }
    store.close().expect("closes");
    (disk, PathBuf::from("d/0000000001.log"))
}

#[test]
fn a_file_cut_at_any_length_is_named_and_told() {
    let (disk, log) = closed(20);
    let whole = disk.bytes(&log);
    for len in 0..whole.len() {
        let disk = disk.after_kill();
        disk.set(&log, &whole[..len]);
        let store = open(&disk, Durability::Always).expect("opens");
        let page = all(&store, Topics::Only(&["t"]));
        let have = page.events.len() as u64;
        assert!(page.events.iter().map(|event| event.position).eq(1..=have), "{len}");
        assert!(have < 20, "{len}");
        assert!(store.append(&[draft("t", "new")], &[], 0).expect("stored") > 20);
        let page = all(&store, Topics::Only(&["t"]));
        let told = page.gaps.iter().any(|gap| gap.first == have + 1 && gap.last >= 20);
        assert!(told, "cut at {len}: {:?}", page.gaps);
    }
}

#[test]
fn a_flipped_bit_anywhere_costs_one_transaction_and_is_told() {
    let (disk, log) = closed(20);
    let whole = disk.bytes(&log);
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        let disk = disk.after_kill();
        disk.set(&log, &bytes);
        let store = open(&disk, Durability::Always).unwrap_or_else(|error| {
            assert_eq!(error.kind(), ErrorKind::NewerVersion, "{error}");
            panic!("a flipped bit passed for a version");
        });
        let page = all(&store, Topics::All);
        assert!(page.events.len() >= 19, "byte {at}: {} events", page.events.len());
        let damages = store.damages();
        assert_eq!(damages.len(), 1, "byte {at}: {damages:?}");
        assert_eq!(damages[0].file, log);
        assert!((damages[0].offset..=damages[0].offset + damages[0].bytes).contains(&(at as u64)), "{at}");
        if page.events.len() == 19 {
            let lost = (1..=20).find(|i| page.events.iter().all(|event| event.position != *i));
            let told = page.gaps.iter().any(|gap| Some(gap.first) == lost && gap.cause == GapCause::Damaged);
            assert!(told, "byte {at}: {:?}", page.gaps);
        }
        // Nothing was deleted.
        assert_eq!(disk.bytes(&log), bytes);
    }
}

#[test]
fn damage_in_a_full_file_is_found_when_it_is_read_and_by_the_check() {
    let (disk, log) = closed(300);
    let whole = disk.bytes(&log);
    for at in (60..whole.len()).step_by(13) {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        let disk = disk.after_kill();
        disk.set(&log, &bytes);
        let store = open(&disk, Durability::Always).expect("opens");
        for topics in [Topics::All, Topics::Only(&["t"])] {
            let page = all(&store, topics);
            assert_eq!(page.events.len(), 299, "byte {at}");
            assert!(page.gaps.len() == 1 && page.gaps[0].cause == GapCause::Damaged, "{:?}", page.gaps);
        }
        let report = store.check().expect("checks");
        assert!(report.damages.len() == 1 && report.damages[0].positions.is_some(), "{report:?}");
    }
}

#[test]
fn a_damaged_or_missing_index_is_made_again() {
    let (disk, _) = closed(300);
    let index = Path::new("d/0000000001.idx");
    let whole = disk.bytes(index);
    for at in (0..whole.len()).step_by(11) {
        let mut bytes = whole.clone();
        bytes[at] ^= 16;
        let disk = disk.after_kill();
        disk.set(index, &bytes);
        let store = open(&disk, Durability::Always).expect("opens");
        assert_eq!(all(&store, Topics::Only(&["t"])).events.len(), 300, "byte {at}");
    }
    disk.forget(index);
    let store = open(&disk, Durability::Always).expect("opens");
    assert_eq!(all(&store, Topics::Only(&["t"])).events.len(), 300);
    assert_eq!(store.check().expect("checks").bad_indexes, 0);
}

#[test]
fn a_missing_file_is_a_gap() {
    let (disk, _) = closed(400);
    disk.forget(Path::new("d/0000000002.log"));
    let store = open(&disk, Durability::Always).expect("opens");
    let page = all(&store, Topics::Only(&["t"]));
    assert_eq!(page.gaps.len(), 1, "{:?}", page.gaps);
    let missing = page.gaps[0].last - page.gaps[0].first + 1;
    assert_eq!((page.events.len() as u64 + missing, page.gaps[0].cause), (400, GapCause::Damaged));
}

#[test]
fn a_lost_tail_of_a_weak_store_is_told_to_all_before_it() {
    let disk = MemDisk::default();
    let store = open(&disk, Durability::None).expect("opens");
    store.append(&[draft("t", "kept")], &[], 0).expect("taken");
    store.flush().expect("synced");
    store.append(&[draft("t", "lost")], &[], 0).expect("taken");
    let image = disk.after(PowerLoss { steps: 0, torn: 0, names: false });
    std::mem::forget(store);
    let store = open(&image, Durability::None).expect("opens");
    let next = store.append(&[draft("t", "new")], &[], 0).expect("taken");
    store.flush().expect("synced");
    for position in [1, 2] {
        let page = support::after(&store, Topics::Only(&["t"]), position);
        assert_eq!(data(&page.events), ["new"]);
        assert_eq!(page.gaps.len(), 1, "after {position}: {page:?}");
        assert_eq!((page.gaps[0].last + 1, page.gaps[0].cause), (next, GapCause::Unsynced));
    }
}

#[test]
fn each_failure_has_its_kind_and_file() {
    for (fault, kind) in [
        (io::ErrorKind::StorageFull.into(), ErrorKind::DiskFull),
        (io::ErrorKind::ReadOnlyFilesystem.into(), ErrorKind::ReadOnly),
        (io::ErrorKind::PermissionDenied.into(), ErrorKind::Permission),
        (io::ErrorKind::Other.into(), ErrorKind::Io),
        (Fault::NoDescriptors, ErrorKind::NoDescriptors),
    ] {
        let disk = MemDisk::default();
        let store = open(&disk, Durability::Always).expect("opens");
        disk.fail(0, u64::MAX, fault);
        let error = store.append(&[draft("t", "x")], &[], 0).expect_err("the disk fails");
        assert_eq!((error.kind(), error.file()), (kind, Path::new("d/0000000001.log")));
        disk.heal();
        assert_eq!(store.append(&[draft("t", "x")], &[], 0).expect("the disk works again"), 2);
        store.close().expect("closes");
        disk.fail(0, u64::MAX, fault);
        let error = open(&disk, Durability::Always).err().expect("the disk fails");
        assert!(error.kind() == kind && error.file().starts_with("d"), "{error}");
        disk.heal();
        assert_eq!(all(&open(&disk, Durability::Always).expect("opens"), Topics::All).events.len(), 1);
    }
}

#[test]
fn damaged_and_newer_meta_are_refused() {
    let (disk, _) = closed(1);
    let meta = Path::new("d/META");
    let text = String::from_utf8(disk.bytes(meta)).expect("text");
    for (bad, kind) in [
        (text.replace("store 1", "store 2"), ErrorKind::NewerVersion),
        (text.replace("reserved 1", "reserved 2"), ErrorKind::Corrupt),
        (text[..text.len() / 2].to_owned(), ErrorKind::Corrupt),
        (String::new(), ErrorKind::Corrupt),
    ] {
        disk.set(meta, bad.as_bytes());
        let error = open(&disk, Durability::Always).err().expect("it is refused");
        assert_eq!((error.kind(), error.file()), (kind, meta), "{error}");
    }
    disk.forget(meta);
    assert_eq!(open(&disk, Durability::Always).err().expect("refused").kind(), ErrorKind::Corrupt);
}

#[test]
fn a_failed_sync_ends_the_file() {
    let disk = MemDisk::default();
    let store = open(&disk, Durability::Always).expect("opens");
    store.append(&[draft("t", "kept")], &[], 0).expect("stored");
    // One call writes the record, the next syncs it.
    let call = disk.calls() + 1;
    disk.fail(call, call + 1, io::ErrorKind::Other);
    let error = store.append(&[draft("t", "refused")], &[], 0).expect_err("the sync fails");
    assert!(error.to_string().contains("cannot sync"), "{error}");
    let next = store.append(&[draft("t", "new")], &[], 0).expect("stored");
    assert!(disk.names().contains(&PathBuf::from("d/0000000002.log")), "{:?}", disk.names());
    std::mem::forget(store);
    let store = open(&disk.after_kill(), Durability::Always).expect("opens");
    let page = all(&store, Topics::All);
    assert_eq!((data(&page.events), page.events[1].position), (vec!["kept", "new"], next));
}
