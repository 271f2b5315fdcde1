//! An engine as a publisher and a reader meet it, and what a reader got in words that fit into an assertion.

#![allow(dead_code, reason = "each test crate uses a part")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use fanfare_engine::{
    Config, Draft, Engine, Epoch, Frame, LagPolicy, PublishError, Pulled, Start, SubscribeError,
    SubscribeOptions, Subscription, Timestamp, Watcher,
};

/// The epoch of every hub in these tests.
pub(crate) const EPOCH: &str = "testing1";

/// The time of calls that do not care.
pub(crate) const NOW: Timestamp = Timestamp(1);

/// An engine without a limit of age.
pub(crate) fn engine(change: impl FnOnce(&mut Config)) -> Engine {
    let mut config = Config::new(Epoch::parse(EPOCH).expect("a valid epoch"));
    config.history.age_ms = 0;
    change(&mut config);
    Engine::new(config).expect("a valid configuration")
}

/// An engine that keeps `events` of each topic.
pub(crate) fn keeping(events: u32) -> Engine {
    engine(|config| config.history.events = events)
}

/// Publishes `data`; returns its position.
pub(crate) fn put(engine: &Engine, topic: &str, data: &str) -> u64 {
    put_draft(engine, Draft::new(topic, data)).expect("a good event")
}

/// Publishes each of `data`.
pub(crate) fn put_all(engine: &Engine, topic: &str, data: &[&str]) {
    for data in data {
        put(engine, topic, data);
    }
}

/// Publishes a draft; returns its position.
pub(crate) fn put_draft(engine: &Engine, draft: Draft<'_>) -> Result<u64, PublishError> {
    engine.publish(draft, NOW).map(|published| published.seq)
}

/// A draft with a conflation key.
pub(crate) fn keyed<'a>(topic: &'a str, key: &'a str, data: &'a str) -> Draft<'a> {
    Draft { key: Some(key.into()), ..Draft::new(topic, data) }
}

/// The id of a position.
pub(crate) fn id(seq: u64) -> String {
    format!("{EPOCH}-{seq}")
}

/// The whole of a gap notice in words: its id, then its data.
pub(crate) fn gap(id_at: u64, requested: &str, oldest: Option<&str>, newest: Option<&str>) -> String {
    let text = |id: Option<&str>| id.map_or("null".to_owned(), |id| format!("\"{id}\""));
    let (oldest, newest) = (text(oldest), text(newest));
    format!("gap {}: {{\"requested\":\"{requested}\",\"oldest\":{oldest},\"newest\":{newest}}}", id(id_at))
}

/// A frame in words: an event's data, or the whole of a gap notice.
pub(crate) fn words(frame: &Frame) -> String {
    if frame.is_gap() {
        assert_eq!(frame.event(), Some("fanfare.gap"), "the type of a notice");
        format!("gap {}: {}", frame.id(), frame.data())
    } else {
        frame.data().into_owned()
    }
}

/// Options for reading `topics`.
pub(crate) fn options<'a>(topics: &[&'a str], start: Start<'a>) -> SubscribeOptions<'a> {
    SubscribeOptions {
        topics: topics.iter().map(|&topic| topic.into()).collect(),
        start,
        ..Default::default()
    }
}

/// A start after the event at a position.
pub(crate) fn after(seq: u64) -> Start<'static> {
    Start::After(id(seq).into())
}

/// A subscription with a watcher of its own.
pub(crate) struct Reader {
    pub(crate) subscription: Subscription,
    pub(crate) watcher: Watcher,
}

impl Reader {
    pub(crate) fn open(engine: &Engine, options: &SubscribeOptions<'_>) -> Result<Self, SubscribeError> {
        let watcher = engine.watcher();
        let subscription = engine.subscribe(&watcher, options, NOW)?;
        Ok(Self { subscription, watcher })
    }

    pub(crate) fn new(engine: &Engine, topics: &[&str], start: Start<'_>) -> Self {
        Self::open(engine, &options(topics, start)).expect("can be read")
    }

    pub(crate) fn with_lag(engine: &Engine, topics: &[&str], start: Start<'_>, lag: LagPolicy) -> Self {
        Self::open(engine, &SubscribeOptions { lag, ..options(topics, start) }).expect("can be read")
    }

    /// Everything that is there, in small batches, and how that ended.
    pub(crate) fn frames(&self) -> (Vec<Frame>, Pulled) {
        let mut frames = Vec::new();
        loop {
            match self.subscription.pull(&mut frames, 64) {
                Pulled::More => {}
                end => return (frames, end),
            }
        }
    }

    /// Everything that is there, in words, for a reader that goes on.
    pub(crate) fn idle(&self) -> Vec<String> {
        let (frames, end) = self.frames();
        assert_eq!(end, Pulled::Idle);
        frames.iter().map(words).collect()
    }

    /// Everything that is there, in words, for a reader that ends for `end`.
    pub(crate) fn until(&self, end: Pulled) -> Vec<String> {
        let (frames, ended) = self.frames();
        assert_eq!(ended, end);
        frames.iter().map(words).collect()
    }
}

/// What a new reader gets.
pub(crate) fn read(engine: &Engine, topics: &[&str], start: Start<'_>) -> Vec<String> {
    Reader::new(engine, topics, start).idle()
}

/// Counts how often it is woken.
#[derive(Default)]
pub(crate) struct Wakes(AtomicUsize);

impl Wakes {
    pub(crate) fn new() -> (Arc<Self>, Waker) {
        let wakes = Arc::new(Self::default());
        (Arc::clone(&wakes), Waker::from(wakes))
    }

    /// How often since the last call.
    pub(crate) fn take(&self) -> usize {
        self.0.swap(0, Ordering::Relaxed)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A small generator of numbers that look random (SplitMix64), the same in every run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of `0..n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}
