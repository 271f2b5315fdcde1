//! An engine under test, seen as a publisher and a reader see one.

use std::borrow::Cow;

use fanfare_engine::wire::parse::{Item, ParsedEvent, Parser};
use fanfare_engine::{
    Config, Draft, Engine, Epoch, Frame, LagPolicy, PublishError, Pulled, Start, SubscribeError,
    SubscribeOptions, Timestamp,
};

use crate::case::Names;

/// The epoch of every hub in these tests.
const EPOCH: &str = "vectors1";

/// An engine, and the ids that its events got.
pub(crate) struct Hub {
    engine: Engine,
    /// Data and id of each published event, oldest first.
    published: Vec<(String, String)>,
}

/// What a reader got.
#[derive(Debug)]
pub(crate) struct Received {
    /// As frames.
    pub(crate) frames: Vec<Frame>,
    /// As a client parses the frames' bytes.
    pub(crate) events: Vec<ParsedEvent>,
    /// The reconnection time that the client was told.
    pub(crate) retry: Option<u64>,
}

impl Hub {
    pub(crate) fn new(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(Epoch::parse(EPOCH).expect("a valid epoch"));
        config.history.age_ms = 0;
        change(&mut config);
        Self { engine: Engine::new(config).expect("a valid configuration"), published: Vec::new() }
    }

    pub(crate) fn publish(&mut self, draft: Draft<'_>) -> Result<(), PublishError> {
        let (topic, data) = (draft.topic.clone().into_owned(), draft.data.clone().into_owned());
        let own = draft.id.clone().map(Cow::into_owned);
        let published = self.engine.publish(draft, Timestamp(1))?;
        assert_eq!(published.events, 1, "no handler is there to drop {data:?} of {topic:?}");
        let id = own.unwrap_or_else(|| self.engine.id_of(published.seq).to_string());
        self.published.push((data, id));
        Ok(())
    }

    pub(crate) fn close(&self, topic: &str) {
        assert!(self.engine.close_topic(topic, Timestamp(1)).expect("a valid topic"), "{topic} was open");
    }

    /// Subscribes and takes what there is: nothing more may follow.
    pub(crate) fn read(&self, topics: &[&str], start: Start<'_>) -> Result<Received, SubscribeError> {
        let watcher = self.engine.watcher();
        let options = SubscribeOptions {
            topics: topics.iter().map(|&topic| Cow::Borrowed(topic)).collect(),
            start,
            client: None,
            events: Vec::new(),
            lag: LagPolicy::Disconnect,
        };
        let subscription = self.engine.subscribe(&watcher, &options, Timestamp(1))?;
        let mut frames = Vec::new();
        // Small batches, so that a replay is pulled in several.
        let end = loop {
            match subscription.pull(&mut frames, 64) {
                Pulled::More => {}
                end => break end,
            }
        };
        assert!(matches!(end, Pulled::Idle | Pulled::Ended), "nothing is published meanwhile, yet {end:?}");
        let mut parser = Parser::new();
        let mut events = Vec::new();
        let mut retry = None;
        for frame in &frames {
            let items: Vec<Item> = parser.feed(frame.wire()).collect();
            for item in items {
                match item {
                    Item::Event(event) => events.push(event),
                    Item::Retry(ms) => retry = Some(ms),
                    other => panic!("a frame holds one event and nothing else, not {other:?}"),
                }
            }
            assert_eq!(parser.last_event_id(), frame.id(), "a frame is complete and its own id is in force");
        }
        assert_eq!(frames.len(), events.len(), "one event in each frame");
        Ok(Received { frames, events, retry })
    }
}

impl Names for Hub {
    fn id_of(&self, data: &str) -> String {
        let found = self.published.iter().find(|(published, _)| published == data);
        found.unwrap_or_else(|| panic!("nothing was published with data {data:?}")).1.clone()
    }

    fn epoch(&self) -> String {
        EPOCH.to_owned()
    }
}
