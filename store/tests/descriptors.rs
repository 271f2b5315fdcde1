//! No descriptors left: the call that needs one says so and names the file, nothing is lost, and when there are some again it goes on.

mod support;

use std::path::Path;

use fanfare_store::{Durability, Error, ErrorKind, Topics};
use support::{Fault, MemDisk, all, data, draft, open};

/// That an error is about descriptors, and a file of this name.
fn names(error: &Error, file: &str) {
    assert_eq!((error.kind(), error.file()), (ErrorKind::NoDescriptors, Path::new("d").join(file).as_path()));
    let text = error.to_string();
    assert!(text.starts_with(&format!("d/{file}: ")) && text.contains("Too many open files"), "{text}");
}

#[test]
fn opening_says_which_file_and_works_when_there_are_some_again() {
    let disk = MemDisk::default();
    let store = open(&disk, Durability::Always).expect("opens");
    for n in 0..100 {
        store.append(&[draft("t", &n.to_string())], &[], 0).expect("stored");
    }
    store.close().expect("closes");
    disk.set_no_descriptors(true);
    names(&open(&disk, Durability::Always).err().expect("there are none"), "LOCK");
    disk.set_no_descriptors(false);
    // Wherever in opening they run out.
    let image = disk.after_kill();
    drop(open(&image, Durability::Always).expect("opens"));
    let calls = image.calls();
    let mut failed = 0;
    for call in 0..calls {
        let image = disk.after_kill();
        image.fail(call, u64::MAX, Fault::NoDescriptors);
        if let Err(error) = open(&image, Durability::Always) {
            assert_eq!(error.kind(), ErrorKind::NoDescriptors, "call {call}: {error}");
            assert!(error.file().starts_with("d"), "call {call}: {error}");
            failed += 1;
        }
        image.heal();
        let store = open(&image, Durability::Always).expect("opens when there are some again");
        assert_eq!(all(&store, Topics::All).events.len(), 100, "call {call}");
    }
    assert!(failed > 5, "{failed} of {calls}");
}

#[test]
fn a_file_that_cannot_be_begun_refuses_publishers_until_it_can() {
    let disk = MemDisk::default();
    let store = open(&disk, Durability::Always).expect("opens");
    let mut stored = Vec::new();
    let publish = |n: usize| {
        let data = format!("{n} {}", "x".repeat(100));
        store.append(&[draft("t", &data)], &[], 0).map(|_| data)
    };
    disk.set_no_descriptors(true);
    let refused = loop {
        match publish(stored.len()) {
            Ok(data) => stored.push(data),
            Err(refused) => break refused,
        }
        assert!(stored.len() < 1_000, "no file is ever full");
    };
    // What is open is written to its end; ending it takes another file, that of its index.
    assert!(stored.len() > 10, "{}", stored.len());
    names(&refused, "0000000001.idx");
    for _ in 0..3 {
        names(&publish(0).expect_err("there are still none"), "0000000001.idx");
    }
    assert_eq!(store.stats().failing.map(|error| error.kind()), Some(ErrorKind::NoDescriptors));
    disk.set_no_descriptors(false);
    for _ in 0..50 {
        stored.push(publish(stored.len()).expect("there are some again"));
    }
    assert_eq!(store.stats().failing.map(|error| error.to_string()), None);
    assert_eq!(data(&all(&store, Topics::Only(&["t"])).events), stored);
    std::mem::forget(store);
    let store = open(&disk.after_kill(), Durability::Always).expect("opens");
    assert_eq!(data(&all(&store, Topics::Only(&["t"])).events), stored);
}

#[test]
fn what_cannot_be_read_or_written_anew_is_so_later() {
    let disk = MemDisk::default();
    let store = open(&disk, Durability::Always).expect("opens");
    for n in 0..200 {
        store.append(&[draft("gone", "secret"), draft("t", &n.to_string())], &[], 0).expect("stored");
    }
    store.delete_topic("gone", 0).expect("deletes");
    disk.set_no_descriptors(true);
    let error = store.compact(0).expect_err("it needs files");
    assert_eq!(error.kind(), ErrorKind::NoDescriptors);
    assert!(error.file().starts_with("d"), "{error}");
    let limits = fanfare_store::PageLimits { events: 10, bytes: 1 << 20 };
    let error = store.page(Topics::Only(&["t"]), 0, limits).expect_err("it needs a file");
    names(&error, "0000000001.log");
    store.append(&[draft("t", "200")], &[], 0).expect("what is open is written");
    disk.set_no_descriptors(false);
    assert!(store.compact(0).expect("there are some again") > 0);
    let expected: Vec<String> = (0..=200).map(|n: u64| n.to_string()).collect();
    assert_eq!(data(&all(&store, Topics::Only(&["t"])).events), expected);
    let page = all(&store, Topics::Only(&["gone"]));
    assert!(page.events.is_empty() && !page.gone.is_empty());
    for name in disk.names() {
        assert!(!disk.bytes(&name).windows(6).any(|part| part == b"secret"), "{}", name.display());
    }
}
