//! What a handler may answer, and what becomes of the event.
#![cfg(feature = "wasm-jit")]

mod support;

use std::sync::Arc;

use fanfare_engine::{Code, Draft, Verdict};
use fanfare_wasi_host::{Config, Isolation};
use support::*;

#[test]
fn pass_and_drop() {
    let handler = load(&pass()).expect("sound");
    assert_eq!(call(&handler, "x"), Ok(Verdict::Pass));
    let handler = load(&transform(&answer(1, "(i32.const 0)", "(i32.const 0)"))).expect("sound");
    assert_eq!(call(&handler, "x"), Ok(Verdict::Drop));
}

#[test]
fn replace_keeps_everything_but_the_data() {
    let upper = transform(&format!(
        "(loop $l (if (i32.lt_u (local.get $i) (local.get $n)) (then
            (i32.store8 (i32.add (local.get $d) (local.get $i))
                (i32.and (i32.load8_u (i32.add (local.get $d) (local.get $i))) (i32.const 0xdf)))
            (local.set $i (i32.add (local.get $i) (i32.const 1))) (br $l)))) {}",
        answer(2, "(local.get $d)", "(local.get $n)")
    ));
    let handler = load(&upper).expect("sound");
    let draft = Draft {
        key: Some("k".into()),
        retry: Some(7),
        ..Draft::new("t", "shout").with_event("e").with_id("i")
    };
    let expected = Draft { data: "SHOUT".into(), ..draft.clone() }.into_owned();
    assert_eq!(handle(&handler, &draft, NOW), Ok(Verdict::Replace(expected)));
    for data in ["", "a", &"x".repeat(1 << 19)] {
        assert!(
            matches!(call(&handler, data), Ok(Verdict::Replace(made)) if made.data == data.to_uppercase())
        );
    }
}

/// Emits the event as it came, twice: once to its own topic, once to the topic that its data names.
fn fork() -> Vec<u8> {
    let event = |at: u32, topic: (&str, &str)| {
        format!(
            "(i32.store (i32.const {at}) {}) (i32.store (i32.const {}) {})
             (i32.store8 (i32.const {}) (local.get $has_kind)) (i32.store (i32.const {}) (local.get $kind)) (i32.store (i32.const {}) (local.get $kind_n))
             (i32.store8 (i32.const {}) (i32.const 0))
             (i32.store (i32.const {}) (local.get $d)) (i32.store (i32.const {}) (local.get $n))",
            topic.0, at + 4, topic.1, at + 8, at + 12, at + 16, at + 20, at + 32, at + 36
        )
    };
    transform(&format!(
        "{} {} {}",
        event(100, ("(local.get $topic)", "(local.get $topic_n)")),
        event(140, ("(local.get $d)", "(local.get $n)")),
        answer(3, "(i32.const 100)", "(i32.const 2)")
    ))
}

#[test]
fn emit_routes_through_the_engine_in_one_step() {
    let handler = Arc::new(load(&fork()).expect("sound"));
    let engine = engine_with(Arc::clone(&handler));
    let published = engine.publish(Draft::new("t1", "other").with_event("kind"), NOW).expect("published");
    assert_eq!((published.events, published.seq), (2, 2));
    assert_eq!(
        (retained(&engine, "t1"), retained(&engine, "other")),
        (vec!["other".into()], vec!["other".into()])
    );
    // To its own topics: no loop.
    assert_eq!(engine.publish(Draft::new("t1", "t2"), NOW).expect("published").events, 2);
    assert_eq!(retained(&engine, "t2"), ["t2"]);
    assert_eq!(stats(&handler).calls, 2);
}

#[test]
fn reject_tells_the_publisher_why() {
    let reason = transform(&answer(4, "(local.get $d)", "(local.get $n)"));
    let engine = engine_with(Arc::new(load(&reason).expect("sound")));
    let error = engine.publish(Draft::new("t", "not today"), NOW).expect_err("refused");
    assert_eq!(error.code(), Code::HandlerRefused);
    assert_eq!(error.to_string(), "handler guest refused the event: not today");
}

/// Answers with the number of events that its instance has seen, as one letter: `A` is the first.
fn counting() -> Vec<u8> {
    module(&format!(
        r#"(global $seen (mut i32) (i32.const -1))
        (func (export "transform") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
            (global.set $seen (i32.add (global.get $seen) (i32.const 1)))
            (i32.store8 (i32.const 64) (i32.add (i32.const 65) (i32.rem_u (global.get $seen) (i32.const 26)))) {})"#,
        answer(2, "(i32.const 64)", "(i32.const 1)")
    ))
}

fn replaced(verdict: Verdict) -> String {
    match verdict {
        Verdict::Replace(draft) => draft.data.into_owned(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn instances_are_shared_recycled_or_new_for_each_event() {
    let seen = |config: &Config| -> String {
        let handler = load_with(&counting(), config).expect("sound");
        let seen = (0..7).map(|_| replaced(call(&handler, "x").expect("an answer"))).collect();
        let stats = stats(&handler);
        assert_eq!(stats.calls, 7);
        assert!(stats.instances <= 1, "{stats:?}");
        seen
    };
    assert_eq!(seen(&Config::default()), "ABCDEFG", "the trial before the first event was elsewhere");
    assert_eq!(seen(&Config { recycle: 3, ..Config::default() }), "ABCABCA");
    assert_eq!(seen(&Config { isolation: Isolation::PerEvent, ..Config::default() }), "AAAAAAA");
}

#[test]
fn many_threads_share_few_instances_and_lose_nothing() {
    let handler = Arc::new(load(&counting()).expect("sound"));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let handler = Arc::clone(&handler);
            std::thread::spawn(move || (0..200).filter(|_| call(&handler, "x").is_ok()).count())
        })
        .collect();
    let answered: usize = threads.into_iter().map(|thread| thread.join().expect("no panic")).sum();
    let stats = stats(&handler);
    assert_eq!((answered as u64, stats.calls), (1_600, 1_600), "{stats:?}");
    assert!(stats.instances <= std::thread::available_parallelism().map_or(4, usize::from).max(4) as u64);
}
