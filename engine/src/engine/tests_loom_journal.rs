//! Models of an engine with a journal whose disk takes its time.

use std::pin::Pin;
use std::task::{Context, Waker};

use loom::thread;

use super::tests_loom::{drain, put, read_until, seqs, subscribe};
use super::{Engine, PublishError};
use crate::config::Config;
use crate::draft::Draft;
use crate::id::Epoch;
use crate::journal::{
    Journal, JournalError, JournalStats, ReadFrom, ReadRequest, Settlement, StateChanges, StoredPage,
    StoredState, Ticket,
};
use crate::subscription::{LagPolicy, Pulled, Start};
use crate::sync::{
    Arc, Bell, Mutex,
    atomic::{AtomicBool, Ordering},
};
use crate::time::Timestamp;

const NOW: Timestamp = Timestamp(0);

/// A journal whose waiting publishers write for all who wait, as the store's do.
struct Disk(Arc<Mutex<Vec<Arc<Transaction>>>>, Mutex<u64>);

struct Transaction {
    drafts: Vec<Draft<'static>>,
    written: AtomicBool,
    wakers: Mutex<Vec<Waker>>,
    disk: Arc<Mutex<Vec<Arc<Transaction>>>>,
}

impl Settlement for Transaction {
    fn outcome(&self) -> Option<Result<(), JournalError>> {
        self.written.load(Ordering::Acquire).then_some(Ok(()))
    }

    fn wait(&self) -> Result<(), JournalError> {
        write(&self.disk);
        Ok(())
    }

    fn poll(&self, waker: &Waker) -> Option<Result<(), JournalError>> {
        let mut wakers = self.wakers.lock();
        let outcome = self.outcome();
        if outcome.is_none() {
            wakers.push(waker.clone());
        }
        outcome
    }

    fn write_if_quick(&self) {
        write(&self.disk);
    }
}

/// Writes what waits, and wakes who awaits it.
fn write(disk: &Mutex<Vec<Arc<Transaction>>>) {
    let written = disk.lock().clone();
    for transaction in written {
        let mut wakers = transaction.wakers.lock();
        transaction.written.store(true, Ordering::Release);
        let woken = std::mem::take(&mut *wakers);
        drop(wakers);
        woken.into_iter().for_each(Waker::wake);
    }
}

impl Disk {
    fn new() -> Arc<Self> {
        Arc::new(Self(Arc::new(Mutex::new(Vec::new())), Mutex::new(1)))
    }

    fn submit(&self, drafts: Vec<Draft<'static>>) -> Ticket {
        let mut next = self.1.lock();
        let first = *next;
        *next += drafts.len() as u64;
        let written = AtomicBool::new(false);
        let wakers = Mutex::new(Vec::new());
        let transaction = Arc::new(Transaction { drafts, written, wakers, disk: Arc::clone(&self.0) });
        self.0.lock().push(Arc::clone(&transaction));
        Ticket { first, settlement: Some(transaction) }
    }
}

impl Journal for Disk {
    fn epoch(&self) -> Epoch {
        Epoch::from_seed(0)
    }

    fn next_position(&self) -> u64 {
        *self.1.lock()
    }

    fn is_closed(&self, _: &str) -> bool {
        false
    }

    fn is_read_to_end(&self, _: &[&str], _: &ReadFrom, _: bool) -> bool {
        false
    }

    fn admit(&self, _: usize) -> Result<(), JournalError> {
        Ok(())
    }

    fn has_room(&self, _: usize) -> bool {
        true
    }

    fn try_submit(&self, events: &[&Draft<'_>], _: &[StateChanges]) -> Result<Option<Ticket>, JournalError> {
        Ok(Some(self.submit(events.iter().map(|draft| (*draft).clone().into_owned()).collect())))
    }

    fn state(&self, _: &str) -> StoredState {
        StoredState::default()
    }

    fn state_version(&self) -> u64 {
        0
    }

    fn try_close(&self, _: &str) -> Result<Option<Ticket>, JournalError> {
        Ok(Some(self.submit(Vec::new())))
    }

    fn try_delete(&self, _: &str) -> Result<Option<Ticket>, JournalError> {
        Ok(Some(self.submit(Vec::new())))
    }

    fn read(&self, request: ReadRequest) {
        let all = self.0.lock();
        let written = all.iter().filter(|transaction| transaction.written.load(Ordering::Acquire));
        let events: Vec<_> = (1..).zip(written.flat_map(|transaction| transaction.drafts.clone())).collect();
        drop(all);
        let through = events.last().map_or(0, |(seq, _)| *seq);
        request.answer(Ok(StoredPage { events, through, ..StoredPage::default() }));
    }

    fn stats(&self) -> JournalStats {
        JournalStats::default()
    }
}

fn stored_engine(events: u32) -> Engine {
    let mut config = Config::new(Epoch::from_seed(0));
    config.history.events = events;
    Engine::with_journal(config, Disk::new()).expect("a valid configuration")
}

/// Two publishers that wait for the disk: whoever makes what visible, a reader sees both, in order, and is woken.
#[test]
fn loom_what_waits_for_the_disk_comes_in_order() {
    loom::model(|| {
        let engine = stored_engine(4);
        let reader = subscribe(&engine, Start::Live, LagPolicy::Disconnect);
        let publishers = ["a", "b"].map(|data| {
            let engine = engine.clone();
            thread::spawn(move || put(&engine, data))
        });
        let frames = read_until(&reader, |frames, _| frames.len() >= 2);
        assert_eq!(seqs(&frames), [1, 2]);
        for publisher in publishers {
            publisher.join().expect("no panic");
        }
        drop(reader);
    });
}

/// Of one publisher that awaits the disk and one that leaves, and a disk that writes at some time: what waits is seen by the reader, who
/// is woken, and the one who awaits is woken too.
#[test]
fn loom_who_awaits_the_disk_is_woken() {
    loom::model(|| {
        let engine = stored_engine(4);
        let reader = subscribe(&engine, Start::Live, LagPolicy::Disconnect);
        let start = || engine.start_publish(Draft::new("t", "x"), NOW).expect("is taken");
        let (mut awaited, left) = (start(), start());
        let disk = {
            let engine = engine.clone();
            // Whoever waits writes for all.
            thread::spawn(move || put(&engine, "last"))
        };
        drop(left);
        let bell = Bell::new();
        let waker = Waker::from(Arc::clone(&bell));
        while Pin::new(&mut awaited).poll(&mut Context::from_waker(&waker)).is_pending() {
            bell.wait();
        }
        let frames = read_until(&reader, |frames, _| frames.len() >= 3);
        assert_eq!(seqs(&frames), [1, 2, 3]);
        disk.join().expect("no panic");
        drop(reader);
    });
}

/// A ring of one event: what a resuming reader does not find there comes from the journal, without hole or double.
#[test]
fn loom_the_seam_of_the_journal() {
    loom::model(|| {
        let engine = stored_engine(1);
        put(&engine, "a");
        put(&engine, "b");
        let publisher = {
            let engine = engine.clone();
            thread::spawn(move || put(&engine, "c"))
        };
        let start = Start::After(engine.id_of(0).to_string().into());
        let reader = subscribe(&engine, start, LagPolicy::Disconnect);
        let frames = read_until(&reader, |frames, _| frames.len() >= 3);
        assert_eq!(seqs(&frames), [1, 2, 3]);
        assert!(frames.iter().all(|frame| !frame.is_gap()));
        publisher.join().expect("no panic");
        drop(reader);
    });
}

/// Closing while somebody publishes: the event is before the end, or refused.
#[test]
fn loom_closing_waits_for_the_disk() {
    loom::model(|| {
        let engine = stored_engine(4);
        let reader = subscribe(&engine, Start::Live, LagPolicy::Disconnect);
        let publisher = {
            let engine = engine.clone();
            thread::spawn(move || engine.publish(Draft::new("t", "x"), NOW).map(|done| done.seq))
        };
        assert_eq!(engine.close_topic("t", NOW), Ok(true));
        let published = publisher.join().expect("no panic");
        let mut frames = Vec::new();
        assert_eq!(drain(&reader, &mut frames), Pulled::Ended);
        match published {
            Ok(seq) => assert_eq!(seqs(&frames), [seq]),
            Err(error) => assert_eq!((error, frames.len()), (PublishError::TopicClosed, 0)),
        }
    });
}
