//! First visits: everything that is retained, the last so many, or only what is new; and filters.
#![cfg(not(loom))]

mod support;

use fanfare_engine::{Code, Draft, Engine, Field, Pulled, Start, SubscribeError, SubscribeOptions};
use support::*;

fn numbered(topics: &[&str], events: usize, kept: u32) -> Engine {
    let engine = keeping(kept);
    for n in 1..=events {
        put(&engine, topics[n % topics.len()], &n.to_string());
    }
    engine
}

fn numbers(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers.into_iter().map(|n| n.to_string()).collect()
}

#[test]
fn live_begins_with_what_is_published_next() {
    let engine = numbered(&["t"], 3, 10);
    let reader = Reader::new(&engine, &["t"], Start::Live);
    assert_eq!(reader.idle(), [""; 0]);
    put(&engine, "t", "4");
    assert_eq!(reader.idle(), ["4"]);
}

#[test]
fn all_gives_what_is_retained_without_a_notice() {
    let engine = numbered(&["a", "b"], 20, 4);
    assert_eq!(read(&engine, &["a", "b"], Start::All), numbers(13..=20));
    assert_eq!(read(&engine, &["b"], Start::All), ["13", "15", "17", "19"]);
    assert_eq!(read(&engine, &["a", "empty"], Start::All), ["14", "16", "18", "20"]);
    assert_eq!(engine.stats().gaps, 0);
}

#[test]
fn last_counts_over_all_topics_together() {
    let engine = numbered(&["a", "b", "c"], 30, 5);
    for n in 0..=40 {
        let expected = numbers(30 - n.min(15) + 1..=30);
        assert_eq!(read(&engine, &["a", "b", "c"], Start::Last(n as u64)), expected, "{n}");
    }
    assert_eq!(read(&engine, &["a"], Start::Last(2)), ["27", "30"]);
    assert_eq!(read(&engine, &["a", "b"], Start::Last(3)), ["27", "28", "30"]);
    assert_eq!(read(&engine, &["a"], Start::Last(u64::MAX)).len(), 5);
    assert_eq!(read(&engine, &["empty"], Start::Last(3)), [""; 0]);
}

#[test]
fn last_on_uneven_topics() {
    let engine = keeping(100);
    put_all(&engine, "quiet", &["q1", "q2"]);
    for n in 0..50 {
        put(&engine, "busy", &n.to_string());
    }
    put(&engine, "quiet", "q3");
    assert_eq!(read(&engine, &["quiet", "busy"], Start::Last(3)), ["48", "49", "q3"]);
    assert_eq!(read(&engine, &["busy", "quiet"], Start::Last(52))[0], "q2");
}

fn typed(engine: &Engine, topic: &str, event: Option<&str>, data: &str) {
    let draft = Draft { event: event.map(Into::into), ..Draft::new(topic, data) };
    put_draft(engine, draft).unwrap();
}

fn wanting<'a>(events: &[&'a str], start: Start<'a>) -> SubscribeOptions<'a> {
    SubscribeOptions { events: events.iter().map(|&event| event.into()).collect(), ..options(&["t"], start) }
}

#[test]
fn last_counts_what_the_reader_wants() {
    let engine = keeping(100);
    for n in 0..20 {
        typed(&engine, "t", Some(if n % 5 == 0 { "rare" } else { "often" }), &n.to_string());
    }
    let reader = Reader::open(&engine, &wanting(&["rare"], Start::Last(2))).unwrap();
    assert_eq!(reader.idle(), ["10", "15"]);
    let reader = Reader::open(&engine, &wanting(&["never"], Start::Last(2))).unwrap();
    assert_eq!(reader.idle(), [""; 0]);
    typed(&engine, "t", Some("never"), "but now");
    assert_eq!(reader.idle(), ["but now"]);
}

#[test]
fn types_are_chosen_exactly() {
    let engine = keeping(100);
    for (event, data) in
        [(Some("a"), "1"), (None, "2"), (Some("message"), "3"), (Some("A"), "4"), (Some("ab"), "5")]
    {
        typed(&engine, "t", event, data);
    }
    let got = |events: &[&str]| Reader::open(&engine, &wanting(events, Start::All)).unwrap().idle();
    assert_eq!(got(&[]), ["1", "2", "3", "4", "5"]);
    assert_eq!(got(&["a"]), ["1"]);
    assert_eq!(got(&["message"]), ["2", "3"], "events without a type are `message`, as in browsers");
    assert_eq!(got(&["ab", "A"]), ["4", "5"]);
}

#[test]
fn a_reader_does_not_get_its_own_events() {
    let engine = keeping(100);
    for (except, data) in
        [(None, "all"), (Some("me"), "not me"), (Some("you"), "not you"), (Some("Me"), "case")]
    {
        put_draft(&engine, Draft { except: except.map(Into::into), ..Draft::new("t", data) }).unwrap();
    }
    let got = |client: Option<&'static str>| {
        let options = SubscribeOptions { client: client.map(Into::into), ..options(&["t"], Start::All) };
        Reader::open(&engine, &options).unwrap().idle()
    };
    assert_eq!(got(None), ["all", "not me", "not you", "case"]);
    assert_eq!(got(Some("me")), ["all", "not you", "case"]);
    assert_eq!(got(Some("else")), ["all", "not me", "not you", "case"]);
}

#[test]
fn the_cursor_passes_what_is_filtered() {
    let engine = keeping(3);
    let reader = Reader::open(&engine, &wanting(&["a"], Start::Live)).unwrap();
    for n in 0..10 {
        typed(&engine, "t", Some("b"), &n.to_string());
        assert_eq!(reader.idle(), [""; 0]);
        assert_eq!(reader.subscription.cursor(), n + 1);
    }
    typed(&engine, "t", Some("a"), "now");
    assert_eq!(reader.idle(), ["now"], "it has not lost what it did not want");
    assert_eq!(engine.stats().lapped, 0);
}

#[test]
fn a_filter_lets_notices_through() {
    let engine = keeping(2);
    for n in 0..5 {
        typed(&engine, "t", Some(if n == 4 { "a" } else { "b" }), &n.to_string());
    }
    let reader = Reader::open(&engine, &wanting(&["a"], after(1))).unwrap();
    assert_eq!(reader.idle(), [&gap(3, &id(1), Some(&id(4)), Some(&id(5))), "4"]);
}

#[test]
fn a_pull_keeps_its_budget_and_always_moves() {
    let engine = numbered(&["t"], 10, 10);
    for budget in [0, 1, 30, 100, 250, usize::MAX] {
        let reader = Reader::new(&engine, &["t"], Start::All);
        let mut got = Vec::new();
        loop {
            let before = got.len();
            let pulled = reader.subscription.pull(&mut got, budget);
            let sizes: Vec<usize> = got[before..].iter().map(|frame| frame.chunk().len()).collect();
            let but_last: usize = sizes.iter().rev().skip(1).sum();
            assert!(but_last < budget.max(1), "{budget}: {sizes:?}");
            match pulled {
                Pulled::More => assert!(!sizes.is_empty()),
                pulled => break assert_eq!(pulled, Pulled::Idle),
            }
        }
        assert_eq!(got.iter().map(words).collect::<Vec<_>>(), numbers(1..=10));
    }
}

#[test]
fn a_pull_can_stop_at_a_position() {
    let engine = numbered(&["a", "b"], 10, 10);
    let reader = Reader::new(&engine, &["a", "b"], Start::All);
    let mut got = Vec::new();
    for (through, expected) in [(0, 0), (3, 3), (3, 3), (2, 3), (7, 7), (u64::MAX, 10)] {
        assert_eq!(reader.subscription.pull_through(&mut got, usize::MAX, through), Pulled::Idle);
        assert_eq!(got.len(), expected);
        assert_eq!(reader.subscription.cursor(), expected as u64);
    }
    assert_eq!(got.iter().map(words).collect::<Vec<_>>(), numbers(1..=10));
}

#[test]
fn bad_wishes_are_refused_and_change_nothing() {
    let engine = engine(|config| config.limits.topics_per_stream = 2);
    let refused = |options: &SubscribeOptions<'_>| {
        let error = Reader::open(&engine, options).err().expect("refused");
        let stats = engine.stats();
        assert_eq!((stats.topics, stats.subscriptions), (0, 0), "{error}");
        error
    };
    let field = |error| match error {
        SubscribeError::Invalid(invalid) => invalid.field,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&options(&[], Start::Live)), SubscribeError::NoTopics);
    assert_eq!(field(refused(&options(&["ok", "a\nb"], Start::Live))), Field::Topic);
    assert_eq!(field(refused(&wanting(&["a\rb"], Start::Live))), Field::Event);
    let client = SubscribeOptions { client: Some("\0".into()), ..options(&["t"], Start::Live) };
    assert_eq!(field(refused(&client)), Field::Client);
    let many = refused(&options(&["a", "b", "c"], Start::Live));
    assert_eq!((many.code(), many.clone()), (Code::InvalidTopic, SubscribeError::TooManyTopics { limit: 2 }));
    assert!(many.to_string().contains("limits.topics_per_stream"));
    assert!(
        Reader::open(&engine, &options(&["a", "b", "a", "b"], Start::Live)).is_ok(),
        "a name twice counts once"
    );
    assert!(Reader::open(&engine, &wanting(&["fanfare.gap"], Start::Live)).is_ok());
}
