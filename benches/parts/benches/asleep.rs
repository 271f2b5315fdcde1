//! One event to so many subscribers that sleep until it comes: publishing, waking them, and taking it. The subscribers are
//! tasks of one tokio thread, the same for Fanfare and for the broadcast channels that a user would pick instead.
//!
//! "fanfare" has one task and one watcher for each subscriber, as the channels have; "fanfare, one watcher" one of each for all
//! of them, as the server's own lanes have, and pulls for all of them together; "fanfare, one by one" the same, but pulls for
//! each apart.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fanfare_engine::{Engine, Pulled, Start, SubscribeOptions, Subscription, Timestamp, pull_each};
use fanfare_parts::{SIZE, drain, engine, publish, subscribe};
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::sync::broadcast::Sender;

/// Subscribers of a round.
const COUNTS: [usize; 3] = [1, 100, 1000];
/// Events that a channel holds; Fanfare's own default.
const CAPACITY: usize = 1024;

/// Counts who has the event of this round, and tells when all have.
struct Round {
    taken: AtomicUsize,
    subscribers: usize,
    complete: Notify,
}

impl Round {
    fn new(subscribers: usize) -> Arc<Self> {
        Arc::new(Self { taken: AtomicUsize::new(0), subscribers, complete: Notify::new() })
    }

    fn took(&self, events: usize) {
        if self.taken.fetch_add(events, Ordering::Relaxed) + events == self.subscribers {
            self.taken.store(0, Ordering::Relaxed);
            self.complete.notify_one();
        }
    }
}

/// A way to tell many.
trait Fanout {
    /// Starts the subscribers, each of which reports to `round`.
    fn new(runtime: &Runtime, round: &Arc<Round>) -> Self;
    fn publish(&self, data: &str);
}

/// The next events of a subscription that has a watcher of its own.
async fn next(subscription: &Subscription, frames: &mut Vec<fanfare_engine::Frame>) {
    frames.clear();
    let pulled = poll_fn(|cx| subscription.poll(cx, frames, usize::MAX)).await;
    assert!(matches!(pulled, Pulled::More | Pulled::Idle), "the reader got {pulled:?}");
}

struct Fanfare(Engine);

impl Fanout for Fanfare {
    fn new(runtime: &Runtime, round: &Arc<Round>) -> Self {
        let engine = engine();
        for _ in 0..round.subscribers {
            let (reader, round) = (subscribe(&engine, "bench", Start::Live), Arc::clone(round));
            runtime.spawn(async move {
                let mut frames = Vec::new();
                loop {
                    next(&reader, &mut frames).await;
                    round.took(frames.len());
                }
            });
        }
        Self(engine)
    }

    fn publish(&self, data: &str) {
        publish(&self.0, "bench", data);
    }
}

/// `TOGETHER`: by one call for all.
struct OneWatcher<const TOGETHER: bool>(Engine);

impl<const TOGETHER: bool> Fanout for OneWatcher<TOGETHER> {
    fn new(runtime: &Runtime, round: &Arc<Round>) -> Self {
        let (engine, round) = (engine(), Arc::clone(round));
        let watcher = engine.watcher();
        let options = SubscribeOptions { topics: vec!["bench".into()], ..Default::default() };
        let subscribe = |_| engine.subscribe(&watcher, &options, Timestamp(0)).expect("a subscription");
        let readers: Vec<Subscription> = (0..round.subscribers).map(subscribe).collect();
        runtime.spawn(async move {
            let (mut dirty, mut frames) = (Vec::new(), Vec::new());
            loop {
                poll_fn(|cx| {
                    watcher.set_waker(cx.waker());
                    dirty.clear();
                    watcher.take_dirty(&mut dirty);
                    if dirty.is_empty() && watcher.park() { Poll::Pending } else { Poll::Ready(()) }
                })
                .await;
                if dirty.is_empty() {
                } else if TOGETHER {
                    while pull_each(&readers, &mut frames, usize::MAX, |_, frames, pulled| {
                        assert!(matches!(pulled, Pulled::More | Pulled::Idle), "the reader got {pulled:?}");
                        round.took(frames.len());
                    }) {}
                } else {
                    for reader in &readers {
                        drain(reader, &mut frames);
                        round.took(frames.len());
                    }
                }
            }
        });
        Self(engine)
    }

    fn publish(&self, data: &str) {
        publish(&self.0, "bench", data);
    }
}

/// Every message is what a publisher of text would share: a counted string.
struct Tokio(Sender<Arc<str>>);

impl Fanout for Tokio {
    fn new(runtime: &Runtime, round: &Arc<Round>) -> Self {
        let sender = Sender::new(CAPACITY);
        for _ in 0..round.subscribers {
            let (mut receiver, round) = (sender.subscribe(), Arc::clone(round));
            runtime.spawn(async move {
                while receiver.recv().await.is_ok() {
                    round.took(1);
                }
            });
        }
        Self(sender)
    }

    fn publish(&self, data: &str) {
        self.0.send(Arc::from(data)).expect("a subscriber");
    }
}

struct Async(async_broadcast::Sender<Arc<str>>);

impl Fanout for Async {
    fn new(runtime: &Runtime, round: &Arc<Round>) -> Self {
        let (mut sender, receiver) = async_broadcast::broadcast(CAPACITY);
        sender.set_overflow(true);
        for _ in 0..round.subscribers {
            let (mut receiver, round) = (receiver.clone(), Arc::clone(round));
            runtime.spawn(async move {
                while receiver.recv_direct().await.is_ok() {
                    round.took(1);
                }
            });
        }
        Self(sender)
    }

    fn publish(&self, data: &str) {
        self.0.try_broadcast(Arc::from(data)).expect("a subscriber");
    }
}

fn bench<F: Fanout>(criterion: &mut Criterion, name: &str) {
    let mut group = criterion.benchmark_group("publish, wake and take");
    let data = "x".repeat(SIZE);
    for subscribers in COUNTS {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let round = Round::new(subscribers);
        let fanout = F::new(&runtime, &round);
        let one = || {
            runtime.block_on(async {
                fanout.publish(&data);
                round.complete.notified().await;
            });
        };
        // The tasks start: from now on everybody sleeps between rounds.
        one();
        group.throughput(Throughput::Elements(subscribers as u64));
        group.bench_function(BenchmarkId::new(name, subscribers), |bencher| bencher.iter(one));
    }
    group.finish();
}

fn all(criterion: &mut Criterion) {
    bench::<Fanfare>(criterion, "fanfare");
    bench::<OneWatcher<true>>(criterion, "fanfare, one watcher");
    bench::<OneWatcher<false>>(criterion, "fanfare, one by one");
    bench::<Tokio>(criterion, "tokio broadcast");
    bench::<Async>(criterion, "async-broadcast");
}

criterion_group!(benches, all);
criterion_main!(benches);
