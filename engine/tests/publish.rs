//! Publishing: what is taken, what is refused, and that a refusal changes nothing for anybody.
#![cfg(not(loom))]

mod support;

use fanfare_engine::{
    Code, Config, Draft, Engine, Epoch, Field, InvalidField, MAX_CLIENT_BYTES, MAX_EVENT_TYPE_BYTES,
    MAX_ID_BYTES, MAX_KEY_BYTES, MAX_RETRY_MS, MAX_TOPIC_BYTES, PublishError, Reason, Start,
};
use support::*;

fn good() -> Draft<'static> {
    Draft::new("t", "d")
}

#[test]
fn every_field_arrives() {
    let engine = keeping(10);
    let reader = Reader::new(&engine, &["tøpic/1"], Start::Live);
    let draft = Draft {
        topic: "tøpic/1".into(),
        event: Some("greet".into()),
        id: Some("own.1".into()),
        data: "a\nb\r\nc\rd".into(),
        retry: Some(1500),
        except: Some("me".into()),
        key: Some("k".into()),
    };
    let published = engine.publish(draft, NOW).unwrap();
    assert_eq!((published.seq, published.events, published.own_id.as_deref()), (1, 1, Some("own.1")));
    let (frames, _) = reader.frames();
    let frame = &frames[0];
    let wire = "event: greet\nretry: 1500\ndata: a\ndata: b\ndata: c\ndata: d\nid: own.1\n\n";
    assert_eq!(frame.wire(), wire.as_bytes());
    assert_eq!(
        (frame.seq(), frame.topic(), frame.id(), frame.event()),
        (1, "tøpic/1", "own.1", Some("greet"))
    );
    assert_eq!((&*frame.data(), frame.except(), frame.key()), ("a\nb\nc\nd", Some("me"), "k"));
    assert_eq!((frame.is_gap(), frame.published_at()), (false, NOW));
}

#[test]
fn nothing_but_data_is_needed() {
    let engine = keeping(10);
    let reader = Reader::new(&engine, &["t"], Start::Live);
    let published = engine.publish(Draft::new("t", ""), NOW).unwrap();
    assert_eq!(published.own_id, None);
    assert_eq!(engine.id_of(published.seq).to_string(), id(1));
    let (frames, _) = reader.frames();
    assert_eq!(frames[0].wire(), format!("data: \nid: {EPOCH}-1\n\n").as_bytes());
    assert_eq!((frames[0].id(), frames[0].event(), &*frames[0].data()), (&*id(1), None, ""));
}

#[test]
fn positions_are_one_sequence_over_all_topics() {
    let engine = keeping(10);
    for n in 1..=20 {
        assert_eq!(put(&engine, ["a", "b", "c"][n % 3], "x"), n as u64);
        assert_eq!(engine.newest(), n as u64);
    }
}

/// A hub with a reader of every topic that the cases use; after a refusal it must be as before.
struct Watched {
    engine: Engine,
    reader: Reader,
    refused: u64,
}

impl Watched {
    fn new(change: impl FnOnce(&mut Config)) -> Self {
        let engine = engine(change);
        let reader = Reader::new(&engine, &["t"], Start::Live);
        put(&engine, "t", "first");
        assert_eq!(reader.idle(), ["first"]);
        Self { engine, reader, refused: 0 }
    }

    fn refuses(&mut self, draft: Draft<'_>) -> PublishError {
        let error = self.engine.publish(draft.clone(), NOW).expect_err("refused");
        self.unchanged(1);
        let batch = vec![good(), draft, good()];
        let in_batch = self.engine.publish_batch(batch, NOW).expect_err("refused");
        assert_eq!((in_batch.index, &in_batch.error), (1, &error));
        assert_eq!(in_batch.to_string(), format!("event 2 of the batch: {error}"));
        self.unchanged(3);
        error
    }

    fn unchanged(&mut self, refused: u64) {
        self.refused += refused;
        let stats = self.engine.stats();
        assert_eq!(
            (stats.published, stats.topics, stats.history_events, stats.refused),
            (1, 1, 1, self.refused)
        );
        assert_eq!(self.engine.newest(), 1);
        assert_eq!(self.reader.idle(), [""; 0], "a reader beside sees nothing");
    }

    fn takes(&self, draft: Draft<'_>) {
        let data = draft.data.clone().into_owned();
        self.engine.publish(draft, NOW).expect("taken");
        let (frames, _) = self.reader.frames();
        assert_eq!(frames.len(), 1);
        assert_eq!(frames[0].data(), data);
    }
}

#[test]
fn sizes_are_exact_at_their_limits() {
    type Make = fn(&str) -> Draft<'_>;
    let fields: [(Field, usize, Make); 5] = [
        (Field::Topic, MAX_TOPIC_BYTES, |text| Draft::new(text, "d")),
        (Field::Event, MAX_EVENT_TYPE_BYTES, |text| good().with_event(text)),
        (Field::Id, MAX_ID_BYTES, |text| good().with_id(text)),
        (Field::Except, MAX_CLIENT_BYTES, |text| Draft { except: Some(text.into()), ..good() }),
        (Field::Key, MAX_KEY_BYTES, |text| Draft { key: Some(text.into()), ..good() }),
    ];
    for (field, limit, make) in fields {
        let mut hub = Watched::new(|_| ());
        let error = hub.refuses(make(&"x".repeat(limit + 1)));
        assert_eq!(error, PublishError::Invalid(InvalidField { field, reason: Reason::TooLong(limit) }));
        assert!(error.to_string().contains(&limit.to_string()), "{error}");
        let error = hub.refuses(make(""));
        assert_eq!(error, PublishError::Invalid(InvalidField { field, reason: Reason::Empty }));
        for size in [1, limit - 1, limit] {
            let text = "x".repeat(size);
            hub.engine.publish(make(&text), NOW).unwrap_or_else(|error| panic!("{size} bytes: {error}"));
        }
    }
}

#[test]
fn data_is_exact_at_its_limit() {
    let mut hub = Watched::new(|config| config.limits.event_bytes = 1000);
    let error = hub.refuses(Draft::new("t", "x".repeat(1001)));
    assert_eq!(error, PublishError::TooLarge { limit: 1000, size: 1001 });
    assert_eq!(error.code(), Code::TooLarge);
    assert!(
        error.to_string().contains("1001") && error.to_string().contains("limits.event_bytes"),
        "{error}"
    );
    for size in [999, 1000] {
        hub.takes(Draft::new("t", "x".repeat(size)));
    }
    assert_eq!(
        hub.engine.publish(Draft::new("t", "\n".repeat(1000)), NOW).unwrap().events,
        1,
        "lines cost nothing"
    );
}

#[test]
fn retry_is_exact_at_its_limit() {
    let mut hub = Watched::new(|_| ());
    for ms in [MAX_RETRY_MS + 1, u64::MAX] {
        let error = hub.refuses(Draft { retry: Some(ms), ..good() });
        assert_eq!(error.code(), Code::InvalidRetry);
    }
    for ms in [0, MAX_RETRY_MS - 1, MAX_RETRY_MS] {
        hub.takes(Draft { retry: Some(ms), ..good() });
    }
}

/// Reliability D9 at the engine.
#[test]
fn hostile_fields_publish_nothing() {
    let mut hub = Watched::new(|_| ());
    let controls = (0..0x20).chain(0x7f..0xa0).map(|c| char::from_u32(c).expect("a character"));
    for c in controls {
        for text in [format!("{c}"), format!("a{c}"), format!("{c}b"), format!("a{c}data: forged{c}{c}b")] {
            let cases = [
                (Code::InvalidTopic, "topic", Draft::new(&*text, "d")),
                (Code::InvalidEvent, "event", good().with_event(&*text)),
                (Code::InvalidId, "id", good().with_id(&*text)),
                (Code::InvalidClient, "except", Draft { except: Some((&*text).into()), ..good() }),
                (Code::InvalidKey, "key", Draft { key: Some((&*text).into()), ..good() }),
            ];
            for (code, field, draft) in cases {
                let error = hub.refuses(draft);
                assert_eq!(error.code(), code, "{text:?}");
                assert!(error.to_string().starts_with(field), "{error}");
                assert!(!error.to_string().chars().any(char::is_control), "{error:?}");
            }
        }
    }
    let megabyte = "x".repeat(1 << 20);
    for draft in [Draft::new(&*megabyte, "d"), good().with_event(&*megabyte), good().with_id(&*megabyte)] {
        hub.refuses(draft);
    }
    for id in [
        "ä",
        "a b",
        "a/b",
        "a\"b",
        "a:b",
        "\u{feff}",
        "\u{2028}",
        "*",
        &id(1),
        &id(99),
        &format!("{EPOCH}-01"),
    ] {
        assert_eq!(hub.refuses(good().with_id(id)).code(), Code::InvalidId, "{id:?}");
    }
    for event in ["fanfare.", "fanfare.gap", "fanfare.heartbeat"] {
        assert_eq!(hub.refuses(good().with_event(event)).code(), Code::InvalidEvent);
    }
}

#[test]
fn what_only_looks_hostile_is_taken() {
    let hub = Watched::new(|_| ());
    for data in ["\0", "\u{feff}x", "id: 1", "a\u{2028}b\u{85}c\u{b}\u{c}", ":", " ", "\u{1f389}"] {
        hub.takes(Draft::new("t", data));
    }
    for event in ["fanfare", "Fanfare.gap", "a:b", "é\u{2028}", " ", "id"] {
        hub.takes(good().with_event(event));
    }
    for id in ["other-1", "testing1-x", "testing1-", "testing12-3", "-", "a.b_c~d-E9"] {
        hub.takes(good().with_id(id));
    }
}

#[test]
fn a_batch_is_one_step() {
    let engine = keeping(100);
    let reader = Reader::new(&engine, &["a", "b"], Start::Live);
    let batch = vec![
        Draft::new("a", "1"),
        Draft::new("b", "2").with_id("own"),
        Draft::new("a", "3"),
        Draft::new("c", "4"),
    ];
    let published = engine.publish_batch(batch, NOW).unwrap();
    let seqs: Vec<u64> = published.iter().map(|published| published.seq).collect();
    assert_eq!(seqs, [1, 2, 3, 4]);
    assert_eq!(published[1].own_id.as_deref(), Some("own"));
    assert_eq!(reader.idle(), ["1", "2", "3"]);
    assert_eq!(engine.publish_batch(Vec::new(), NOW).unwrap(), []);
}

#[test]
fn batches_are_never_torn() {
    let engine = keeping(100_000);
    std::thread::scope(|scope| {
        for publisher in 0..4 {
            let engine = &engine;
            scope.spawn(move || {
                for n in 0..500 {
                    let data = format!("{publisher}.{n}");
                    engine.publish_batch((0..5).map(|_| Draft::new("t", &*data)).collect(), NOW).unwrap();
                }
            });
        }
        let reader = Reader::new(&engine, &["t"], Start::All);
        let mut frames = Vec::new();
        while frames.len() < 10_000 {
            let _ = reader.subscription.pull(&mut frames, usize::MAX);
            assert_eq!(frames.len() % 5, 0, "a batch is visible as a whole or not at all");
        }
        for batch in frames.chunks(5) {
            assert!(batch.iter().all(|frame| frame.data() == batch[0].data()));
        }
    });
}

#[test]
fn a_batch_that_cannot_have_its_topics_opens_none() {
    let engine = engine(|config| config.limits.topics = 3);
    put(&engine, "a", "x");
    let batch = ["a", "b", "c", "b", "d", "e"].map(|topic| Draft::new(topic, "y"));
    let error = engine.publish_batch(batch.to_vec(), NOW).unwrap_err();
    assert_eq!((error.index, error.error), (4, PublishError::TopicLimit { limit: 3 }));
    assert_eq!((engine.stats().topics, engine.stats().published), (1, 1));
    engine.publish_batch(batch[..4].to_vec(), NOW).unwrap();
    assert_eq!(engine.stats().topics, 3);
}

#[test]
fn a_batch_with_a_closed_topic_publishes_nothing() {
    let engine = keeping(10);
    engine.close_topic("closed", NOW).unwrap();
    let batch = ["a", "closed", "a"].map(|topic| Draft::new(topic, "y"));
    let error = engine.publish_batch(batch.to_vec(), NOW).unwrap_err();
    assert_eq!((error.index, error.error), (1, PublishError::TopicClosed));
    assert_eq!(engine.stats().published, 0);
}

#[test]
fn a_batch_longer_than_history_leaves_its_end() {
    let engine = keeping(3);
    engine.publish_batch((0..10).map(|n| Draft::new("t", n.to_string())).collect(), NOW).unwrap();
    assert_eq!(read(&engine, &["t"], Start::All), ["7", "8", "9"]);
    let told = gap(7, &id(2), Some(&id(8)), Some(&id(10)));
    assert_eq!(read(&engine, &["t"], after(2)), [&told, "7", "8", "9"]);
}

#[test]
fn contradictory_configurations_are_refused() {
    let bad = |change: fn(&mut Config)| {
        let mut config = Config::new(Epoch::from_seed(1));
        change(&mut config);
        Engine::new(config).expect_err("refused").key
    };
    assert_eq!(bad(|config| config.history.events = 0), "history.events");
    assert_eq!(bad(|config| config.limits.event_bytes = u64::MAX), "limits.event_bytes");
    assert_eq!(bad(|config| config.limits.history_bytes = 0), "limits.history_bytes");
}
