//! Whatever a publisher writes: it is refused and the named field is at fault, or every reader gets exactly that.

#![no_main]

use arbitrary::Arbitrary;
use fanfare_engine::wire::parse::{Item, ParsedEvent};
use fanfare_engine::{Config, Draft, Engine, Epoch, PublishError, Start, SubscribeOptions, Timestamp};
use fanfare_fuzz::reference;
use libfuzzer_sys::fuzz_target;

const EVENT_BYTES: usize = 256;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    topic: Option<&'a str>,
    event: Option<&'a str>,
    id: Option<&'a str>,
    retry: Option<u64>,
    except: Option<&'a str>,
    key: Option<&'a str>,
    data: &'a str,
}

fuzz_target!(|input: Input<'_>| {
    let mut config = Config::new(Epoch::parse("fuzz").expect("a valid epoch"));
    config.limits.event_bytes = EVENT_BYTES as u64;
    let engine = Engine::new(config).expect("a valid configuration");
    let topic = input.topic.unwrap_or("t");
    let draft = Draft {
        topic: topic.into(),
        event: input.event.map(Into::into),
        id: input.id.map(Into::into),
        data: input.data.into(),
        retry: input.retry,
        except: input.except.map(Into::into),
        key: input.key.map(Into::into),
    };
    let faults = faults(&input, topic);
    match engine.publish(draft, Timestamp(1)) {
        Ok(_) => assert!(faults.is_empty(), "accepted in spite of {faults:?}"),
        Err(PublishError::Invalid(invalid)) => assert!(faults.contains(&invalid.field.as_str()), "{invalid}"),
        Err(PublishError::TooLarge { .. }) => assert!(faults.contains(&"data")),
        Err(other) => panic!("{other}"),
    }
    if faults.contains(&"topic") {
        return;
    }
    engine.publish(Draft::new(topic, "sentinel"), Timestamp(2)).expect("within the rules");

    let watcher = engine.watcher();
    let options =
        SubscribeOptions { topics: vec![topic.into()], start: Start::All, ..SubscribeOptions::default() };
    let subscription = engine.subscribe(&watcher, &options, Timestamp(3)).expect("a valid topic");
    let mut frames = Vec::new();
    let _ = subscription.pull(&mut frames, usize::MAX);
    let stream: Vec<u8> = frames.iter().flat_map(|frame| frame.wire().to_vec()).collect();

    let mut expected = Vec::new();
    if faults.is_empty() {
        expected.extend(input.retry.map(Item::Retry));
        expected.push(Item::Event(ParsedEvent {
            event: input.event.unwrap_or("message").to_owned(),
            data: input.data.replace("\r\n", "\n").replace('\r', "\n"),
            last_event_id: input.id.unwrap_or("fuzz-1").to_owned(),
        }));
    }
    expected.push(Item::Event(ParsedEvent {
        event: "message".to_owned(),
        data: "sentinel".to_owned(),
        last_event_id: format!("fuzz-{}", frames.len()),
    }));
    assert_eq!(reference::read(&stream).items, expected);
    for frame in &frames {
        // RFC 9112 section 7.1: size in hexadecimal, CRLF, data, CRLF.
        let mut chunk = format!("{:x}\r\n", frame.wire().len()).into_bytes();
        chunk.extend_from_slice(frame.wire());
        chunk.extend_from_slice(b"\r\n");
        assert_eq!(frame.chunk(), chunk);
    }
});

/// The fields that break the published rules, written down a second time.
fn faults(input: &Input<'_>, topic: &str) -> Vec<&'static str> {
    let plain =
        |text: &str, max: usize| (1..=max).contains(&text.len()) && !text.chars().any(char::is_control);
    let id = |id: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._~-".contains(c);
        let digits = id.strip_prefix("fuzz-").unwrap_or("");
        let reserved = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit());
        (1..=128).contains(&id.len()) && id.chars().all(allowed) && !reserved
    };
    let rules = [
        ("topic", plain(topic, 255)),
        ("event", input.event.is_none_or(|event| plain(event, 255) && !event.starts_with("fanfare."))),
        ("id", input.id.is_none_or(id)),
        ("retry", input.retry.is_none_or(|ms| ms <= 86_400_000)),
        ("except", input.except.is_none_or(|client| plain(client, 128))),
        ("key", input.key.is_none_or(|key| plain(key, 255))),
        ("data", input.data.len() <= EVENT_BYTES),
    ];
    rules.into_iter().filter(|(_, kept)| !kept).map(|(field, _)| field).collect()
}
