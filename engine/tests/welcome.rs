//! Handlers that are asked about readers, that make events on their own, and that take several at once.
#![cfg(not(loom))]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use fanfare_engine::{
    Code, Draft, Engine, Fault, Handler, HandlerSpec, LagPolicy, MAX_BATCH, OnFault, Start, SubscribeError,
    SubscribeOptions, Timestamp, TopicPattern, Turn, Verdict, Visitor, Welcome,
};
use support::*;

/// Says this of every reader.
struct Host<F>(F);

impl<F: Fn(&Visitor<'_>) -> Result<Welcome, Fault> + Send + Sync> Handler for Host<F> {
    fn handle(&self, _: &Draft<'_>, _: Timestamp, _: &mut Turn) -> Result<Verdict, Fault> {
        Ok(Verdict::Pass)
    }

    fn welcomes(&self) -> bool {
        true
    }

    fn welcome(&self, visitor: &Visitor<'_>, _: Timestamp, _: &mut Turn) -> Result<Welcome, Fault> {
        (self.0)(visitor)
    }
}

fn add(engine: &Engine, topics: &str, on_fault: OnFault, handler: impl Handler + 'static) {
    let topics = TopicPattern::parse(topics);
    engine.add_handler(HandlerSpec {
        name: "h".into(),
        topics,
        events: Box::default(),
        on_fault,
        handler: Arc::new(handler),
    });
}

fn host(
    topics: &str,
    on_fault: OnFault,
    say: impl Fn(&Visitor<'_>) -> Result<Welcome, Fault> + Send + Sync + 'static,
) -> Engine {
    let engine = keeping(100);
    add_host(&engine, topics, on_fault, say);
    engine
}

fn add_host(
    engine: &Engine,
    topics: &str,
    on_fault: OnFault,
    say: impl Fn(&Visitor<'_>) -> Result<Welcome, Fault> + Send + Sync + 'static,
) {
    add(engine, topics, on_fault, Host(say));
}

fn event(topic: &str, data: &str) -> Draft<'static> {
    Draft::new(topic.to_owned(), data.to_owned())
}

fn refused(engine: &Engine, options: &SubscribeOptions<'_>) -> SubscribeError {
    Reader::open(engine, options).map(|_| ()).expect_err("refused")
}

#[test]
fn a_handler_learns_who_comes_to_its_topics() {
    let engine = host("a*", OnFault::Closed, |visitor| {
        let seen = (&visitor.topics[..], &visitor.events[..], visitor.client, visitor.last_event_id);
        assert_eq!(seen, (&["a1", "a2"][..], &["tick"][..], Some("me"), Some("gone")));
        Ok(Welcome::Admit)
    });
    let options = SubscribeOptions {
        client: Some("me".into()),
        events: vec!["tick".into()],
        ..options(&["a1", "b", "a2", "a1"], Start::After("gone".into()))
    };
    Reader::open(&engine, &options).expect("admitted");
    Reader::new(&engine, &["b"], Start::Live);
}

#[test]
fn who_is_admitted_reads_what_he_asked_for() {
    let engine = host("t", OnFault::Closed, |_| Ok(Welcome::Admit));
    put_all(&engine, "t", &["a", "b"]);
    assert_eq!(read(&engine, &["t"], Start::All), ["a", "b"]);
    assert_eq!(read(&engine, &["t"], after(1)), ["b"]);
}

#[test]
fn a_greeting_comes_first_and_stands_for_history() {
    let engine = host("t", OnFault::Closed, |_| {
        Ok(Welcome::Greet(vec![event("t", "one"), event("t", "two").with_event("note")]))
    });
    put_all(&engine, "t", &["a", "b"]);
    for start in [Start::Live, Start::All, Start::Last(1), after(1), Start::After("unknown".into())] {
        let reader = Reader::new(&engine, &["t", "u"], start);
        // Before anything may be pulled by position.
        let mut frames = Vec::new();
        let _ = reader.subscription.pull_through(&mut frames, 1, 0);
        let seen: Vec<_> = frames.iter().map(|frame| (words(frame), frame.id(), frame.event())).collect();
        let at = engine.newest();
        assert_eq!(
            seen,
            [("one".to_owned(), &*id(at), None), ("two".to_owned(), &*id(at), Some("note"))],
            "their id is that of the place between"
        );
        put(&engine, "u", "live");
        assert_eq!(reader.idle(), ["live"]);
    }
    let wants = SubscribeOptions { events: vec!["note".into()], ..options(&["t"], Start::Live) };
    assert_eq!(Reader::open(&engine, &wants).expect("sound").idle(), ["two"], "as the reader wants");
    let reader = Reader::new(&engine, &["t"], Start::Live);
    assert_eq!(reader.subscription.take_greeting().len(), 2);
    assert_eq!(reader.idle(), [""; 0], "it is taken");
    // Whoever was let in is not asked again.
    let watcher = engine.watcher();
    let options = options(&["t"], Start::Position(1));
    let again = engine.subscribe_again(&watcher, &options, NOW).expect("sound");
    assert!(again.take_greeting().is_empty());
}

#[test]
fn who_is_refused_has_changed_nothing() {
    let engine = host("t", OnFault::Open, |_| Ok(Welcome::Refuse("members only".into())));
    let error = refused(&engine, &options(&["t", "u"], Start::All));
    assert_eq!(error.code(), Code::HandlerRefused);
    assert_eq!(error.to_string(), "handler h refused the reader: members only");
    let stats = engine.stats();
    assert_eq!((stats.topics, stats.subscriptions), (0, 0));
    Reader::new(&engine, &["u"], Start::Live);
    put(&engine, "t", "x");
}

#[test]
fn a_handler_that_fails_lets_nobody_in_unless_it_is_open() {
    fn greets(event: Draft<'static>) -> Result<Welcome, Fault> {
        Ok(Welcome::Greet(vec![event]))
    }
    type Say = fn() -> Result<Welcome, Fault>;
    let cases: [(Say, &str); 7] = [
        (|| Err(Fault("no idea".into())), "no idea"),
        (|| panic!("on purpose"), "it panicked"),
        (|| greets(event("u", "x")), "its topic is none that the reader reads"),
        (|| greets(event("t", "x").with_id("own")), "it has an id of its own"),
        (|| greets(event("t", "x").with_event("a\nid: 7")), "control character"),
        (|| greets(event("t", "x").with_event("fanfare.gap")), "kept for the hub's own"),
        (|| greets(event("t", &"x".repeat(2 << 20))), "limits.event_bytes"),
    ];
    for (say, why) in cases {
        let engine = host("t", OnFault::Closed, move |_| say());
        let error = refused(&engine, &options(&["t", "u2"], Start::Live));
        assert_eq!(error.code(), Code::HandlerFailed);
        assert!(
            error.to_string().starts_with("handler h failed: ") && error.to_string().contains(why),
            "{error}"
        );
        let open = host("t", OnFault::Open, move |_| say());
        assert_eq!(Reader::new(&open, &["t", "u2"], Start::Live).idle(), [""; 0], "{why}");
    }
}

#[test]
fn several_handlers_are_asked_in_order() {
    let engine = host("t", OnFault::Closed, |_| Ok(Welcome::Greet(vec![event("t", "one")])));
    add_host(&engine, "other", OnFault::Closed, |_| Ok(Welcome::Refuse("not mine".into())));
    add_host(&engine, "*", OnFault::Closed, |_| Ok(Welcome::Greet(vec![event("t", "two")])));
    assert_eq!(Reader::new(&engine, &["t"], Start::Live).idle(), ["one", "two"]);
    add_host(&engine, "t", OnFault::Closed, |_| Ok(Welcome::Refuse("full".into())));
    assert_eq!(refused(&engine, &options(&["t"], Start::Live)).code(), Code::HandlerRefused);
}

/// Counts what passes, tells readers the count, and adds to it when time passes.
#[derive(Default)]
struct Count(AtomicU64);

impl Count {
    fn next(&self) -> String {
        (self.0.fetch_add(1, Ordering::Relaxed) + 1).to_string()
    }
}

impl Handler for Count {
    fn handle(&self, draft: &Draft<'_>, _: Timestamp, _: &mut Turn) -> Result<Verdict, Fault> {
        let next = self.next();
        // Whoever is asked now would tell of what is not there yet.
        std::thread::yield_now();
        Ok(Verdict::Emit(vec![event(&draft.topic, &next)]))
    }

    fn welcomes(&self) -> bool {
        true
    }

    fn welcome(&self, visitor: &Visitor<'_>, _: Timestamp, _: &mut Turn) -> Result<Welcome, Fault> {
        let count = self.0.load(Ordering::Relaxed).to_string();
        Ok(Welcome::Greet(vec![event(visitor.topics[0], &count)]))
    }

    fn tick(&self, _: Timestamp, _: &mut Turn) -> Result<Vec<Draft<'static>>, Fault> {
        Ok(vec![event("t2", &self.next())])
    }
}

/// Whoever comes while others publish and time passes: his greeting and what follows are one count without a hole.
#[test]
fn nothing_is_between_a_greeting_and_what_follows() {
    let engine = engine(|config| config.history.events = 100_000);
    add(&engine, "t*", OnFault::Closed, Count::default());
    let stop = AtomicBool::new(false);
    let publish = |kind: u32| {
        for _ in 0..20_000 {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let batch = || vec![Draft::new("t1", "x"), Draft::new("t2", "x")];
            match kind {
                0 => drop(engine.publish(Draft::new("t1", "x"), NOW).expect("counted")),
                1 => drop(engine.publish_batch(batch(), NOW).expect("counted")),
                _ => assert_eq!(engine.tick_handler("h", NOW), Ok(1)),
            }
        }
    };
    let publish = &publish;
    std::thread::scope(|scope| {
        let busy: Vec<_> = (0..3).map(|kind| scope.spawn(move || publish(kind))).collect();
        for round in 0..200 {
            let lag = [LagPolicy::Disconnect, LagPolicy::Skip][round % 2];
            let reader = Reader::with_lag(&engine, &["t1", "t2"], Start::Live, lag);
            let mut counts: Vec<u64> = Vec::new();
            while counts.is_empty() || counts.len() < 5 && !busy.iter().all(|thread| thread.is_finished()) {
                counts.extend(reader.idle().iter().map(|count| count.parse::<u64>().expect("a count")));
            }
            let expected: Vec<u64> = (counts[0]..).take(counts.len()).collect();
            assert_eq!(counts, expected, "round {round}");
        }
        stop.store(true, Ordering::Relaxed);
    });
}

/// Makes these when time passes, and doubles what it is given.
struct Clockwork(fn() -> Result<Vec<Draft<'static>>, Fault>);

impl Handler for Clockwork {
    fn handle(&self, draft: &Draft<'_>, _: Timestamp, _: &mut Turn) -> Result<Verdict, Fault> {
        Ok(Verdict::Replace(event(&draft.topic, &draft.data.repeat(2))))
    }

    fn tick(&self, _: Timestamp, _: &mut Turn) -> Result<Vec<Draft<'static>>, Fault> {
        (self.0)()
    }
}

#[test]
fn what_a_tick_makes_meets_the_handlers_behind() {
    let engine = keeping(10);
    let spec = |name: &'static str, handler: Clockwork| HandlerSpec {
        name: name.into(),
        topics: TopicPattern::parse("*"),
        events: Box::default(),
        on_fault: OnFault::Closed,
        handler: Arc::new(handler),
    };
    engine.add_handler(spec("before", Clockwork(|| Err(Fault("broken clock".into())))));
    engine.add_handler(spec("clock", Clockwork(|| Ok(vec![event("t", "1"), event("u", "2")]))));
    engine.add_handler(spec("behind", Clockwork(|| Ok(vec![event("a\nb", "x")]))));
    assert_eq!(engine.tick_handler("clock", NOW), Ok(2));
    assert_eq!(read(&engine, &["t", "u"], Start::All), ["11", "22"]);
    assert_eq!(engine.tick_handler("nobody", NOW), Ok(0));
    let failed = engine.tick_handler("before", NOW).expect_err("it fails");
    assert_eq!(failed.to_string(), "handler before failed: broken clock");
    assert_eq!(engine.tick_handler("behind", NOW).expect_err("no topic").code(), Code::InvalidTopic);
    assert_eq!((engine.stats().published, engine.stats().refused), (2, 1));
}

/// Answers batches by their size, and each event of a batch by its data.
struct Batches;

impl Handler for Batches {
    fn handle(&self, _: &Draft<'_>, _: Timestamp, _: &mut Turn) -> Result<Verdict, Fault> {
        Ok(Verdict::Replace(event("t", "alone")))
    }

    fn batches(&self) -> bool {
        true
    }

    fn handle_batch(&self, events: &[&Draft<'_>], _: Timestamp, _: &mut Turn) -> Vec<Result<Verdict, Fault>> {
        let size = events.len();
        let mut answers: Vec<_> = events
            .iter()
            .map(|draft| match &*draft.data {
                "panic" => panic!("on purpose"),
                "refuse" => Ok(Verdict::Refuse("no".into())),
                "fault" => Err(Fault("broken".into())),
                "drop" => Ok(Verdict::Drop),
                data => Ok(Verdict::Replace(event("t", &format!("{data}/{size}")))),
            })
            .collect();
        if events.iter().any(|draft| draft.data == "short") {
            answers.pop();
        }
        answers
    }
}

fn batch(engine: &Engine, events: &[(&'static str, &str)]) -> Result<Vec<usize>, (usize, String)> {
    let drafts = events.iter().map(|(topic, data)| event(topic, data)).collect();
    let published = engine.publish_batch(drafts, NOW);
    published
        .map(|all| all.iter().map(|one| one.events).collect())
        .map_err(|refused| (refused.index, refused.error.to_string()))
}

#[test]
fn events_of_a_batch_come_together() {
    let engine = keeping(1_000);
    add(&engine, "t", OnFault::Closed, Batches);
    engine.publish(Draft::new("t", "x"), NOW).expect("taken");
    assert_eq!(batch(&engine, &[("t", "x"), ("other", "y")]), Ok(vec![1, 1]), "one is no batch");
    assert_eq!(
        batch(&engine, &[("t", "a"), ("other", "y"), ("t", "drop"), ("t", "b")]),
        Ok(vec![1, 1, 0, 1])
    );
    assert_eq!(read(&engine, &["t"], Start::All), ["alone", "alone", "a/3", "b/3"]);
    for (data, index, why) in [
        ("refuse", 1, "handler h refused the event: no"),
        ("fault", 1, "handler h failed: broken"),
        ("panic", 0, "handler h failed: it panicked"),
        ("short", 1, "handler h failed: it answered 1 of 2 events"),
    ] {
        assert_eq!(batch(&engine, &[("t", "x"), ("t", data)]), Err((index, why.to_owned())));
    }
    let many = vec![("t", "m"); MAX_BATCH + 2];
    assert_eq!(batch(&engine, &many), Ok(vec![1; MAX_BATCH + 2]));
    let sizes = read(&engine, &["t"], Start::Last(3));
    assert_eq!(sizes, [format!("m/{MAX_BATCH}"), "m/2".to_owned(), "m/2".to_owned()]);
}
