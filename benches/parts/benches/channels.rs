//! One event to so many in-process subscribers, published and taken by all: Fanfare, and the broadcast channels that a user
//! would pick instead, in the same body.

use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fanfare_engine::{Engine, Frame, Start, Subscription};
use fanfare_parts::{SIZE, drain, engine, publish, subscribe};

/// Subscribers of a round.
const COUNTS: [usize; 6] = [0, 1, 10, 100, 1000, 10_000];
/// Events that a channel holds; Fanfare's own default.
const CAPACITY: usize = 1024;

/// A way to tell many.
trait Fanout {
    fn new(subscribers: usize) -> Self;
    /// Publishes an event and lets every subscriber take it; how many did.
    fn round(&mut self, data: &str) -> usize;
}

struct Fanfare {
    engine: Engine,
    readers: Vec<Subscription>,
    frames: Vec<Frame>,
}

impl Fanout for Fanfare {
    fn new(subscribers: usize) -> Self {
        let engine = engine();
        let readers = (0..subscribers).map(|_| subscribe(&engine, "bench", Start::Live)).collect();
        Self { engine, readers, frames: Vec::new() }
    }

    fn round(&mut self, data: &str) -> usize {
        publish(&self.engine, "bench", data);
        let mut taken = 0;
        for reader in &self.readers {
            drain(reader, &mut self.frames);
            taken += self.frames.len();
        }
        taken
    }
}

/// Every message is what a publisher of text would share: a counted string.
struct Tokio {
    sender: tokio::sync::broadcast::Sender<Arc<str>>,
    receivers: Vec<tokio::sync::broadcast::Receiver<Arc<str>>>,
}

impl Fanout for Tokio {
    fn new(subscribers: usize) -> Self {
        let sender = tokio::sync::broadcast::Sender::new(CAPACITY);
        let receivers = (0..subscribers).map(|_| sender.subscribe()).collect();
        Self { sender, receivers }
    }

    fn round(&mut self, data: &str) -> usize {
        // An error says that nobody is subscribed.
        let _ = self.sender.send(Arc::from(data));
        self.receivers.iter_mut().filter_map(|receiver| receiver.try_recv().ok()).count()
    }
}

struct Async {
    sender: async_broadcast::Sender<Arc<str>>,
    receivers: Vec<async_broadcast::Receiver<Arc<str>>>,
    /// Keeps the channel open while nobody is subscribed.
    _open: async_broadcast::InactiveReceiver<Arc<str>>,
}

impl Fanout for Async {
    fn new(subscribers: usize) -> Self {
        let (mut sender, receiver) = async_broadcast::broadcast(CAPACITY);
        sender.set_overflow(true);
        sender.set_await_active(false);
        let open = receiver.deactivate();
        let receivers = (0..subscribers).map(|_| open.activate_cloned()).collect();
        Self { sender, receivers, _open: open }
    }

    fn round(&mut self, data: &str) -> usize {
        // An error says that nobody is subscribed.
        let _ = self.sender.try_broadcast(Arc::from(data));
        self.receivers.iter_mut().filter_map(|receiver| receiver.try_recv().ok()).count()
    }
}

fn bench<F: Fanout>(criterion: &mut Criterion, name: &str) {
    let mut group = criterion.benchmark_group("publish and take");
    let data = "x".repeat(SIZE);
    for subscribers in COUNTS {
        let mut fanout = F::new(subscribers);
        group.throughput(Throughput::Elements(subscribers.max(1) as u64));
        group.bench_function(BenchmarkId::new(name, subscribers), |bencher| {
            bencher.iter(|| assert_eq!(fanout.round(&data), subscribers));
        });
    }
    group.finish();
}

fn all(criterion: &mut Criterion) {
    bench::<Fanfare>(criterion, "fanfare");
    bench::<Tokio>(criterion, "tokio broadcast");
    bench::<Async>(criterion, "async-broadcast");
}

criterion_group!(benches, all);
criterion_main!(benches);
