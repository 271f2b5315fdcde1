//! What is published against what a reader parses: `wire/encode.json`, `wire/refused.json`, and any event at all.

use fanfare_engine::{Draft, PublishError, Start};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde::Deserialize;

use crate::case::{Names, NoNames, Text, load};
use crate::hub::Hub;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    publish: Publish,
    expect: Expect,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refused {
    name: String,
    field: String,
    code: String,
    publish: Publish,
    before: Option<Publish>,
    limit_event_bytes: Option<u64>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Publish {
    topic: Option<Text>,
    event: Option<Text>,
    id: Option<Text>,
    data: Text,
    retry: Option<u64>,
    except: Option<Text>,
    key: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    event: Text,
    data: Text,
    id: Option<Text>,
    retry: Option<u64>,
}

/// Why a case cannot be put to a Rust function: a field is not UTF-8.
#[derive(Debug)]
struct NotText;

impl Publish {
    fn draft(&self, names: &impl Names) -> Result<Draft<'static>, NotText> {
        let optional = |text: &Option<Text>| match text {
            None => Ok(None),
            Some(text) => text.text(names).map(|text| Some(text.into())).ok_or(NotText),
        };
        Ok(Draft {
            topic: optional(&self.topic)?.unwrap_or("t".into()),
            event: optional(&self.event)?,
            id: optional(&self.id)?,
            data: optional(&Some(self.data.clone()))?.unwrap_or_default(),
            retry: self.retry,
            except: optional(&self.except)?,
            key: optional(&self.key)?,
        })
    }
}

#[test]
fn what_is_published_is_what_a_reader_gets() {
    for case in load::<Case>("wire/encode.json") {
        let name = &case.name;
        let mut hub = Hub::new(|_| {});
        let draft = case.publish.draft(&NoNames).expect("these cases are text");
        hub.publish(draft.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let received = hub.read(&["t"], Start::All).unwrap_or_else(|error| panic!("{name}: {error}"));
        let [event] = &received.events[..] else { panic!("{name}: {} events", received.events.len()) };
        let [frame] = &received.frames[..] else { panic!("{name}: {} frames", received.frames.len()) };
        let text = |text: &Text| text.text(&NoNames).expect("these cases are text");
        let data = text(&case.expect.data);
        assert!(event.data == data, "{name}: {} bytes of data for {}", event.data.len(), data.len());
        assert!(frame.data() == data, "{name}: the frame's own data");
        assert_eq!(event.event, text(&case.expect.event), "{name}");
        assert_eq!(frame.event().unwrap_or("message"), event.event, "{name}");
        let id = case.expect.id.as_ref().map_or_else(|| hub.id_of(&draft.data), text);
        assert_eq!(event.last_event_id, id, "{name}");
        assert_eq!(received.retry, case.expect.retry, "{name}");
    }
}

#[test]
fn what_must_be_refused_is_refused_and_changes_nothing() {
    let mut skipped = Vec::new();
    for case in load::<Refused>("wire/refused.json") {
        let name = &case.name;
        let mut hub = Hub::new(|config| {
            config.limits.event_bytes = case.limit_event_bytes.unwrap_or(config.limits.event_bytes);
        });
        if let Some(before) = &case.before {
            hub.publish(before.draft(&NoNames).expect("text"))
                .unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        let Ok(draft) = case.publish.draft(&hub) else {
            skipped.push(name.clone());
            continue;
        };
        let reader_before = hub.read(&["t"], Start::All).expect("a valid topic").frames.len();
        let Err(error) = hub.publish(draft) else { panic!("{name}: was accepted") };
        assert_eq!(error.code().as_str(), case.code, "{name}: {error}");
        assert_eq!(field(&error), case.field, "{name}: {error}");
        assert!(error.to_string().contains(&case.field), "{name}: {error}");
        let after = hub.read(&["t"], Start::All).expect("a valid topic").frames.len();
        assert_eq!(after, reader_before, "{name}: something was published");
        // Not even a position: the next event follows directly.
        hub.publish(Draft::new("t", "next")).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(hub.id_of("next"), format!("{}-{}", hub.epoch(), reader_before + 1), "{name}");
    }
    // A `str` is UTF-8: exactly these cases are for other callers.
    assert_eq!(skipped.len(), 7, "{skipped:?}");
    assert!(
        skipped.iter().all(|name| name.contains("not UTF-8") || name.contains("surrogate")),
        "{skipped:?}"
    );
}

fn field(error: &PublishError) -> &'static str {
    match error {
        PublishError::Invalid(invalid) => invalid.field.as_str(),
        PublishError::TooLarge { .. } => "data",
        other => panic!("not a fault of one field: {other}"),
    }
}

/// What a reader gets of `data`: the same with line ends as LF.
fn normalised(data: &str) -> String {
    data.replace("\r\n", "\n").replace('\r', "\n")
}

/// Pieces of data that could break a line, a field or a decoder.
const PIECES: &[&str] = &[
    "a", "b c", " ", ":", "data: x", "id: 1", "event: e", "\n", "\r", "\r\n", "\n\n", "\r\r", "\0",
    "\u{FEFF}", "\u{85}", "\u{2028}", "\u{2029}", "\u{B}", "\u{C}", "\u{1C}", "\u{FFFD}", "🎺", "e\u{301}",
];

fn data() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => prop::sample::select(PIECES).prop_map(str::to_owned),
        1 => any::<String>(),
    ];
    vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

/// A type that may be published: 1 to 255 bytes without control characters, not of the hub's own.
fn event_type() -> impl Strategy<Value = String> {
    "[^\\p{Cc}]{1,60}".prop_filter("reserved", |name| !name.starts_with("fanfare."))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_publishable_event_survives(
        data in data(),
        event in option::of(event_type()),
        id in option::of("[A-Za-z0-9._~-]{1,128}"),
        retry in option::of(0u64..=86_400_000),
    ) {
        let mut hub = Hub::new(|_| {});
        let draft = Draft {
            event: event.clone().map(Into::into),
            id: id.clone().map(Into::into),
            retry,
            ..Draft::new("t", data.clone())
        };
        hub.publish(draft).expect("within the rules");
        // Neighbours: whatever the event holds, the one after it is whole.
        hub.publish(Draft::new("t", "sentinel")).expect("within the rules");
        let received = hub.read(&["t"], Start::All).expect("a valid topic");
        prop_assert_eq!(received.events.len(), 2);
        let got = &received.events[0];
        prop_assert_eq!(&got.data, &normalised(&data));
        prop_assert_eq!(&got.event, event.as_deref().unwrap_or("message"));
        prop_assert_eq!(&got.last_event_id, &id.unwrap_or_else(|| format!("{}-1", hub.epoch())));
        prop_assert_eq!(received.retry, retry);
        prop_assert_eq!(&received.events[1].data, "sentinel");
        prop_assert_eq!(&received.events[1].event, "message");
    }
}
