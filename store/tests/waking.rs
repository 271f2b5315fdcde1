//! Publishers that await the disk without a thread: who writes for them, and who is woken.

mod support;

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::task::{Wake, Waker};
use std::time::Duration;

use fanfare_engine::Draft;
use fanfare_store::{Change, Config, Durability, ErrorKind, Store, Ticket, Topics};
use support::{MemDisk, all, data, draft, open, small};

/// What only a broken store lets a test wait for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Says which publisher is woken.
struct Bell(usize, Sender<usize>);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.1.send(self.0).expect("the test listens");
    }
}

fn submit(store: &Store, data: &str) -> Ticket {
    store.submit(&[draft("t", data)], &[], 0, Durability::Always).expect("is taken")
}

fn bells(count: usize) -> (Vec<Waker>, Receiver<usize>) {
    let (sender, rings) = mpsc::channel();
    ((0..count).map(|number| Waker::from(Arc::new(Bell(number, sender.clone())))).collect(), rings)
}

#[test]
fn a_thread_of_the_store_writes_for_who_only_awaits() {
    let disk = MemDisk::default();
    // Long enough that nothing is written but for who awaits it.
    let config = Config { sync_interval: Duration::from_secs(3600), ..small(Durability::Interval) };
    let store = Store::open_on(Arc::new(disk), "dir".into(), config).expect("opens");
    let answered = store.submit(&[draft("t", "answered")], &[], 0, Durability::Interval).expect("is taken");
    assert_eq!(answered.outcome().map(|outcome| outcome.is_ok()), Some(true));
    let (wakers, rings) = bells(8);
    for round in 0..50 {
        let tickets: Vec<Ticket> =
            (0..8).map(|number| submit(&store, &format!("{round} {number}"))).collect();
        let mut woken = Vec::new();
        for (ticket, waker) in tickets.iter().zip(&wakers) {
            // It may be written with the ones before it.
            if let Some(outcome) = store.poll(ticket, waker) {
                outcome.expect("is stored");
                woken.push(None);
            }
        }
        while woken.len() < 8 {
            let number = rings.recv_timeout(PATIENCE).expect("somebody writes");
            assert!(matches!(store.poll(&tickets[number], &wakers[number]), Some(Ok(()))));
            assert!(!woken.contains(&Some(number)), "{number} is woken once");
            woken.push(Some(number));
        }
    }
    assert_eq!(all(&store, Topics::All).events.len(), 401);
    assert!(rings.try_recv().is_err());
}

#[test]
fn who_waits_and_who_awaits_may_write_for_each_other() {
    let store = open(&MemDisk::default(), Durability::Always).expect("opens");
    let (wakers, rings) = bells(1);
    for _ in 0..100 {
        let (awaited, waited) = (submit(&store, "a"), submit(&store, "b"));
        let open = store.poll(&awaited, &wakers[0]).is_none();
        // The same waker is kept once.
        let still_open = store.poll(&awaited, &wakers[0]).is_none();
        store.wait(&waited).expect("is stored");
        assert!(matches!(awaited.outcome(), Some(Ok(()))), "known of all before");
        if open || still_open {
            assert_eq!(rings.recv_timeout(PATIENCE), Ok(0));
        }
        assert!(rings.try_recv().is_err());
    }
}

#[test]
fn one_write_is_for_all_who_are_there() {
    let store = open(&MemDisk::default(), Durability::Always).expect("opens");
    let tickets: Vec<Ticket> = (0..10).map(|number| submit(&store, &number.to_string())).collect();
    let before = store.stats().timing.writes;
    store.write_if_quick();
    assert_eq!(store.stats().timing.writes, before + 1);
    assert!(tickets.iter().all(|ticket| matches!(ticket.outcome(), Some(Ok(())))));
    store.write_if_quick();
    assert_eq!(store.stats().timing.writes, before + 1, "there is nothing to write");
}

#[test]
fn who_awaits_is_told_of_failures_and_of_what_fails_with_them() {
    let disk = MemDisk::default();
    let store = open(&disk, Durability::Always).expect("opens");
    store.append(&[draft("t", "first")], &[], 0).expect("stored");
    let (wakers, rings) = bells(2);
    let change = Change::Put { table: "h".into(), key: "k".into(), value: "1".into(), until_ms: 0 };
    disk.fail(disk.calls(), u64::MAX, std::io::ErrorKind::StorageFull);
    let ticket = submit(&store, "lost");
    let state = store.submit(&[] as &[Draft<'_>], &[change], 0, Durability::Always).expect("is taken");
    for (number, ticket) in [&ticket, &state].into_iter().enumerate() {
        if store.poll(ticket, &wakers[number]).is_none() {
            assert!(rings.recv_timeout(PATIENCE).is_ok());
        }
    }
    for ticket in [&ticket, &state] {
        let error = store.poll(ticket, &wakers[0]).expect("is known").expect_err("is not stored");
        assert_eq!(error.kind(), ErrorKind::DiskFull, "{error}");
    }
    assert!(store.stats().failing.is_some_and(|error| error.kind() == ErrorKind::DiskFull));
    disk.heal();
    store.append(&[draft("t", "second")], &[], 0).expect("stored again");
    assert!(store.stats().failing.is_none());
    assert_eq!(data(&all(&store, Topics::All).events), ["first", "second"]);
}

#[test]
fn closing_writes_for_who_awaits() {
    let store = open(&MemDisk::default(), Durability::Always).expect("opens");
    let (wakers, rings) = bells(1);
    let ticket = submit(&store, "last");
    let open = store.poll(&ticket, &wakers[0]).is_none();
    store.close().expect("closes");
    assert!(matches!(ticket.outcome(), Some(Ok(()))));
    if open {
        assert_eq!(rings.recv_timeout(PATIENCE), Ok(0));
    }
}
