//! Pulling for many at once gives every reader exactly what it would have got alone.
#![cfg(not(loom))]

mod support;

use std::task::{Context, Poll};

use fanfare_engine::{Draft, Engine, LagPolicy, Pulled, Start, SubscribeOptions, Subscription, pull_each};
use proptest::prelude::*;
use support::*;

/// A reader of the crowd, and its twin that pulls alone, with what both have got.
struct Pair {
    together: Subscription,
    alone: Subscription,
    got: Vec<String>,
    expected: Vec<String>,
}

impl Pair {
    fn new(engine: &Engine, options: &SubscribeOptions<'_>) -> Self {
        let open = || engine.subscribe(&engine.watcher(), options, NOW).expect("can be read");
        Self { together: open(), alone: open(), got: Vec::new(), expected: Vec::new() }
    }

    fn pull_alone(&mut self, max_bytes: usize) -> Pulled {
        let mut frames = Vec::new();
        let pulled = self.alone.pull(&mut frames, max_bytes);
        self.expected.extend(frames.iter().map(words));
        pulled
    }
}

/// Pulls once for all, together and alone, and compares.
fn pull_all(pairs: &mut [Pair], max_bytes: usize) {
    let ends: Vec<Pulled> = pairs.iter_mut().map(|pair| pair.pull_alone(max_bytes)).collect();
    let readers: Vec<Subscription> = pairs.iter().map(|pair| pair.together.clone()).collect();
    let mut at = 0;
    let more = pull_each(&readers, &mut Vec::new(), max_bytes, |reader, frames, pulled| {
        let pair = &mut pairs[at];
        assert_eq!((reader.key(), pulled), (pair.together.key(), ends[at]), "reader {at}");
        pair.got.extend(frames.iter().map(words));
        assert_eq!(pair.got, pair.expected, "reader {at}");
        at += 1;
    });
    assert_eq!((at, more), (readers.len(), ends.contains(&Pulled::More)));
    for pair in pairs {
        assert_eq!(pair.together.cursor(), pair.alone.cursor());
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Publishes so many to a topic.
    Publish(u8, u8),
    /// A reader comes: topics, start, policy, filter.
    Enter(u8, u8, u8, u8),
    Leave(u8),
    Pull(u16),
    /// One of the crowd pulls alone, and its twin with it.
    Stray(u8),
    Close(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_u8, 1..8_u8).prop_map(|(topic, n)| Step::Publish(topic, n)),
        4 => (0..4_u8, 0..4_u8, 0..3_u8, 0..6_u8).prop_map(|(t, s, l, f)| Step::Enter(t, s, l, f)),
        1 => any::<u8>().prop_map(Step::Leave),
        4 => prop_oneof![Just(u16::MAX), 1..200_u16].prop_map(Step::Pull),
        1 => any::<u8>().prop_map(Step::Stray),
        1 => prop_oneof![9 => Just(3), 1 => 0..3_u8].prop_map(Step::Close),
    ]
}

fn enter(engine: &Engine, topics: u8, start: u8, lag: u8, filter: u8) -> Option<Pair> {
    let topics: &[&str] = [&["a"][..], &["a"], &["b"], &["a", "c"]][usize::from(topics)];
    let start = [Start::Live, Start::All, Start::Last(2), after(3)][usize::from(start)].clone();
    let mut options = options(topics, start);
    options.lag = [LagPolicy::Disconnect, LagPolicy::Skip, LagPolicy::Conflate][usize::from(lag)];
    match filter {
        0 => options.events = vec!["odd".into()],
        1 => options.client = Some("me".into()),
        _ => {}
    }
    // A topic may be closed by now.
    engine.subscribe(&engine.watcher(), &options, NOW).ok()?;
    Some(Pair::new(engine, &options))
}

proptest! {
    #[test]
    fn each_reader_gets_what_it_would_get_alone(steps in prop::collection::vec(step(), 1..60)) {
        let engine = keeping(6);
        let (mut pairs, mut published) = (Vec::new(), 0);
        for step in steps {
            match step {
                Step::Publish(topic, n) => {
                    for _ in 0..n {
                        published += 1;
                        let data = published.to_string();
                        let mut draft = Draft::new(["a", "b", "c"][usize::from(topic)], &data);
                        draft.event = (published % 2 == 1).then(|| "odd".into());
                        draft.except = (published % 3 == 0).then(|| "me".into());
                        draft.key = (published % 4 == 0).then(|| "key".into());
                        // Refused when the topic is closed.
                        let _ = put_draft(&engine, draft);
                    }
                }
                Step::Enter(topics, start, lag, filter) => pairs.extend(enter(&engine, topics, start, lag, filter)),
                Step::Leave(at) if !pairs.is_empty() => {
                    pairs.remove(usize::from(at) % pairs.len());
                }
                Step::Stray(at) if !pairs.is_empty() => {
                    let at = usize::from(at) % pairs.len();
                    let pair = &mut pairs[at];
                    let mut frames = Vec::new();
                    let pulled = pair.together.pull(&mut frames, 100);
                    pair.got.extend(frames.iter().map(words));
                    prop_assert_eq!(pulled, pair.pull_alone(100));
                }
                Step::Leave(_) | Step::Stray(_) => {}
                Step::Pull(max_bytes) => pull_all(&mut pairs, usize::from(max_bytes)),
                Step::Close(topic) => {
                    if let Some(name) = ["a", "b", "c"].get(usize::from(topic)) {
                        engine.close_topic(name, NOW).expect("a good name");
                    }
                }
            }
        }
        pull_all(&mut pairs, usize::MAX);
    }
}

/// Neighbours share what was looked up: they get the very same frames, not copies of their own.
#[test]
fn neighbours_share_one_look_into_history() {
    let engine = keeping(10);
    let watcher = engine.watcher();
    let subscribe = |_| engine.subscribe(&watcher, &options(&["t"], Start::Live), NOW).expect("can be read");
    let readers: Vec<Subscription> = (0..3).map(subscribe).collect();
    put_all(&engine, "t", &["1", "2"]);
    let mut addresses = Vec::new();
    pull_each(&readers, &mut Vec::new(), usize::MAX, |_, frames, pulled| {
        assert_eq!((frames.len(), pulled), (2, Pulled::Idle));
        addresses.push(frames.as_ptr());
        if addresses.len() == 1 {
            // Too late for this time, and not only for the first one.
            put(&engine, "t", "3");
        }
    });
    assert_eq!(addresses, [addresses[0]; 3]);
    assert!(!watcher.park(), "what came meanwhile is news");
    let mut got = Vec::new();
    pull_each(&readers, &mut Vec::new(), usize::MAX, |_, frames, _| got.extend(frames.iter().map(words)));
    assert_eq!(got, ["3", "3", "3"]);
}

/// A reader that was polled before, and whose watcher was cleared by that, still sleeps only when it has everything.
#[test]
fn a_reader_may_be_polled_and_pulled_in_turn() {
    let engine = keeping(10);
    let reader = Reader::new(&engine, &["t"], Start::Live);
    let (wakes, waker) = Wakes::new();
    let mut cx = Context::from_waker(&waker);
    let mut frames = Vec::new();
    put(&engine, "t", "1");
    assert_eq!(reader.subscription.poll(&mut cx, &mut frames, 1), Poll::Ready(Pulled::More));
    put(&engine, "t", "2");
    pull_each([&reader.subscription], &mut frames, usize::MAX, |_, frames, _| assert_eq!(frames.len(), 1));
    frames.clear();
    assert_eq!(reader.subscription.poll(&mut cx, &mut frames, 1), Poll::Pending);
    put(&engine, "t", "3");
    assert_eq!(wakes.take(), 1);
    assert_eq!(reader.subscription.poll(&mut cx, &mut frames, 1), Poll::Ready(Pulled::More));
    assert_eq!(frames.iter().map(words).collect::<Vec<_>>(), ["3"]);
}
