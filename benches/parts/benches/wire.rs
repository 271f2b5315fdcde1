//! The wire format: events to bytes, bytes to events.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fanfare_engine::wire::encode;
use fanfare_engine::wire::parse::{Item, Parser};
use fanfare_parts::SIZE;

fn encoding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    let many_lines = "0123456789\n".repeat(SIZE);
    for (name, data) in [("one line", "x".repeat(SIZE)), ("many lines", many_lines)] {
        group.throughput(Throughput::Bytes(data.len() as u64));
        let mut out = Vec::new();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                out.clear();
                encode::data(&mut out, black_box(&data))
            });
        });
    }
    group.finish();
}

fn parsing(criterion: &mut Criterion) {
    const EVENTS: usize = 100;
    let stream = format!("event: tick\ndata: {}\nid: k3f9x2ab-1000000\n\n", "x".repeat(SIZE)).repeat(EVENTS);
    let mut group = criterion.benchmark_group("parse");
    group.throughput(Throughput::Elements(EVENTS as u64));
    group.bench_function("events of three fields", |bencher| {
        let mut parser = Parser::new();
        bencher.iter(|| {
            let events = parser.feed(black_box(stream.as_bytes()));
            let events = events.filter(|item| matches!(item, Item::Event(_))).count();
            assert_eq!(events, EVENTS);
        });
    });
    group.finish();
}

criterion_group!(benches, encoding, parsing);
criterion_main!(benches);
