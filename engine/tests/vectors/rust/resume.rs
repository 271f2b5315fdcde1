//! The scenarios of `resume/*.json`, step by step.

use std::fs;

use fanfare_engine::wire::parse::{Item, Parser};
use fanfare_engine::{Draft, Frame, Start, SubscribeError};
use serde::Deserialize;
use serde_json::Value;

use crate::case::{Text, directory, load};
use crate::hub::{Hub, Received};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    name: String,
    rule: String,
    history_events: u32,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Step {
    Publish { publish: String, topic: Option<String>, id: Option<String> },
    Close { close: String },
    Subscribe { subscribe: Vec<String>, after: Option<Text>, replay: Option<Replay>, expect: Vec<Expected> },
    Refuse { subscribe: Vec<String>, after: Option<Text>, refused: String },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Replay {
    Last(u64),
    Named(String),
}

#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Expected {
    Data(String),
    Gap { gap: Gap },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Gap {
    requested: Text,
    oldest: Option<Text>,
    newest: Option<Text>,
}

#[test]
fn every_scenario() {
    let mut files = 0;
    for entry in fs::read_dir(directory().join("resume")).expect("a folder of scenarios") {
        let name = entry.expect("a folder entry").file_name();
        for scenario in load::<Scenario>(&format!("resume/{}", name.display())) {
            run(&scenario);
        }
        files += 1;
    }
    assert!(files > 0);
}

/// A response cut at any byte, then resumed with the id that the client has: each event exactly once.
#[test]
fn a_response_cut_at_every_byte_resumes_exactly() {
    let mut hub = Hub::new(|_| {});
    hub.publish(Draft::new("t", "one\r\ntwo\r").with_event("first")).expect("within the rules");
    hub.publish(Draft { retry: Some(10), ..Draft::new("t", "🎺\n\n").with_id("own") })
        .expect("within the rules");
    hub.publish(Draft::new("t", "")).expect("within the rules");
    let all = hub.read(&["t"], Start::All).expect("a valid topic");
    assert_eq!(all.events.len(), 3);
    let stream: Vec<u8> = all.frames.iter().flat_map(|frame| frame.wire().to_vec()).collect();
    for cut in 0..=stream.len() {
        let mut parser = Parser::new();
        let items: Vec<Item> = parser.feed(&stream[..cut]).collect();
        let mut events: Vec<_> = items
            .into_iter()
            .filter_map(|item| match item {
                Item::Event(event) => Some(event),
                _ => None,
            })
            .collect();
        let start = match parser.last_event_id() {
            "" => Start::All,
            id => Start::After(id.into()),
        };
        events.extend(hub.read(&["t"], start).expect("an id of this hub").events);
        assert_eq!(events, all.events, "cut at {cut}");
    }
}

fn run(scenario: &Scenario) {
    let mut hub = Hub::new(|config| config.history.events = scenario.history_events);
    for (number, step) in scenario.steps.iter().enumerate() {
        let at = format!("{:?} ({}), step {number}", scenario.name, scenario.rule);
        match step {
            Step::Publish { publish, topic, id } => {
                let draft = Draft {
                    id: id.as_deref().map(Into::into),
                    ..Draft::new(topic.as_deref().unwrap_or("t"), publish.as_str())
                };
                hub.publish(draft).unwrap_or_else(|error| panic!("{at}: {error}"));
            }
            Step::Close { close } => hub.close(close),
            Step::Subscribe { subscribe, after, replay, expect } => {
                let topics: Vec<&str> = subscribe.iter().map(String::as_str).collect();
                let id = after.as_ref().map(|id| id.text(&hub).expect("an id is text"));
                let start = match (&id, replay) {
                    (Some(id), None) => Start::After(id.as_str().into()),
                    (None, Some(Replay::Last(n))) => Start::Last(*n),
                    (None, Some(Replay::Named(all))) if all == "all" => Start::All,
                    (None, None) => Start::Live,
                    (None, Some(Replay::Named(none))) if none == "none" => Start::Live,
                    _ => panic!("{at}: this start is not defined"),
                };
                let received = hub.read(&topics, start).unwrap_or_else(|error| panic!("{at}: {error}"));
                compare(&hub, &received, expect, &at);
                each_resumes_exactly(&hub, &topics, &received, &at);
            }
            Step::Refuse { subscribe, after, refused } => {
                let topics: Vec<&str> = subscribe.iter().map(String::as_str).collect();
                let id = after.as_ref().map(|id| id.text(&hub).expect("an id is text"));
                let start = id.map_or(Start::Live, |id| Start::After(id.into()));
                let Err(error) = hub.read(&topics, start) else { panic!("{at}: was accepted") };
                assert_eq!(error.code().as_str(), refused, "{at}: {error}");
            }
        }
    }
}

fn compare(hub: &Hub, received: &Received, expect: &[Expected], at: &str) {
    let data: Vec<&str> = received.events.iter().map(|event| event.data.as_str()).collect();
    assert_eq!(data.len(), expect.len(), "{at}: got {data:?}");
    for ((frame, event), expected) in received.frames.iter().zip(&received.events).zip(expect) {
        match expected {
            Expected::Data(data) => {
                assert!(!frame.is_gap(), "{at}: {event:?}");
                assert_eq!(&event.data, data, "{at}");
            }
            Expected::Gap { gap } => {
                assert!(frame.is_gap(), "{at}: {event:?}");
                assert_eq!(event.event, "fanfare.gap", "{at}");
                let id = |text: &Text| Value::from(text.text(hub).expect("an id is text"));
                let notice: Value =
                    serde_json::from_str(&event.data).unwrap_or_else(|error| panic!("{at}: {error}"));
                let expected = serde_json::json!({
                    "requested": id(&gap.requested),
                    "oldest": gap.oldest.as_ref().map(id),
                    "newest": gap.newest.as_ref().map(id),
                });
                assert_eq!(notice, expected, "{at}");
            }
        }
    }
}

/// A reader that is cut after any item, a notice included, resumes with exactly the rest. Two exceptions:
///
/// * An id that stands for several events is no position; that reader is told so, which other cases check.
/// * On several topics a notice may come again: losses of one topic lie between retained events of another, and one
///   position cannot say which of them have been told.
fn each_resumes_exactly(hub: &Hub, topics: &[&str], received: &Received, at: &str) {
    let ids: Vec<&str> = received.events.iter().map(|event| event.last_event_id.as_str()).collect();
    for (i, id) in ids.iter().enumerate() {
        if ids.iter().filter(|other| *other == id).count() > 1 {
            continue;
        }
        let rest = match hub.read(topics, Start::After((*id).into())) {
            Ok(received) => received.frames,
            // Closed topics have nothing left: nothing more, too.
            Err(SubscribeError::Closed) => Vec::new(),
            Err(error) => panic!("{at}: {error}"),
        };
        let again =
            topics.len() > 1 && received.frames[0].is_gap() && rest.first().is_some_and(Frame::is_gap);
        let rest: Vec<_> =
            rest.iter().skip(usize::from(again)).map(|frame| frame.data().into_owned()).collect();
        let expected: Vec<_> = received.events[i + 1..].iter().map(|event| event.data.clone()).collect();
        assert_eq!(rest, expected, "{at}: resumed after item {i}");
    }
}
