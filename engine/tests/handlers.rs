//! Handlers: what they may do with an event, what happens when they fail, and the order that they see.
#![cfg(not(loom))]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fanfare_engine::{
    Code, Draft, Engine, Fault, Handler, HandlerSpec, OnFault, PublishError, Start, Timestamp, TopicPattern,
    Turn, Verdict,
};
use support::*;

/// A handler that is a function.
struct Call<F>(F);

impl<F: Fn(&Draft<'_>) -> Result<Verdict, Fault> + Send + Sync> Handler for Call<F> {
    fn handle(&self, event: &Draft<'_>, _: Timestamp, _: &mut Turn) -> Result<Verdict, Fault> {
        self.0(event)
    }
}

fn add(
    engine: &Engine,
    topics: &str,
    on_fault: OnFault,
    call: impl Fn(&Draft<'_>) -> Result<Verdict, Fault> + Send + Sync + 'static,
) {
    let topics = TopicPattern::parse(topics);
    engine.add_handler(HandlerSpec {
        name: "h".into(),
        topics,
        events: Box::default(),
        on_fault,
        handler: Arc::new(Call(call)),
    });
}

fn owned(topic: &str, data: &str) -> Draft<'static> {
    Draft::new(topic.to_owned(), data.to_owned())
}

/// What was not published left nothing behind: no event, no topic.
fn nothing_happened(engine: &Engine, refused: u64) {
    let stats = engine.stats();
    assert_eq!((stats.published, stats.topics, stats.refused, stats.published_bytes), (0, 0, refused, 0));
}

#[test]
fn pass_changes_nothing() {
    let engine = keeping(10);
    add(&engine, "*", OnFault::Closed, |_| Ok(Verdict::Pass));
    let published = engine.publish(Draft::new("t", "a").with_id("own"), NOW).unwrap();
    assert_eq!((published.seq, published.events, published.own_id.as_deref()), (1, 1, Some("own")));
    assert_eq!(read(&engine, &["t"], Start::All), ["a"]);
}

#[test]
fn replace_changes_the_event_and_even_its_topic() {
    let engine = keeping(10);
    add(&engine, "t", OnFault::Closed, |event| {
        Ok(Verdict::Replace(owned("u", &event.data.to_uppercase()).with_id("new")))
    });
    let published = engine.publish(Draft::new("t", "a").with_id("own"), NOW).unwrap();
    assert_eq!(published.own_id.as_deref(), Some("new"));
    assert_eq!(read(&engine, &["u"], Start::All), ["A"]);
    assert_eq!(read(&engine, &["t"], Start::All), [""; 0]);
}

#[test]
fn drop_works_and_publishes_nothing() {
    let engine = keeping(10);
    put(&engine, "other", "a");
    add(&engine, "t", OnFault::Closed, |_| Ok(Verdict::Drop));
    let published = engine.publish(Draft::new("t", "a"), NOW).unwrap();
    assert_eq!((published.seq, published.events), (1, 0), "the hub's newest event");
    let stats = engine.stats();
    assert_eq!((stats.published, stats.dropped, stats.refused, stats.topics), (1, 1, 0, 1));
}

#[test]
fn emit_makes_several_in_one_step_to_any_topic() {
    let engine = keeping(10);
    add(&engine, "votes", OnFault::Closed, |event| {
        Ok(Verdict::Emit(vec![owned("tally", "1"), owned("log", &event.data), owned("tally", "2")]))
    });
    let published = engine.publish(Draft::new("votes", "yes"), NOW).unwrap();
    assert_eq!((published.seq, published.events), (3, 3));
    assert_eq!(read(&engine, &["tally", "log"], Start::All), ["1", "yes", "2"]);
    assert_eq!(read(&engine, &["votes"], Start::All), [""; 0], "the original is not among them");
}

#[test]
fn what_is_emitted_passes_later_handlers_only() {
    let engine = keeping(10);
    let emit = |event: &Draft<'_>| {
        Ok(Verdict::Emit(vec![
            owned("t", &format!("{}1", event.data)),
            owned("t", &format!("{}2", event.data)),
        ]))
    };
    add(&engine, "t", OnFault::Closed, emit);
    add(&engine, "t", OnFault::Closed, emit);
    put(&engine, "t", "x");
    assert_eq!(read(&engine, &["t"], Start::All), ["x11", "x12", "x21", "x22"]);
}

#[test]
fn refuse_tells_the_reason_and_changes_nothing() {
    let engine = keeping(10);
    add(&engine, "t", OnFault::Open, |_| Ok(Verdict::Refuse("not today".into())));
    let error = engine.publish(Draft::new("t", "a"), NOW).unwrap_err();
    assert_eq!(error.code(), Code::HandlerRefused);
    assert_eq!(error.to_string(), "handler h refused the event: not today");
    nothing_happened(&engine, 1);
}

#[test]
fn a_fault_is_decided_by_the_policy() {
    for panics in [false, true] {
        let fail = move |_: &Draft<'_>| {
            if panics { panic!("expected by the test") } else { Err(Fault("sick".into())) }
        };
        let engine = keeping(10);
        add(&engine, "t", OnFault::Open, fail);
        put(&engine, "t", "a");
        assert_eq!(read(&engine, &["t"], Start::All), ["a"], "open: as if the handler were not there");

        let engine = keeping(10);
        add(&engine, "t", OnFault::Closed, fail);
        let error = engine.publish(Draft::new("t", "a"), NOW).unwrap_err();
        assert_eq!(error.code(), Code::HandlerFailed);
        let why = if panics { "it panicked" } else { "sick" };
        assert_eq!(error.to_string(), format!("handler h failed: {why}"));
        nothing_happened(&engine, 1);
        put(&engine, "other", "b");
        assert_eq!(read(&engine, &["other"], Start::All), ["b"], "other topics go on");
    }
}

#[test]
fn a_panic_does_not_hold_the_topic_for_ever() {
    let engine = keeping(10);
    let sick = Arc::new(AtomicBool::new(true));
    let flag = Arc::clone(&sick);
    add(&engine, "t", OnFault::Closed, move |_| {
        assert!(!flag.load(Ordering::Relaxed), "expected by the test");
        Ok(Verdict::Pass)
    });
    assert!(engine.publish(Draft::new("t", "a"), NOW).is_err());
    sick.store(false, Ordering::Relaxed);
    put(&engine, "t", "b");
    assert_eq!(read(&engine, &["t"], Start::All), ["b"]);
}

#[test]
fn what_a_handler_makes_keeps_the_rules() {
    let bad = [
        owned("", "no topic"),
        owned("t", "forged").with_event("a\nid: 1"),
        owned("t", "forged").with_event("fanfare.gap"),
        owned("t", "forged").with_id(id(1)),
        owned("t", "forged").with_id("a\rb"),
        Draft { retry: Some(u64::MAX), ..owned("t", "d") },
        owned("t", &"x".repeat((1 << 20) + 1)),
    ];
    for draft in bad {
        let engine = keeping(10);
        let made = draft.clone();
        add(&engine, "t", OnFault::Open, move |_| Ok(Verdict::Emit(vec![owned("t", "good"), made.clone()])));
        let error = engine.publish(Draft::new("t", "a"), NOW).unwrap_err();
        assert!(matches!(error, PublishError::Invalid(_) | PublishError::TooLarge { .. }), "{error}");
        nothing_happened(&engine, 1);
    }
}

#[test]
fn patterns_choose_topics() {
    let engine = keeping(10);
    add(&engine, "rooms/*", OnFault::Closed, |_| Ok(Verdict::Drop));
    add(&engine, "one", OnFault::Closed, |_| Ok(Verdict::Drop));
    for (topic, events) in
        [("rooms/1", 0), ("rooms/", 0), ("rooms", 1), ("one", 0), ("one1", 1), ("x/rooms/", 1)]
    {
        assert_eq!(engine.publish(Draft::new(topic, "a"), NOW).unwrap().events, events, "{topic}");
    }
}

/// What a handler does not see it does not hold up either: inside it, events of other types are published to the same topic.
#[test]
fn events_of_other_types_go_past_a_handler() {
    let engine = keeping(10);
    let (seen, inner) = (Arc::new(AtomicU64::new(0)), engine.clone());
    let counted = Arc::clone(&seen);
    let handler = Arc::new(Call(move |event: &Draft<'_>| {
        counted.fetch_add(1, Ordering::Relaxed);
        if event.data == "hold" {
            let publishing = inner.clone();
            let (done, published) = std::sync::mpsc::channel();
            #[expect(clippy::disallowed_methods, reason = "a scope would wait for a thread that is held up")]
            std::thread::spawn(move || {
                let other = Draft::new("t", "meanwhile").with_event("note");
                done.send(publishing.publish(other, NOW).unwrap().seq).unwrap();
            });
            assert_eq!(published.recv_timeout(Duration::from_secs(60)), Ok(5), "it is not held up");
        }
        Ok(Verdict::Replace(owned("t", &format!("seen {}", event.data))))
    }));
    engine.add_handler(HandlerSpec {
        name: "h".into(),
        topics: TopicPattern::parse("t"),
        events: ["vote".into(), "message".into()].into(),
        on_fault: OnFault::Closed,
        handler,
    });
    assert_eq!(engine.handlers()[0].events, ["vote", "message"]);
    for (kind, data) in [(Some("vote"), "a"), (Some("note"), "b"), (None, "c"), (Some("votes"), "d")] {
        let mut draft = Draft::new("t", data);
        draft.event = kind.map(Into::into);
        engine.publish(draft, NOW).unwrap();
    }
    assert_eq!(seen.load(Ordering::Relaxed), 2);
    engine.publish(Draft::new("t", "hold"), NOW).unwrap();
    let batch = vec![Draft::new("t", "e").with_event("note"), Draft::new("t", "f").with_event("vote")];
    engine.publish_batch(batch, NOW).unwrap();
    let all = ["seen a", "b", "seen c", "d", "meanwhile", "seen hold", "e", "seen f"];
    assert_eq!(read(&engine, &["t"], Start::All), all);
    assert_eq!(seen.load(Ordering::Relaxed), 4);
}

#[test]
fn a_removed_handler_sees_nothing_more_and_the_others_stay() {
    let engine = keeping(10);
    let name = |name: &'static str, topics: &str| HandlerSpec {
        name: name.into(),
        topics: TopicPattern::parse(topics),
        events: Box::default(),
        on_fault: OnFault::Closed,
        handler: Arc::new(Call(|_: &Draft<'_>| Ok(Verdict::Drop))),
    };
    engine.add_handler(name("first", "a*"));
    engine.add_handler(name("second", "b"));
    let shown = |engine: &Engine| {
        let of = engine.handlers();
        of.iter().map(|info| format!("{} {}", info.name, info.topics)).collect::<Vec<_>>()
    };
    assert_eq!(shown(&engine), ["first a*", "second b"]);
    assert!(!engine.remove_handler("third"), "there is none");
    assert!(engine.remove_handler("first"));
    assert!(!engine.remove_handler("first"), "only once");
    assert_eq!(shown(&engine), ["second b"]);
    put(&engine, "a", "kept");
    assert_eq!(engine.publish(Draft::new("b", "dropped"), NOW).unwrap().events, 0);
    assert!(engine.remove_handler("second"));
    put(&engine, "b", "kept");
    assert_eq!(read(&engine, &["a", "b"], Start::All), ["kept", "kept"]);
}

#[test]
fn a_batch_is_all_or_nothing_with_handlers_too() {
    let engine = keeping(10);
    add(&engine, "t", OnFault::Closed, |event| {
        Ok(match &*event.data {
            "bad" => Verdict::Refuse("bad".into()),
            "two" => Verdict::Emit(vec![owned("t", "2a"), owned("t", "2b")]),
            "gone" => Verdict::Drop,
            _ => Verdict::Pass,
        })
    });
    let batch = |data: &[&'static str]| data.iter().map(|data| Draft::new("t", *data)).collect::<Vec<_>>();
    let error = engine.publish_batch(batch(&["gone", "two", "bad"]), NOW).unwrap_err();
    assert_eq!((error.index, error.error.code()), (2, Code::HandlerRefused));
    nothing_happened(&engine, 3);
    assert_eq!(engine.stats().dropped, 0);
    let published = engine.publish_batch(batch(&["gone", "two", "a", "gone"]), NOW).unwrap();
    let counts: Vec<(u64, usize)> = published.iter().map(|p| (p.seq, p.events)).collect();
    assert_eq!(counts, [(0, 0), (2, 2), (3, 1), (3, 0)]);
    assert_eq!(engine.stats().dropped, 2);
    assert_eq!(read(&engine, &["t"], Start::All), ["2a", "2b", "a"]);
}

/// Counts in what order events pass it; it must never be called twice at once for one topic.
fn tally(engine: &Engine, topics: &str) {
    let (count, busy) = (AtomicU64::new(0), AtomicBool::new(false));
    add(engine, topics, OnFault::Closed, move |event| {
        assert!(!busy.swap(true, Ordering::SeqCst), "one at a time for the same topic");
        let n = count.fetch_add(1, Ordering::Relaxed) + 1;
        std::thread::yield_now();
        busy.store(false, Ordering::SeqCst);
        Ok(Verdict::Replace(owned(&event.topic, &n.to_string())))
    });
}

fn publish_from_threads(engine: &Engine, topics: &[&str], each: usize) {
    std::thread::scope(|scope| {
        for topic in topics {
            scope.spawn(move || {
                for n in 0..each {
                    if n % 3 == 0 {
                        let batch = vec![Draft::new(*topic, "a"), Draft::new("elsewhere", "b")];
                        engine.publish_batch(batch, NOW).unwrap();
                    } else {
                        put(engine, topic, "a");
                    }
                }
            });
        }
    });
}

#[test]
fn a_tally_never_goes_backwards() {
    let engine = keeping(10_000);
    tally(&engine, "t");
    publish_from_threads(&engine, &["t"; 4], 500);
    let expected: Vec<String> = (1..=2000).map(|n| n.to_string()).collect();
    assert_eq!(read(&engine, &["t"], Start::All), expected);
}

#[test]
fn a_tally_of_what_another_handler_emits_never_goes_backwards() {
    let engine = keeping(10_000);
    add(&engine, "in/*", OnFault::Closed, |event| Ok(Verdict::Emit(vec![owned("t", &event.data)])));
    tally(&engine, "t");
    publish_from_threads(&engine, &["in/1", "in/2", "t", "t"], 500);
    let expected: Vec<String> = (1..=2000).map(|n| n.to_string()).collect();
    assert_eq!(read(&engine, &["t"], Start::All), expected);
}

#[test]
fn batches_over_crossing_topics_do_not_wait_for_each_other() {
    let engine = keeping(10_000);
    add(&engine, "*", OnFault::Closed, |event| {
        let other = if event.topic == "a" { "b" } else { "a" };
        Ok(Verdict::Emit(vec![owned(other, &event.data)]))
    });
    add(&engine, "*", OnFault::Closed, |_| Ok(Verdict::Pass));
    std::thread::scope(|scope| {
        for topics in [["a", "b"], ["b", "a"], ["a", "a"], ["b", "b"]] {
            let engine = &engine;
            scope.spawn(move || {
                for _ in 0..500 {
                    engine.publish_batch(topics.iter().map(|t| Draft::new(*t, "x")).collect(), NOW).unwrap();
                }
            });
        }
    });
    assert_eq!(engine.stats().published, 4000);
}
