//! Resuming: exactly after the id, or told what is missing before anything else (reliability D6).
#![cfg(not(loom))]

mod support;

use fanfare_engine::{Code, Draft, Engine, Pulled, Start, SubscribeError, Timestamp};
use support::*;

const TOPIC: &[&str] = &["t"];

/// `events` numbered events of one topic, of which the last `kept` are left.
fn numbered(events: u64, kept: u32) -> Engine {
    let engine = keeping(kept);
    for n in 1..=events {
        put(&engine, "t", &n.to_string());
    }
    engine
}

fn numbers(from: u64, to: u64) -> Vec<String> {
    (from..=to).map(|n| n.to_string()).collect()
}

#[test]
fn every_position_is_exact_or_told() {
    let (newest, kept) = (12, 5);
    let engine = numbered(newest, kept);
    let oldest = newest - u64::from(kept) + 1;
    for at in 0..=newest {
        let got = read(&engine, TOPIC, after(at));
        if at + 1 >= oldest {
            assert_eq!(got, numbers(at + 1, newest), "after {at}");
        } else {
            let mut expected = vec![gap(oldest - 1, &id(at), Some(&id(oldest)), Some(&id(newest)))];
            expected.extend(numbers(oldest, newest));
            assert_eq!(got, expected, "after {at}");
        }
    }
}

#[test]
fn the_notice_is_a_frame_like_others() {
    let engine = numbered(5, 2);
    let (frames, _) = Reader::new(&engine, TOPIC, after(1)).frames();
    let wire = format!(
        "event: fanfare.gap\ndata: {{\"requested\":\"{EPOCH}-1\",\"oldest\":\"{EPOCH}-4\",\"newest\":\"{EPOCH}-5\"}}\nid: {EPOCH}-3\n\n"
    );
    assert_eq!(std::str::from_utf8(frames[0].wire()).unwrap(), wire);
    let chunk = [format!("{:x}\r\n", wire.len()).as_bytes(), wire.as_bytes(), b"\r\n"].concat();
    assert_eq!(frames[0].chunk(), chunk);
    assert_eq!((frames[0].seq(), frames[0].topic(), frames[0].is_gap()), (3, "t", true));
    assert_eq!(engine.stats().gaps, 1);
}

#[test]
fn who_is_cut_anywhere_gets_the_rest_once() {
    let engine = numbered(9, 4);
    for asked in ["testing1-1", "unknown", "old00000-3", "testing1-77"] {
        let (frames, _) = Reader::new(&engine, TOPIC, Start::After(asked.into())).frames();
        assert!(frames[0].is_gap(), "{asked}");
        let all: Vec<String> = frames.iter().map(words).collect();
        for (at, frame) in frames.iter().enumerate() {
            let rest = read(&engine, TOPIC, Start::After(frame.id().into()));
            assert_eq!(rest, all[at + 1..], "{asked}: cut behind {frame:?}");
        }
    }
}

#[test]
fn each_id_that_cannot_be_honoured_is_told() {
    let engine = numbered(4, 10);
    let long = "x".repeat(1024);
    for asked in [
        "unknown",
        "other-2",
        "testing1-5",
        "testing1-18446744073709551615",
        "testing1-99999999999999999999999",
        "testing1-02",
        "testing1--2",
        "testing1-",
        "testing1",
        "-",
        "a b",
        "\"quoted\\",
        "é\u{2028}",
        &long,
    ] {
        let json = asked.replace('\\', "\\\\").replace('"', "\\\"");
        let mut expected = vec![gap(0, &json, Some(&id(1)), Some(&id(4)))];
        expected.extend(numbers(1, 4));
        assert_eq!(read(&engine, TOPIC, Start::After(asked.into())), expected);
    }
}

#[test]
fn control_characters_in_an_asked_id_forge_nothing() {
    let engine = numbered(1, 10);
    let (frames, _) = Reader::new(&engine, TOPIC, Start::After("a\r\n\ndata: x\0".into())).frames();
    let lines = std::str::from_utf8(frames[0].wire()).unwrap().lines().count();
    assert_eq!(lines, 4, "id, event, data, blank");
    let said = "{\"requested\":\"a\\u000d\\u000a\\u000adata: x\\u0000\",\"oldest\":\"testing1-1\",\"newest\":\"testing1-1\"}";
    assert_eq!(frames[0].data(), said);
}

#[test]
fn an_empty_or_endless_id_is_refused() {
    let engine = numbered(1, 10);
    for asked in [String::new(), "x".repeat(1025)] {
        let error = Reader::open(&engine, &options(&["new"], Start::After(asked.into()))).err().unwrap();
        assert_eq!(error.code(), Code::InvalidId);
    }
    assert_eq!((engine.stats().topics, engine.stats().subscriptions), (1, 0));
}

#[test]
fn a_publishers_id_is_a_position_within_its_topic() {
    let engine = keeping(10);
    put_draft(&engine, Draft::new("t", "1").with_id("a")).unwrap();
    put(&engine, "t", "2");
    put_draft(&engine, Draft::new("u", "3").with_id("u-only")).unwrap();
    put_draft(&engine, Draft::new("t", "4").with_id("b")).unwrap();
    let from = |topics: &[&str], asked: &str| read(&engine, topics, Start::After(asked.to_owned().into()));
    assert_eq!(from(TOPIC, "a"), ["2", "4"]);
    assert_eq!(from(TOPIC, "b"), [""; 0]);
    assert_eq!(from(&["t", "u"], "a"), ["2", "3", "4"]);
    assert_eq!(from(&["t", "u"], "u-only"), ["4"]);
    assert_eq!(from(TOPIC, "u-only"), [&gap(0, "u-only", Some("a"), Some("b")), "1", "2", "4"]);
    assert_eq!(from(TOPIC, &id(3)), ["4"], "the hub's own id of another topic is a position for all");
}

#[test]
fn a_publishers_id_used_twice_is_no_position() {
    let engine = keeping(3);
    for (data, own) in [("1", "same"), ("2", "x"), ("3", "same"), ("4", "y")] {
        put_draft(&engine, Draft::new("t", data).with_id(own)).unwrap();
    }
    let same = || Start::After("same".into());
    assert_eq!(read(&engine, TOPIC, same()), ["4"], "once the other is evicted it is a position again");
    put_draft(&engine, Draft::new("t", "5").with_id("same")).unwrap();
    assert_eq!(read(&engine, TOPIC, same()), [&gap(2, "same", Some("same"), Some("same")), "3", "4", "5"]);
    put_draft(&engine, Draft::new("u", "6").with_id("y")).unwrap();
    let told = gap(2, "y", Some("same"), Some("y"));
    assert_eq!(read(&engine, &["t", "u"], Start::After("y".into())), [&told, "3", "4", "5", "6"]);
}

#[test]
fn nothing_retained_is_told_as_well() {
    let engine = engine(|config| config.history.age_ms = 10);
    put_all(&engine, "t", &["1", "2"]);
    engine.handle_timeout(Timestamp(100));
    let told = gap(2, &id(1), None, None);
    let (frames, _) = Reader::new(&engine, TOPIC, after(1)).frames();
    assert_eq!(frames.iter().map(words).collect::<Vec<_>>(), [told]);
    assert_eq!(
        read(&engine, TOPIC, Start::After(frames[0].id().into())),
        [""; 0],
        "from the notice on: exact"
    );
    assert_eq!(read(&engine, TOPIC, after(2)), [""; 0]);
}

#[test]
fn what_follows_a_resume_is_live() {
    let engine = numbered(4, 2);
    let reader = Reader::new(&engine, TOPIC, after(1));
    assert_eq!(reader.idle().len(), 3);
    put(&engine, "t", "5");
    assert_eq!(reader.idle(), ["5"]);
    assert_eq!(reader.subscription.last_id(), id(5));
}

#[test]
fn an_id_is_a_cursor_over_any_topics() {
    let engine = keeping(3);
    for n in 1..=12 {
        put(&engine, ["a", "b", "c"][n as usize % 3], &n.to_string());
    }
    let topics = ["a", "b", "c"];
    for at in 3..=12 {
        assert_eq!(read(&engine, &topics, after(at)), numbers(at + 1, 12));
    }
    let told = gap(3, &id(2), Some(&id(4)), Some(&id(12)));
    let mut expected = vec![told];
    expected.extend(numbers(4, 12));
    assert_eq!(read(&engine, &topics, after(2)), expected, "event 3 of topic a is gone");
    assert_eq!(
        read(&engine, &["b", "c"], after(2)),
        ["4", "5", "7", "8", "10", "11"],
        "nothing of theirs is"
    );
}

#[test]
fn a_cursor_is_what_has_been_pulled() {
    let engine = numbered(6, 10);
    let reader = Reader::new(&engine, TOPIC, Start::All);
    let mut frames = Vec::new();
    for n in 1..=6 {
        assert_eq!(reader.subscription.pull(&mut frames, 1), if n < 6 { Pulled::More } else { Pulled::Idle });
        assert_eq!(reader.subscription.cursor(), n);
        let rest = read(&engine, TOPIC, Start::After(reader.subscription.last_id().into()));
        assert_eq!(rest, numbers(n + 1, 6));
    }
}

#[test]
fn a_position_is_a_start_without_a_question() {
    let engine = numbered(6, 3);
    assert_eq!(read(&engine, TOPIC, Start::Position(4)), ["5", "6"]);
    assert_eq!(read(&engine, TOPIC, Start::Position(6)), [""; 0]);
    assert_eq!(read(&engine, TOPIC, Start::Position(u64::MAX)), [""; 0]);
    assert_eq!(Reader::new(&engine, TOPIC, Start::Position(1)).until(Pulled::Lapped), [""; 0]);
}

#[test]
fn a_closed_topic_that_was_read_to_its_end_has_no_more() {
    let engine = numbered(3, 10);
    engine.close_topic("t", NOW).unwrap();
    let again = |start| Reader::open(&engine, &options(TOPIC, start)).err();
    assert_eq!(again(after(3)), Some(SubscribeError::Closed));
    assert_eq!(again(Start::Live), Some(SubscribeError::Closed));
    assert_eq!(again(Start::Last(0)), Some(SubscribeError::Closed));
    assert_eq!(engine.stats().subscriptions, 0);
    assert_eq!(Reader::new(&engine, TOPIC, after(1)).until(Pulled::Ended), ["2", "3"]);
    let unknown = Reader::new(&engine, TOPIC, Start::After("unknown".into()));
    assert_eq!(unknown.until(Pulled::Ended)[1..], ["1", "2", "3"]);
}

/// Reliability D7 at the engine: a restart without stored history.
#[test]
fn an_id_of_an_earlier_life_is_told() {
    let engine = numbered(3, 10);
    for asked in [1, 3, 500] {
        let asked = format!("earlier0-{asked}");
        let got = read(&engine, TOPIC, Start::After(asked.clone().into()));
        assert_eq!(got, [gap(0, &asked, Some(&id(1)), Some(&id(3))), "1".into(), "2".into(), "3".into()]);
    }
}
