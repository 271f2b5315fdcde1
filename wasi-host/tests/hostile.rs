//! Handlers that mean harm. Each is stopped within its budget, its publisher gets the policy's answer, the next event
//! is handled as if nothing had been, and nobody else notices.
#![cfg(feature = "wasm-jit")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fanfare_engine::{Code, Draft, Timestamp, Verdict};
use fanfare_wasi_host::{Config, Isolation, Policy};
use support::*;

/// Only ends a hang: what is expected takes milliseconds.
const WATCHDOG: Duration = Duration::from_secs(60);

/// Runs `harm` for events that are not `{}` (which is what the trial before the first event sends) and not `ok`.
fn on_demand(harm: &str) -> Vec<u8> {
    transform(&format!(
        "(if (i32.gt_u (local.get $n) (i32.const 2)) (then {harm})) (i32.store8 (i32.const 0) (i32.const 0)) (i32.const 0)"
    ))
}

/// The handler fails in this way, says so, and works again at the next event; in each isolation.
fn fails(harm: &str, kind: &str, says: &str) {
    for isolation in [Isolation::Shared, Isolation::PerEvent] {
        let config = Config { isolation, ..Config::default() };
        let handler = Arc::new(load_with(&on_demand(harm), &config).expect("sound"));
        let engine = engine_with(Arc::clone(&handler));
        let start = Instant::now();
        for round in 1..=3 {
            let error = engine.publish(Draft::new("t", "harm"), NOW).expect_err("a fault");
            assert_eq!(error.code(), Code::HandlerFailed);
            let text = error.to_string();
            assert!(text.starts_with("handler guest failed: ") && text.contains(says), "{text}");
            assert_eq!(fault_count(&handler, kind), round, "{:?}", stats(&handler));
            assert_eq!(engine.publish(Draft::new("t", "ok"), NOW).expect("well again").events, 1);
            assert_eq!(engine.publish(Draft::new("other", "x"), NOW).expect("untouched").events, 1);
        }
        assert_eq!(retained(&engine, "t"), ["ok"; 3]);
        assert!(start.elapsed() < WATCHDOG);
        assert!(stats(&handler).instances <= 1);
    }
}

#[test]
fn an_endless_loop() {
    fails("(loop $l (br $l))", "timeout", "it took too long (handler.time)");
}

#[test]
fn an_endless_loop_of_calls_into_the_hub() {
    fails("(loop $l (drop (call $clock_now)) (br $l))", "timeout", "it took too long");
    fails(
        "(loop $l (call $kv_get (i32.const 0) (i32.const 60000) (i32.const 64)) (br $l))",
        "timeout",
        "it took too long",
    );
}

#[test]
fn an_endless_recursion() {
    fails(
        "(drop (call $transform (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (local.get $n)))",
        "stack",
        "it called itself too deeply",
    );
}

#[test]
fn a_trap() {
    fails("unreachable", "trap", "it stopped itself: wasm trap: wasm `unreachable` instruction executed");
    fails("(drop (i32.div_u (i32.const 1) (i32.const 0)))", "trap", "integer divide by zero");
    fails("(i32.store (i32.const -8) (i32.const 1))", "trap", "out of bounds memory access");
}

#[test]
fn a_memory_bomb() {
    fails(
        "(loop $l (br_if $l (i32.ne (i32.const -1) (memory.grow (i32.const 1))))) unreachable",
        "memory",
        "it needs more memory than it may have (handler.memory)",
    );
}

/// It gets what it may have and no more, and holds it no longer than until its next event.
#[test]
fn a_memory_hoarder_is_replaced() {
    let hoard = "(loop $l (br_if $l (i32.ne (i32.const -1) (memory.grow (i32.const 16)))))";
    let config = Config { memory_bytes: 4 << 20, ..Config::default() };
    let handler = load_with(&on_demand(hoard), &config).expect("sound");
    for _ in 0..3 {
        assert_eq!(call(&handler, "harm"), Ok(Verdict::Pass), "a refused page is no fault");
    }
    let stats = stats(&handler);
    assert_eq!((stats.recycled, stats.instances), (3, 0), "{stats:?}");
    assert!((3 << 20..=4 << 20).contains(&stats.memory_bytes), "{stats:?}");
}

#[test]
fn output_bombs() {
    // A list of as many events as an address space holds.
    let list = |count: &str| format!("(return {})", block(&answer(3, "(i32.const 1000)", count)));
    fails(&list("(i32.const 0x0fffffff)"), "answer", "it broke the contract");
    // As many events as it may make, each with all of its memory twice.
    let amplified = format!(
        "(loop $l
            (i32.store (i32.add (i32.const 1000) (i32.mul (local.get $i) (i32.const 40))) (i32.const 8192))
            (i32.store (i32.add (i32.const 1004) (i32.mul (local.get $i) (i32.const 40))) (i32.const 57000))
            (i32.store (i32.add (i32.const 1032) (i32.mul (local.get $i) (i32.const 40))) (i32.const 8192))
            (i32.store (i32.add (i32.const 1036) (i32.mul (local.get $i) (i32.const 40))) (i32.const 57000))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $l (i32.lt_u (local.get $i) (i32.const 64))))
        {}",
        list("(i32.const 64)")
    );
    fails(&amplified, "output", "handler.output_bytes");
    // One event too many, of no size to speak of.
    fails(&list("(i32.const 65)"), "output", "it answered 65 events, more than 64 (handler.events)");
    // A text longer than allowed, within its memory.
    let long = format!(
        "(drop (memory.grow (i32.const 40))) (return {})",
        block(&answer(2, "(i32.const 4096)", "(i32.const 1048577)"))
    );
    fails(&long, "output", "it answered 1048577 bytes, more than 1048576 (handler.output_bytes)");
}

fn block(instructions: &str) -> String {
    format!("(block (result i32) {instructions})")
}

#[test]
fn answers_against_the_contract() {
    let text = |at: &str, n: &str| format!("(return {})", block(&answer(2, at, n)));
    fails(
        &format!("(i32.store8 (i32.const 99) (i32.const 255)) {}", text("(i32.const 99)", "(i32.const 1)")),
        "answer",
        "utf-8",
    );
    fails(&text("(i32.const -1)", "(i32.const 8)"), "answer", "it broke the contract");
    fails(&text("(i32.const 0)", "(i32.const -1)"), "answer", "it broke the contract");
    fails(
        &format!("(return {})", block(&answer(5, "(i32.const 0)", "(i32.const 0)"))),
        "answer",
        "it broke the contract",
    );
    fails("(return (i32.const -4))", "answer", "it broke the contract");
    fails("(return (i32.const 2))", "answer", "it broke the contract");
    // An event without a topic cannot be published.
    let nameless = "(memory.fill (i32.const 1000) (i32.const 0) (i32.const 40))";
    fails(
        &format!("{nameless} (return {})", block(&answer(3, "(i32.const 1000)", "(i32.const 1)"))),
        "answer",
        "it made an event that cannot be published: topic is empty",
    );
}

#[test]
fn a_log_bomb_is_cut_off() {
    let lines = "(loop $l (call $log (i32.const 1) (i32.const 4096) (i32.const 100))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $l (i32.lt_u (local.get $i) (i32.const 1000000))))";
    let logged = Arc::new(Logged::default());
    tracing::subscriber::with_default(Arc::clone(&logged), || {
        let handler =
            load_with(&on_demand(lines), &Config { time: WATCHDOG, ..Config::default() }).expect("sound");
        assert_eq!(call(&handler, "harm"), Ok(Verdict::Pass), "it is not even a fault");
    });
    let lines = logged.0.load(Ordering::Relaxed);
    assert!((1..=41).contains(&lines), "{lines} lines of 100 bytes in 4 KiB");
}

/// Counts events of the log.
#[derive(Default)]
struct Logged(std::sync::atomic::AtomicU64);

impl tracing::Subscriber for Logged {
    fn enabled(&self, data: &tracing::Metadata<'_>) -> bool {
        *data.level() <= tracing::Level::INFO
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

/// It fills its own store, is told that it is full, and takes nothing from anybody.
#[test]
fn a_kv_bomb_fills_its_own_store_only() {
    // Keys of four bytes that differ, values of 1000 bytes; the result lands at 64.
    let fill = "(loop $l
        (i32.store (i32.const 32) (i32.or (i32.const 0x41414141) (local.get $i)))
        (call $kv_set (i32.const 32) (i32.const 4) (i32.const 8192) (i32.const 1000) (i32.const 0) (i64.const 0) (i32.const 64))
        (local.set $i (i32.add (local.get $i) (i32.const 0x02)))
        (br_if $l (i32.lt_u (local.get $i) (i32.const 0x3e))))
        (br_if $full (i32.load8_u (i32.const 64))) unreachable";
    let config = Config { state_bytes: 10_000, ..Config::default() };
    let bytes = on_demand(&format!("(block $full {fill})"));
    let (full, other) =
        (load_with(&bytes, &config).expect("sound"), load_with(&bytes, &config).expect("sound"));
    assert_eq!(call(&full, "harm"), Ok(Verdict::Pass));
    let bytes = stats(&full).state_bytes;
    assert!((9_000..=10_000).contains(&bytes), "{bytes}");
    assert_eq!(stats(&other).state_bytes, 0);
}

#[test]
fn the_policy_decides_about_the_event() {
    let with = |on_fault: Policy| {
        let config = Config { on_fault, dead_letter: "failed".into(), ..Config::default() };
        engine_with(Arc::new(load_with(&on_demand("unreachable"), &config).expect("sound")))
    };
    let publish = |policy: Policy| {
        let engine = with(policy);
        let published = engine.publish(Draft::new("t", "a \"b\"").with_event("kind").with_id("own"), NOW);
        (published.map(|done| done.events), retained(&engine, "t"), retained(&engine, "failed"))
    };
    assert_eq!(publish(Policy::Pass), (Ok(1), vec!["a \"b\"".to_owned()], vec![]));
    assert_eq!(publish(Policy::Drop), (Ok(0), vec![], vec![]));
    let (events, original, letters) = publish(Policy::DeadLetter);
    assert_eq!((events, original, letters.len()), (Ok(1), vec![], 1));
    for part in [
        r#""data":"a \"b\"""#,
        r#""topic":"t""#,
        r#""event":"kind""#,
        r#""id":"own""#,
        r#""handler":"guest""#,
        "unreachable",
    ] {
        assert!(letters[0].contains(part), "{part} in {}", letters[0]);
    }
}

#[test]
fn a_handler_that_always_fails_rests_and_is_tried_again() {
    let handler = load(&on_demand("unreachable")).expect("sound");
    let at = |ms: u64, data: &str| handle(&handler, &Draft::new("t", data), Timestamp(ms));
    for _ in 0..10 {
        assert!(at(1_000, "harm").is_err());
    }
    let rests = at(1_050, "ok").expect_err("resting");
    assert_eq!(rests.to_string(), "it rests after many faults in a row");
    let resting = stats(&handler);
    assert_eq!((resting.calls, resting.rested), (10, 1));
    assert_eq!(at(1_100, "ok"), Ok(Verdict::Pass), "tried again, and well");
    assert_eq!(at(1_101, "ok"), Ok(Verdict::Pass));
}

/// What a handler does to one topic's publisher, the publishers of other topics do not feel.
#[test]
fn other_topics_go_on_meanwhile() {
    let config = Config { time: Duration::from_millis(500), ..Config::default() };
    let handler = Arc::new(load_with(&on_demand("(loop $l (br $l))"), &config).expect("sound"));
    let engine = engine_with(handler);
    let done = Arc::new(AtomicBool::new(false));
    let (stuck, over) = (engine.clone(), Arc::clone(&done));
    let thread = std::thread::spawn(move || {
        let failed = stuck.publish(Draft::new("t", "harm"), NOW).is_err();
        over.store(true, Ordering::SeqCst);
        failed
    });
    let mut meanwhile = 0_u64;
    while !done.load(Ordering::SeqCst) {
        engine.publish(Draft::new("other", "x"), NOW).expect("untouched");
        meanwhile += 1;
    }
    assert!(thread.join().expect("no panic"), "the loop was stopped");
    assert!(meanwhile > 100, "only {meanwhile} events got past a handler that is none of their business");
}

/// A failed call leaves nothing behind: the next event meets memory as it was at the start.
#[test]
fn nothing_of_a_failed_event_is_seen_by_the_next() {
    let remember = module(&format!(
        r#"(global $secret (mut i32) (i32.const 46))
        (func (export "transform") (param i32 i32 i32 i32 i32 i32 i32 i32) (param $d i32) (param $n i32) (result i32)
            (if (i32.gt_u (local.get $n) (i32.const 2)) (then
                (global.set $secret (i32.const 83))
                (i32.store8 (i32.const 65) (i32.const 83))
                unreachable))
            (i32.store8 (i32.const 64) (global.get $secret))
            (if (i32.eqz (i32.load8_u (i32.const 65))) (then (i32.store8 (i32.const 65) (i32.const 46))))
            {})"#,
        answer(2, "(i32.const 64)", "(i32.const 2)")
    ));
    let handler = load(&remember).expect("sound");
    for _ in 0..4 {
        assert!(call(&handler, "secret").is_err());
        assert!(matches!(call(&handler, "?"), Ok(Verdict::Replace(made)) if made.data == ".."));
    }
}
