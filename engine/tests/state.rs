//! What handlers keep: it changes with the events that changed it, or not at all.
#![cfg(not(loom))]

#[path = "support/journal.rs"]
mod journal;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use fanfare_engine::{
    Code, Draft, Engine, Fault, Handler, HandlerSpec, Journal, OnFault, OpenState, PublishError, Start,
    StateChanges, StateValue, SubscribeError, Timestamp, TopicPattern, Turn, Verdict, Visitor, Welcome,
};
use journal::Memory;
use parking_lot::{Condvar, Mutex};
use support::*;

/// A counter, in memory and in a journal.
#[derive(Default)]
struct Kept {
    count: u64,
    version: u64,
    taken: bool,
}

/// The counter, and who waits for it.
#[derive(Default)]
struct Keeper(Mutex<Kept>, Condvar);

impl Keeper {
    fn count(&self) -> u64 {
        self.0.lock().count
    }
}

/// The counter while somebody has it.
struct Open {
    keeper: Arc<Keeper>,
    before: u64,
    committed: bool,
}

impl OpenState for Open {
    fn changes(&self) -> Option<StateChanges> {
        let kept = self.keeper.0.lock();
        let value = StateValue { text: kept.count.to_string().into(), until_ms: None };
        let changes = vec![("count".into(), Some(value))];
        let version = kept.version;
        (kept.count != self.before).then(|| StateChanges { name: "count".into(), version, changes })
    }

    fn commit(mut self: Box<Self>) {
        self.committed = true;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut kept = self.keeper.0.lock();
        kept.taken = false;
        if !self.committed {
            kept.count = self.before;
        }
        self.keeper.1.notify_one();
    }
}

/// Counts events, readers and ticks, and does with each what its data says.
#[derive(Default)]
struct Counter {
    keeper: Arc<Keeper>,
    journal: Option<Memory>,
    opened: Arc<AtomicUsize>,
}

impl Counter {
    fn next(&self, turn: &mut Turn) -> u64 {
        let open = || {
            self.opened.fetch_add(1, Ordering::Relaxed);
            let mut kept = self.keeper.0.lock();
            while std::mem::replace(&mut kept.taken, true) {
                self.keeper.1.wait(&mut kept);
            }
            if let Some(journal) = &self.journal
                && journal.state_version() != kept.version
            {
                let state = journal.state("count");
                kept.version = state.version;
                let count = state.entries.first();
                kept.count = count.map_or(0, |(_, value)| value.text.parse().expect("a number"));
            }
            Open { before: kept.count, keeper: Arc::clone(&self.keeper), committed: false }
        };
        let open = turn.get_or_open(open).expect("a counter's");
        let mut kept = open.keeper.0.lock();
        kept.count += 1;
        kept.count
    }
}

impl Handler for Counter {
    fn handle(&self, event: &Draft<'_>, _: Timestamp, turn: &mut Turn) -> Result<Verdict, Fault> {
        if event.data == "pass" {
            return Ok(Verdict::Pass);
        }
        let count = self.next(turn);
        match &*event.data {
            "drop" => Ok(Verdict::Drop),
            "refuse" => Ok(Verdict::Refuse("no".into())),
            "fault" => Err(Fault("broken".into())),
            "bad" => Ok(Verdict::Emit(vec![Draft::new("a\nb", "x")])),
            _ => Ok(Verdict::Emit(vec![Draft::new(event.topic.to_string(), count.to_string())])),
        }
    }

    fn welcomes(&self) -> bool {
        true
    }

    fn welcome(&self, visitor: &Visitor<'_>, _: Timestamp, turn: &mut Turn) -> Result<Welcome, Fault> {
        match visitor.client {
            None => Ok(Welcome::Admit),
            Some(client) => {
                let count = self.next(turn).to_string();
                Ok(match client {
                    "silent" => Welcome::Admit,
                    "refused" => Welcome::Refuse("no".into()),
                    _ => Welcome::Greet(vec![Draft::new(visitor.topics[0].to_owned(), count)]),
                })
            }
        }
    }

    fn tick(&self, _: Timestamp, turn: &mut Turn) -> Result<Vec<Draft<'static>>, Fault> {
        self.next(turn);
        Ok(Vec::new())
    }
}

/// The counter that an engine counts with, and how often it was opened.
fn count(engine: &Engine, journal: Option<&Memory>) -> (Arc<Keeper>, Arc<AtomicUsize>) {
    let handler = Counter { journal: journal.cloned(), ..Counter::default() };
    if let Some(journal) = journal {
        let mut kept = handler.keeper.0.lock();
        kept.version = journal.state_version();
        kept.count = journal.value("count", "count").map_or(0, |count| count.parse().expect("a number"));
    }
    let (keeper, opened) = (Arc::clone(&handler.keeper), Arc::clone(&handler.opened));
    engine.add_handler(HandlerSpec {
        name: "h".into(),
        topics: TopicPattern::parse("t*"),
        events: Box::default(),
        on_fault: OnFault::Closed,
        handler: Arc::new(handler),
    });
    (keeper, opened)
}

/// Refuses what it is told to, behind the counter.
struct Picky;

impl Handler for Picky {
    fn handle(&self, event: &Draft<'_>, _: Timestamp, _: &mut Turn) -> Result<Verdict, Fault> {
        Ok(if event.data == "3" { Verdict::Refuse("not 3".into()) } else { Verdict::Pass })
    }
}

fn visit(engine: &Engine, client: &'static str) -> Result<Vec<String>, SubscribeError> {
    let watcher = engine.watcher();
    let reader = engine.subscribe_as(&watcher, &options(&["t"], Start::Live), Some(client), NOW)?;
    let greeting = reader.take_greeting();
    Ok(greeting.iter().map(|frame| String::from_utf8_lossy(frame.wire()).into_owned()).collect())
}

fn all_of(engine: &Engine, kept: &Keeper, stored: &dyn Fn() -> Option<String>) {
    let counts = |memory: u64| {
        assert_eq!(kept.count(), memory);
        if let Some(stored) = stored() {
            assert_eq!(stored, memory.to_string(), "what is stored is what is in memory");
        }
    };
    put(engine, "t", "x");
    counts(1);
    for (data, code) in
        [("refuse", Code::HandlerRefused), ("fault", Code::HandlerFailed), ("bad", Code::InvalidTopic)]
    {
        assert_eq!(engine.publish(Draft::new("t", data), NOW).expect_err("refused").code(), code);
        let batch = vec![Draft::new("t", "x"), Draft::new("t1", "x"), Draft::new("t", data)];
        assert_eq!(engine.publish_batch(batch, NOW).expect_err("refused").error.code(), code);
        counts(1);
    }
    engine.close_topic("t9", NOW).expect("closed");
    assert_eq!(engine.publish(Draft::new("t9", "x"), NOW), Err(PublishError::TopicClosed));
    counts(1);
    assert_eq!(engine.publish(Draft::new("t", "drop"), NOW).expect("taken").events, 0);
    counts(2);
    let batch = vec![Draft::new("t", "x"), Draft::new("t1", "drop"), Draft::new("other", "x")];
    assert_eq!(
        engine.publish_batch(batch, NOW).expect("taken").iter().map(|one| one.events).sum::<usize>(),
        2
    );
    counts(4);
    assert_eq!(engine.tick_handler("h", NOW), Ok(0));
    counts(5);
    assert_eq!(visit(engine, "silent"), Ok(Vec::new()));
    counts(6);
    assert!(visit(engine, "greeted").expect("admitted")[0].contains("data: 7\n"));
    counts(7);
    assert_eq!(visit(engine, "refused").expect_err("refused").code(), Code::HandlerRefused);
    counts(7);
    assert_eq!(read(engine, &["t", "t1", "t9"], Start::All), ["1", "3"]);
}

#[test]
fn it_changes_with_its_events_or_not_at_all() {
    let engine = keeping(100);
    let (kept, _) = count(&engine, None);
    all_of(&engine, &kept, &|| None);
    let memory = Memory::new();
    let engine = memory.engine(100);
    let (kept, _) = count(&engine, Some(&memory));
    all_of(&engine, &kept, &|| memory.value("count", "count"));
    // A restart.
    let engine = memory.engine(100);
    count(&engine, Some(&memory));
    put(&engine, "t", "x");
    assert_eq!(read(&engine, &["t"], Start::Last(1)), ["8"]);
}

#[test]
fn a_handler_behind_may_refuse_it() {
    let memory = Memory::new();
    let engine = memory.engine(100);
    let (kept, _) = count(&engine, Some(&memory));
    engine.add_handler(HandlerSpec {
        name: "picky".into(),
        topics: TopicPattern::parse("t"),
        events: Box::default(),
        on_fault: OnFault::Closed,
        handler: Arc::new(Picky),
    });
    for n in 0..5 {
        assert_eq!(engine.publish(Draft::new("t", "x"), NOW).is_ok(), n < 2);
    }
    assert_eq!((kept.count(), memory.value("count", "count").as_deref()), (2, Some("2")));
    put(&engine, "t1", "x");
    put(&engine, "t", "x");
    assert_eq!(memory.value("count", "count").as_deref(), Some("4"));
}

#[test]
fn who_does_not_touch_it_does_not_open_it() {
    let memory = Memory::new();
    let engine = memory.engine(100);
    let (_, opened) = count(&engine, Some(&memory));
    put(&engine, "t", "pass");
    put(&engine, "other", "x");
    drop(Reader::new(&engine, &["t"], Start::Live));
    assert_eq!(opened.load(Ordering::Relaxed), 0);
    engine.publish_batch(vec![Draft::new("t", "x"), Draft::new("t1", "x")], NOW).expect("taken");
    assert_eq!(opened.load(Ordering::Relaxed), 1, "once for a publish");
    put(&engine, "t", "pass");
    assert_eq!(memory.value("count", "count").as_deref(), Some("2"));
}

/// Counts of different topics are counts of one state: none is lost, and the last one committed is the highest.
#[test]
fn topics_share_it() {
    let memory = Memory::new();
    let engine = memory.engine(100_000);
    count(&engine, Some(&memory));
    thread::scope(|scope| {
        for topic in ["t1", "t2", "t3", "t4"] {
            let engine = &engine;
            scope.spawn(move || {
                for n in 0..1_000 {
                    // Every third is refused behind, which nobody must notice.
                    let data = if n % 3 == 0 { "bad" } else { "x" };
                    assert_eq!(engine.publish(Draft::new(topic, data), NOW).is_ok(), data == "x");
                }
            });
        }
    });
    let counts = read(&engine, &["t1", "t2", "t3", "t4"], Start::All);
    assert_eq!(counts, (1..=4 * 666).map(|n: u32| n.to_string()).collect::<Vec<_>>());
    assert_eq!(memory.value("count", "count"), counts.last().cloned());
}

#[test]
fn what_the_disk_does_not_take_does_not_count() {
    let memory = Memory::new();
    let engine = memory.engine(100);
    let (kept, _) = count(&engine, Some(&memory));
    put(&engine, "t", "x");
    memory.refuse(Some("it is full"));
    assert!(matches!(engine.publish(Draft::new("t", "x"), NOW), Err(PublishError::NotStored { .. })));
    assert!(matches!(engine.publish(Draft::new("t", "drop"), NOW), Err(PublishError::NotStored { .. })));
    assert!(matches!(engine.tick_handler("h", NOW), Err(PublishError::NotStored { .. })));
    let refused = visit(&engine, "greeted").expect_err("refused");
    assert_eq!(refused.to_string(), "handler count failed: its state could not be stored: it is full");
    assert_eq!(refused.code(), Code::HandlerFailed);
    assert_eq!(engine.topic_stats(1)[0].subscribers, 0);
    memory.refuse(None);
    assert_eq!(kept.count(), 1);
    put(&engine, "t", "x");
    assert_eq!(memory.value("count", "count").as_deref(), Some("2"));
}

/// The first of three that wait for the disk is lost: those who have counted on from it are lost with it, and who has not
/// is not.
#[test]
fn what_builds_on_what_was_lost_is_lost() {
    let memory = Memory::new();
    let engine = memory.engine(100);
    let (kept, _) = count(&engine, Some(&memory));
    put(&engine, "t", "x");
    memory.wait_for_disk();
    thread::scope(|scope| {
        let publish = |topic: &'static str, data: &'static str| {
            let engine = &engine;
            scope
                .spawn(move || engine.publish(Draft::new(topic, data), NOW).map(|published| published.events))
        };
        let mut waiting = Vec::new();
        for (at, (topic, data)) in
            [("t", "x"), ("t", "drop"), ("t", "pass"), ("t1", "x"), ("other", "x")].into_iter().enumerate()
        {
            waiting.push(publish(topic, data));
            memory.until_waiting(at + 1);
        }
        assert_eq!(kept.count(), 4, "they went on before the disk had answered");
        memory.settle(1, Err("torn"));
        memory.settle(2, Ok(()));
        let ended: Vec<_> = waiting.into_iter().map(|one| one.join().expect("no panic").ok()).collect();
        assert_eq!(ended, [None, None, Some(1), None, Some(1)]);
        let next = publish("t", "x");
        memory.until_waiting(1);
        memory.settle(1, Ok(()));
        assert_eq!(next.join().expect("no panic"), Ok(1));
    });
    assert_eq!(read(&engine, &["t", "t1"], Start::All), ["1", "pass", "2"]);
    assert_eq!((kept.count(), memory.value("count", "count").as_deref()), (2, Some("2")));
}

/// State is open, and what it was read from is lost meanwhile: what is made of it is refused.
#[test]
fn what_was_read_before_a_loss_is_not_stored_after_it() {
    let memory = Memory::new();
    let engine = memory.engine(100);
    let (kept, _) = count(&engine, Some(&memory));
    let stale = StateChanges { name: "count".into(), version: memory.state_version(), changes: Vec::new() };
    memory.wait_for_disk();
    thread::scope(|scope| {
        let lost = scope.spawn(|| engine.publish(Draft::new("t", "x"), NOW));
        memory.until_waiting(1);
        memory.settle(1, Err("torn"));
        assert!(lost.join().expect("no panic").is_err());
    });
    assert!(memory.try_submit(&[], &[stale]).is_err());
    assert_eq!(kept.count(), 1, "until somebody opens it");
    assert_eq!(memory.value("count", "count"), None);
}
