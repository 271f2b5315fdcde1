//! The engine: publish, resume, topics and wake-ups.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Wake, Waker};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fanfare_engine::{Start, SubscribeOptions, Subscription, Timestamp, TopicPattern};
use fanfare_parts::{SIZE, drain, engine, publish, subscribe};

/// The history is full: each publish renders, appends and evicts.
fn append(criterion: &mut Criterion) {
    let (engine, data) = (engine(), "x".repeat(SIZE));
    for _ in 0..2000 {
        publish(&engine, "bench", &data);
    }
    criterion.bench_function("append, nobody subscribed", |bencher| {
        bencher.iter(|| publish(&engine, "bench", black_box(&data)));
    });
}

/// What subscribers of other topics cost a publisher: nothing, if it is right.
fn others(criterion: &mut Criterion) {
    let data = "x".repeat(SIZE);
    let mut group = criterion.benchmark_group("publish, topics with one subscriber each");
    for topics in [1, 1000, 100_000] {
        let engine = engine();
        let names: Vec<String> = (0..topics).map(|n| format!("topic-{n}")).collect();
        let readers: Vec<Subscription> =
            names.iter().map(|name| subscribe(&engine, name, Start::Live)).collect();
        let (mut at, mut frames) = (0, Vec::new());
        group.bench_function(BenchmarkId::from_parameter(topics), |bencher| {
            bencher.iter(|| {
                // Topics in turn, in an order that caches do not like.
                at = (at + 7919) % topics;
                publish(&engine, &names[at], &data);
                drain(&readers[at], &mut frames);
                assert_eq!(frames.len(), 1);
            });
        });
    }
    group.finish();
}

fn resume(criterion: &mut Criterion) {
    const MISSED: usize = 100;
    let (engine, data) = (engine(), "x".repeat(SIZE));
    for _ in 0..1000 {
        publish(&engine, "bench", &data);
    }
    let after = engine.id_of(engine.newest() - MISSED as u64).to_string();
    let mut group = criterion.benchmark_group("resume");
    group.throughput(Throughput::Elements(MISSED as u64));
    let mut frames = Vec::new();
    group.bench_function("subscribe after an id, 100 events missed", |bencher| {
        bencher.iter(|| {
            let reader = subscribe(&engine, "bench", Start::After(after.as_str().into()));
            drain(&reader, &mut frames);
            assert_eq!(frames.len(), MISSED);
        });
    });
    group.finish();
}

fn matching(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("topic match");
    for pattern in ["rooms/42/votes", "rooms/*"] {
        let parsed = TopicPattern::parse(pattern);
        assert!(parsed.matches("rooms/42/votes"));
        group.bench_function(pattern, |bencher| {
            bencher.iter(|| parsed.matches(black_box("rooms/42/votes")));
        });
    }
    group.finish();
}

struct Count(AtomicU64);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Each publish finds the watcher asleep; it is woken, looks and sleeps again.
fn waking(criterion: &mut Criterion) {
    let (engine, data) = (engine(), "x".repeat(SIZE));
    let watcher = engine.watcher();
    let options = SubscribeOptions { topics: vec!["bench".into()], ..Default::default() };
    let reader = engine.subscribe(&watcher, &options, Timestamp(0)).expect("a subscription");
    let woken = Arc::new(Count(AtomicU64::new(0)));
    watcher.set_waker(&Waker::from(Arc::clone(&woken)));
    let (mut frames, mut dirty, mut rounds) = (Vec::new(), Vec::new(), 0);
    criterion.bench_function("wake-up: publish, wake, pull, sleep", |bencher| {
        bencher.iter(|| {
            dirty.clear();
            watcher.take_dirty(&mut dirty);
            assert!(watcher.park());
            publish(&engine, "bench", &data);
            drain(&reader, &mut frames);
            assert_eq!(frames.len(), 1);
            rounds += 1;
        });
    });
    assert_eq!(woken.0.load(Ordering::Relaxed), rounds);
}

criterion_group!(benches, append, others, resume, matching, waking);
criterion_main!(benches);
