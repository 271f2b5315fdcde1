//! Random operations against a naive model that predicts, for every reader, what each pull gives: the order, nothing
//! twice, every hole told with the exact words, the filter.
#![cfg(not(loom))]

#[path = "model/naive.rs"]
mod naive;
mod support;

use fanfare_engine::{
    Draft, Engine, LagPolicy, PublishError, Pulled, Start, SubscribeError, SubscribeOptions, Subscription,
    Timestamp,
};
use naive::{Arrival, Event, Model, Read, TOPICS, Wanted};
use proptest::prelude::*;
use support::{EPOCH, engine, id, words};

const NAMES: [&str; TOPICS] = ["a", "b", "c"];
const HISTORY: u32 = 4;
const AGE_MS: u64 = 1000;

#[derive(Clone, Debug)]
struct Publication {
    topic: usize,
    own: Option<u8>,
    kind: Option<&'static str>,
    except: Option<&'static str>,
    key: Option<&'static str>,
}

#[derive(Clone, Debug)]
enum From {
    Live,
    All,
    Last(u64),
    /// After a position this far behind the newest (or before it, if negative).
    Back(i64),
    Own(u8),
    Elsewhere,
}

#[derive(Clone, Debug)]
enum Op {
    Publish(Publication),
    Batch(Vec<Publication>),
    Subscribe {
        topics: Vec<usize>,
        from: From,
        kinds: Vec<&'static str>,
        client: Option<&'static str>,
        lag: LagPolicy,
    },
    Pull {
        reader: usize,
        bytes: usize,
    },
    Return {
        reader: usize,
    },
    Add {
        reader: usize,
        topic: usize,
    },
    Remove {
        reader: usize,
        topic: usize,
    },
    Leave {
        reader: usize,
    },
    Close {
        topic: usize,
    },
    Wait {
        ms: u64,
    },
}

fn publication() -> impl Strategy<Value = Publication> {
    let some = |of: &'static [&'static str]| prop::option::weighted(0.4, prop::sample::select(of));
    let own = prop::option::weighted(0.2, 0..4_u8);
    (0..TOPICS, own, some(&["x", "y"]), some(&["me", "you"]), some(&["k1", "k2", "k3"]))
        .prop_map(|(topic, own, kind, except, key)| Publication { topic, own, kind, except, key })
}

fn from() -> impl Strategy<Value = From> {
    prop_oneof![
        2 => Just(From::Live),
        2 => Just(From::All),
        2 => (0..8_u64).prop_map(From::Last),
        6 => (-2..14_i64).prop_map(From::Back),
        2 => (0..4_u8).prop_map(From::Own),
        1 => Just(From::Elsewhere),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let lag = prop::sample::select(vec![LagPolicy::Disconnect, LagPolicy::Skip, LagPolicy::Conflate]);
    let topics = prop::sample::subsequence(vec![0, 1, 2], 1..=TOPICS).prop_shuffle();
    let kinds = prop_oneof![3 => Just(vec![]), 1 => Just(vec!["x"]), 1 => Just(vec!["message", "y"])];
    let client = prop::option::weighted(0.3, prop::sample::select(vec!["me", "you"]));
    let bytes = prop_oneof![Just(0_usize), 1..200_usize, Just(usize::MAX)];
    prop_oneof![
        40 => publication().prop_map(Op::Publish),
        4 => prop::collection::vec(publication(), 0..8).prop_map(Op::Batch),
        8 => (topics, from(), kinds, client, lag)
            .prop_map(|(topics, from, kinds, client, lag)| Op::Subscribe { topics, from, kinds, client, lag }),
        30 => (any::<usize>(), bytes).prop_map(|(reader, bytes)| Op::Pull { reader, bytes }),
        4 => any::<usize>().prop_map(|reader| Op::Return { reader }),
        3 => (any::<usize>(), 0..TOPICS).prop_map(|(reader, topic)| Op::Add { reader, topic }),
        3 => (any::<usize>(), 0..TOPICS).prop_map(|(reader, topic)| Op::Remove { reader, topic }),
        2 => any::<usize>().prop_map(|reader| Op::Leave { reader }),
        1 => (0..TOPICS).prop_map(|topic| Op::Close { topic }),
        4 => (0..600_u64).prop_map(|ms| Op::Wait { ms }),
    ]
}

/// The engine and its model, side by side.
struct Pair {
    engine: Engine,
    model: Model,
    readers: Vec<(Subscription, Wanted)>,
    now: u64,
}

impl Pair {
    fn new() -> Self {
        let engine = engine(|config| {
            config.history.events = HISTORY;
            config.history.age_ms = AGE_MS;
            config.topic.idle_ms = u64::MAX;
        });
        Self { engine, model: Model::new(HISTORY as usize, AGE_MS), readers: Vec::new(), now: 0 }
    }

    fn at(&self) -> Timestamp {
        Timestamp(self.now)
    }

    fn apply(&mut self, op: Op) {
        let count = self.readers.len();
        match op {
            Op::Publish(publication) => {
                let published = self.engine.publish(draft(&publication), self.at());
                if self.model.closed[publication.topic] {
                    assert_eq!(published, Err(PublishError::TopicClosed));
                } else {
                    self.note(&publication);
                    assert_eq!(published.map(|published| published.seq), Ok(self.model.newest()));
                }
            }
            Op::Batch(batch) => self.batch(&batch),
            Op::Subscribe { topics, from, kinds, client, lag } => {
                let start = self.start(&from);
                self.subscribe(&topics, &start, kinds, client, lag);
            }
            Op::Return { reader } if count > 0 => {
                let (subscription, wanted) = self.readers.swap_remove(reader % count);
                let topics: Vec<usize> = wanted.topics.iter().map(|read| read.topic).collect();
                let last = subscription.last_id();
                drop(subscription);
                if !topics.is_empty() {
                    self.subscribe(
                        &topics,
                        &Start::After(last.into()),
                        wanted.kinds,
                        wanted.client,
                        wanted.lag,
                    );
                }
            }
            Op::Pull { reader, bytes } if count > 0 => self.pull(reader % count, bytes),
            Op::Add { reader, topic } if count > 0 => {
                let (subscription, wanted) = &mut self.readers[reader % count];
                let added = subscription.add_topic(NAMES[topic], Timestamp(self.now));
                let newest = self.model.newest();
                if wanted.topics.iter().any(|read| read.topic == topic) {
                    assert_eq!(added, Ok(false));
                } else if self.model.closed[topic] {
                    assert_eq!(added, Err(SubscribeError::Closed));
                } else {
                    assert_eq!(added, Ok(true));
                    wanted.topics.push(Read { topic, told: newest, from: newest });
                }
            }
            Op::Remove { reader, topic } if count > 0 => {
                let (subscription, wanted) = &mut self.readers[reader % count];
                let there = wanted.topics.iter().position(|read| read.topic == topic);
                assert_eq!(subscription.remove_topic(NAMES[topic]), there.is_some());
                there.map(|at| wanted.topics.swap_remove(at));
            }
            Op::Leave { reader } if count > 0 => drop(self.readers.swap_remove(reader % count)),
            Op::Close { topic } => {
                let closed = self.engine.close_topic(NAMES[topic], self.at());
                assert_eq!(closed, Ok(!self.model.closed[topic]));
                self.model.closed[topic] = true;
            }
            Op::Wait { ms } => {
                self.now += ms;
                self.engine.handle_timeout(self.at());
                self.model.sweep(self.now);
            }
            _ => {}
        }
    }

    fn note(&mut self, publication: &Publication) {
        let Publication { topic, own, kind, except, key } = publication.clone();
        let own = own.map(|own| format!("own{own}"));
        let id = own.clone().unwrap_or_else(|| id(self.model.newest() + 1));
        self.model.publish(Event { topic, id, own, kind, except, key, at: self.now });
    }

    fn batch(&mut self, batch: &[Publication]) {
        let result = self.engine.publish_batch(batch.iter().map(draft).collect(), self.at());
        match batch.iter().position(|publication| self.model.closed[publication.topic]) {
            Some(index) => assert_eq!(result.map_err(|error| error.index), Err(index)),
            None => {
                let first = self.model.newest() + 1;
                batch.iter().for_each(|publication| self.note(publication));
                let seqs: Vec<u64> = result.expect("taken").iter().map(|published| published.seq).collect();
                assert_eq!(seqs, (first..=self.model.newest()).collect::<Vec<_>>());
            }
        }
    }

    fn start(&self, from: &From) -> Start<'static> {
        match from {
            From::Live => Start::Live,
            From::All => Start::All,
            From::Last(n) => Start::Last(*n),
            From::Back(n) => Start::After(id((self.model.newest() as i64 - n).max(0) as u64).into()),
            From::Own(n) => Start::After(format!("own{n}").into()),
            From::Elsewhere => Start::After("elsewhere-3".into()),
        }
    }

    fn subscribe(
        &mut self,
        topics: &[usize],
        start: &Start<'_>,
        kinds: Vec<&'static str>,
        client: Option<&'static str>,
        lag: LagPolicy,
    ) {
        let options = SubscribeOptions {
            topics: topics.iter().map(|topic| NAMES[*topic].into()).collect(),
            start: start.clone(),
            client: client.map(Into::into),
            events: kinds.iter().map(|kind| (*kind).into()).collect(),
            lag,
        };
        let subscribed = self.engine.subscribe(&self.engine.watcher(), &options, self.at());
        let model = &self.model;
        let newest = model.newest();
        let reads = topics.iter().map(|topic| {
            let lost_through = model.lost_through(*topic);
            Read { topic: *topic, told: lost_through, from: lost_through }
        });
        let (cursor, gap, arrival) = (newest, None, Arrival::First { newest });
        let mut wanted =
            Wanted { topics: reads.collect(), kinds, client, lag, cursor, gap, arrival, lapped: false };
        match start {
            Start::All => wanted.cursor = 0,
            Start::Last(n) => {
                let mut retained: Vec<u64> =
                    topics.iter().flat_map(|topic| model.retained(*topic, 0)).collect();
                retained.retain(|seq| model.wants(&wanted, *seq));
                retained.sort_unstable_by(|a, b| b.cmp(a));
                wanted.cursor = retained.into_iter().take(*n as usize).min().map_or(newest, |seq| seq - 1);
            }
            Start::After(asked) => {
                wanted.arrival = Arrival::Back;
                let prefix = format!("{EPOCH}-");
                let position = asked.strip_prefix(&prefix).and_then(|digits| digits.parse().ok());
                let found = position.filter(|seq| *seq <= newest).or_else(|| model.find_own(topics, asked));
                let missed = |seq| topics.iter().any(|topic| model.lost_through(*topic) > seq);
                wanted.cursor = found.unwrap_or(0);
                if found.is_none_or(missed) {
                    wanted.gap = Some(asked.clone().into_owned());
                }
            }
            _ => {}
        }
        if model.is_over(&wanted) {
            assert_eq!(subscribed.err(), Some(SubscribeError::Closed));
        } else {
            self.readers.push((subscribed.expect("can be read"), wanted));
        }
    }

    fn pull(&mut self, reader: usize, bytes: usize) {
        let (subscription, wanted) = &mut self.readers[reader];
        let before = wanted.clone();
        let mut frames = Vec::new();
        let pulled = subscription.pull(&mut frames, bytes);
        let expected = self.model.predict(wanted);
        let context =
            || format!("{before:?}\n{expected:?}\n{:?}", frames.iter().map(words).collect::<Vec<_>>());
        if expected.lapped {
            assert_eq!((pulled, frames.len()), (Pulled::Lapped, 0), "{}", context());
            return;
        }
        let mut got = frames.iter().peekable();
        if let Some(gap) = &expected.gap {
            let notice =
                got.next_if(|frame| frame.is_gap()).unwrap_or_else(|| panic!("no notice: {}", context()));
            let text = support::gap(gap.seq, &gap.requested, gap.oldest.as_deref(), gap.newest.as_deref());
            assert_eq!(words(notice), text, "{}", context());
        }
        let mut must = expected.must.iter().copied().peekable();
        let mut last = before.cursor;
        for frame in got {
            assert!(!frame.is_gap() && frame.seq() > last, "{}", context());
            last = frame.seq();
            if must.next_if_eq(&last).is_none() {
                assert!(expected.also.contains(&last), "unexpected {last}: {}", context());
            }
            assert!(must.peek().is_none_or(|next| *next > last), "left out before {last}: {}", context());
            assert_eq!(frame.id(), self.model.event(last).id);
        }
        let cursor = subscription.cursor();
        match pulled {
            Pulled::More => {
                assert!(!frames.is_empty() && bytes != usize::MAX, "{}", context());
                assert!(must.peek().is_none_or(|next| *next > cursor) && cursor >= last, "{}", context());
            }
            _ => {
                assert_eq!(must.next(), None, "{}", context());
                let end = if expected.ended { Pulled::Ended } else { Pulled::Idle };
                assert_eq!((pulled, cursor), (end, self.model.newest()), "{}", context());
            }
        }
        wanted.cursor = cursor;
    }

    fn finish(mut self) {
        for reader in 0..self.readers.len() {
            self.pull(reader, usize::MAX);
        }
        let stats = self.engine.stats();
        assert_eq!(stats.published, self.model.newest());
        let retained: usize = (0..TOPICS).map(|topic| self.model.retained(topic, 0).count()).sum();
        assert_eq!((stats.history_events, stats.subscriptions), (retained as u64, self.readers.len()));
        self.readers.clear();
        let kept = self.engine.topic_stats(TOPICS).iter().map(|topic| topic.bytes).sum::<u64>();
        assert_eq!(self.engine.stats().history_bytes, kept);
    }
}

fn draft(publication: &Publication) -> Draft<'static> {
    let Publication { topic, own, kind, except, key } = publication.clone();
    Draft {
        event: kind.map(Into::into),
        id: own.map(|own| format!("own{own}").into()),
        except: except.map(Into::into),
        key: key.map(Into::into),
        ..Draft::new(NAMES[topic], "some data")
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_pull_is_as_predicted(ops in prop::collection::vec(op(), 1..250)) {
        let mut pair = Pair::new();
        for op in ops {
            pair.apply(op);
        }
        pair.finish();
    }
}
