//! The exports that a handler may do without: readers who are asked about and greeted, ticks, batches. Each is held to the
//! limits and the fault policy like `transform`.
#![cfg(feature = "wasm-jit")]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use fanfare_engine::{
    Code, Draft, Engine, Frame, Handler, Pulled, Start, SubscribeError, SubscribeOptions, Timestamp, Turn,
    Verdict, Visitor, Welcome,
};
use fanfare_wasi_host::{Beat, Config, Isolation, LoadError, Policy, WasmHandler};
use support::*;

/// Only ends a hang: what is expected takes milliseconds.
const WATCHDOG: Duration = Duration::from_secs(60);

fn visit<'a>(topics: &[&'a str], client: Option<&'a str>) -> Visitor<'a> {
    Visitor { topics: topics.to_vec(), client, ..Visitor::default() }
}

fn subscribe(engine: &Engine, topics: &[&str], start: Start<'_>) -> Result<Vec<Frame>, SubscribeError> {
    let topics = topics.iter().map(|&topic| topic.into()).collect();
    let options = SubscribeOptions { topics, start, ..Default::default() };
    let reader = engine.subscribe(&engine.watcher(), &options, NOW)?;
    let mut frames = Vec::new();
    while reader.pull(&mut frames, 1 << 20) == Pulled::More {}
    Ok(frames)
}

fn datas(frames: &[Frame]) -> Vec<String> {
    frames.iter().map(|frame| frame.data().into_owned()).collect()
}

#[test]
fn a_tally_greets_with_all_its_counts() {
    let handler = Arc::new(load(&build_example("tally")).expect("sound"));
    assert_eq!(handler.about().exports, ["transform", "on-subscribe"]);
    let engine = engine_with(Arc::clone(&handler));
    assert_eq!(datas(&subscribe(&engine, &["t"], Start::All).expect("admitted")), ["{}"]);
    for vote in ["yes", "no", "yes", "größe"] {
        engine.publish(Draft::new("t", vote), NOW).expect("counted");
    }
    let frames = subscribe(&engine, &["t", "t2", "other"], Start::All).expect("admitted");
    assert_eq!(datas(&frames), [r#"{"yes":2,"no":1,"größe":1}"#, "{}"]);
    assert_eq!((frames[0].event(), frames[0].id()), (Some("snapshot"), "abc-4"));
    let outcomes = stats(&handler).outcomes;
    assert!(outcomes.contains(&("greet", 2)) && outcomes.contains(&("emit", 4)), "{outcomes:?}");
}

/// Four voters, readers that come meanwhile: the snapshot and the tallies behind it are one count without a hole.
#[test]
fn a_snapshot_and_what_follows_never_go_backwards() {
    let engine = engine_with(Arc::new(load(&build_example("tally")).expect("sound")));
    const VOTES: u64 = 2_000;
    let voters: Vec<_> = (0..4)
        .map(|_| {
            let engine = engine.clone();
            std::thread::spawn(move || {
                for _ in 0..VOTES / 4 {
                    engine.publish(Draft::new("t", "yes"), NOW).expect("counted");
                }
            })
        })
        .collect();
    let count = |frame: &Frame| -> u64 {
        let data = frame.data();
        let digits = data.trim_end_matches('}').rsplit(':').next().unwrap_or_default();
        digits.parse().unwrap_or_else(|_| if data == "{}" { 0 } else { panic!("{data}") })
    };
    let start = Instant::now();
    let mut last = 0;
    while last < VOTES {
        let options = SubscribeOptions { topics: vec!["t".into()], ..Default::default() };
        let reader = engine.subscribe(&engine.watcher(), &options, NOW).expect("admitted");
        let mut frames = Vec::new();
        while frames.len() < 20 && frames.last().is_none_or(|frame| count(frame) < VOTES) {
            assert!(matches!(reader.pull(&mut frames, 64), Pulled::More | Pulled::Idle));
            assert!(start.elapsed() < WATCHDOG, "{frames:?}");
        }
        assert_eq!(frames[0].event(), Some("snapshot"));
        let counts: Vec<_> = frames.iter().map(count).collect();
        assert!(counts[0] >= last, "a later snapshot tells of no less");
        assert_eq!(counts, (counts[0]..).take(counts.len()).collect::<Vec<_>>());
        last = *counts.last().expect("a snapshot");
    }
    for voter in voters {
        voter.join().expect("no panic");
    }
}

/// A bouncer in C: what it says depends on the name of who comes.
const BOUNCER: &str = r#"
    #define FF_ON_SUBSCRIBE
    #include "fanfare_handler.h"
    ff_outcome transform(const ff_event *event) { (void)event; return ff_pass(); }
    static int deeper(int n) { volatile char room[256]; room[0] = (char)n; return n < 0 ? 0 : deeper(n + 1) + room[0]; }
    ff_welcome on_subscribe(const ff_subscriber *subscriber) {
        ff_text who = subscriber->client.is_some ? subscriber->client.text : FF_TEXT("");
        ff_text topic = subscriber->topics.ptr[0];
        ff_event *made = ff_alloc(100 * sizeof *made);
        for (int i = 0; i < 100; i++) made[i] = (ff_event){.topic = topic, .data = who};
        if (ff_equal(who, FF_TEXT("stranger"))) return ff_refuse(FF_TEXT("members only"));
        if (ff_equal(who, FF_TEXT("loop"))) for (;;) ff_now();
        if (ff_equal(who, FF_TEXT("deep"))) return deeper(0) ? ff_admit() : ff_refuse(who);
        if (ff_equal(who, FF_TEXT("trap"))) __builtin_trap();
        if (ff_equal(who, FF_TEXT("memory"))) for (;;) ff_alloc(1 << 20);
        if (ff_equal(who, FF_TEXT("many"))) return ff_greet(made, 100);
        if (ff_equal(who, FF_TEXT("large"))) { made[0].data = (ff_text){ff_alloc(60000), 60000}; return ff_greet(made, 1); }
        if (ff_equal(who, FF_TEXT("bomb"))) { made[0].data = (ff_text){0, 0x7fffffff}; return ff_greet(made, 1); }
        if (ff_equal(who, FF_TEXT("utf8"))) { made[0].data = FF_TEXT("\xff"); return ff_greet(made, 1); }
        if (ff_equal(who, FF_TEXT("topic"))) { made[0].topic = FF_TEXT("other"); return ff_greet(made, 1); }
        if (ff_equal(who, FF_TEXT("id"))) { made[0].id = FF_SOME(who); return ff_greet(made, 1); }
        if (ff_equal(who, FF_TEXT("everything")))
            return subscriber->last_event_id.is_some && subscriber->kinds.len == 2 &&
                   ff_equal(subscriber->kinds.ptr[1], FF_TEXT("k2")) && subscriber->topics.len == 2 &&
                   ff_equal(subscriber->last_event_id.text, FF_TEXT("last")) ? ff_greet(made, 2) : ff_refuse(who);
        return ff_admit();
    }"#;

#[test]
fn a_subscriber_is_told_whole() {
    let handler = load(&build_source(BOUNCER)).expect("sound");
    let visitor = Visitor {
        topics: vec!["t", "t2"],
        events: vec!["k1", "k2"],
        client: Some("everything"),
        last_event_id: Some("last"),
    };
    let greeted = welcome(&handler, &visitor);
    assert_eq!(greeted, Ok(Welcome::Greet(vec![Draft::new("t", "everything"); 2])));
    assert_eq!(welcome(&handler, &visit(&["t"], None)), Ok(Welcome::Admit));
    let refused = Welcome::Refuse("members only".into());
    assert_eq!(welcome(&handler, &visit(&["t"], Some("stranger"))), Ok(refused));
}

/// Whatever it does to one reader: that one has an answer, the next one is served, events go on, memory comes back.
#[test]
fn hostile_answers_to_readers_are_faults() {
    let cases = [
        ("loop", "timeout", "its \"on-subscribe\" failed: it took too long (handler.time)"),
        ("deep", "trap", "out of bounds memory access"),
        ("trap", "trap", "it stopped itself"),
        ("memory", "memory", "handler.memory"),
        ("many", "output", "it answered 100 events, more than 64 (handler.events)"),
        ("large", "output", "more than 49152 (handler.greeting_bytes)"),
        ("bomb", "answer", "it broke the contract"),
        ("utf8", "answer", "utf-8"),
        ("topic", "answer", "its topic \"other\" is not of the subscriber's topics"),
        ("id", "answer", "it has an id"),
    ];
    let bytes = build_source(BOUNCER);
    for isolation in [Isolation::Shared, Isolation::PerEvent] {
        let config = Config { isolation, ..Config::default() };
        let handler = Arc::new(load_with(&bytes, &config).expect("sound"));
        let engine = engine_with(Arc::clone(&handler));
        let come = |who: &'static str| {
            let options =
                SubscribeOptions { topics: vec!["t".into()], client: Some(who.into()), ..Default::default() };
            engine.subscribe(&engine.watcher(), &options, NOW).map(drop)
        };
        for (who, kind, says) in cases {
            let start = Instant::now();
            let error = come(who).expect_err(who);
            assert_eq!(error.code(), Code::HandlerFailed, "{who}");
            let text = error.to_string();
            assert!(text.starts_with("handler guest failed: ") && text.contains(says), "{who}: {text}");
            assert!(fault_count(&handler, kind) >= 1, "{who}: {:?}", stats(&handler));
            assert_eq!(come("member"), Ok(()));
            assert_eq!(engine.publish(Draft::new("t", "x"), NOW).expect("passes").events, 1);
            assert!(start.elapsed() < WATCHDOG);
            assert!(stats(&handler).instances <= 1);
        }
        assert_eq!(engine.stats().subscriptions, 0);
    }
}

#[test]
fn the_policy_decides_about_readers() {
    let bytes = build_source(BOUNCER);
    for (on_fault, admits) in
        [(Policy::Reject, false), (Policy::Drop, false), (Policy::DeadLetter, false), (Policy::Pass, true)]
    {
        let config = Config { on_fault, dead_letter: "failed".into(), ..Config::default() };
        let handler = load_with(&bytes, &config).expect("sound");
        let trap = visit(&["t"], Some("trap"));
        for round in 0..12 {
            // The breaker counts these, too: the last ones are decided without a call.
            let welcome = welcome(&handler, &trap);
            assert_eq!(welcome.is_ok(), admits, "{on_fault:?} {round}: {welcome:?}");
        }
        assert_eq!((stats(&handler).calls, stats(&handler).rested), (10, 2));
        let later = handler.welcome(&visit(&["t"], None), Timestamp(1_100), &mut Turn::default());
        assert_eq!(later, Ok(Welcome::Admit));
    }
}

/// Counts ticks and batches.
const CLOCKWORK: &str = r#"
    #define FF_TICK
    #define FF_TRANSFORM_BATCH
    #include "fanfare_handler.h"
    ff_outcome transform(const ff_event *event) { return ff_replace(FF_JOIN(event->data, FF_TEXT("/1"))); }
    void transform_batch(const ff_event *events, size_t count, ff_outcome *outcomes) {
        for (size_t i = 0; i < count; i++) {
            if (ff_equal(events[i].data, FF_TEXT("trap"))) __builtin_trap();
            outcomes[i] = ff_equal(events[i].data, FF_TEXT("no")) ? ff_reject(FF_TEXT("no"))
                        : ff_replace(FF_JOIN(events[i].data, FF_TEXT("/"), ff_number((int64_t)count)));
        }
    }
    size_t tick(ff_event **events) {
        int64_t ticks = 0;
        ff_kv_increment(FF_TEXT("ticks"), 1, 0, &ticks);
        if (ticks == 3) __builtin_trap();
        *events = ff_alloc(2 * sizeof **events);
        (*events)[0] = (ff_event){.topic = FF_TEXT("t"), .kind = FF_SOME(FF_TEXT("tick")), .data = ff_number(ticks)};
        (*events)[1] = (ff_event){.topic = FF_TEXT("other"), .data = FF_TEXT("beat")};
        return 2;
    }"#;

#[test]
fn a_tick_publishes_past_its_own_handler() {
    let handler = Arc::new(load(&build_source(CLOCKWORK)).expect("sound"));
    assert!(handler.ticks());
    let engine = engine_with(Arc::clone(&handler));
    assert_eq!(engine.tick_handler("guest", NOW), Ok(2));
    assert_eq!(engine.tick_handler("guest", NOW), Ok(2));
    for _ in 0..2 {
        // What it has counted is taken back, so it falls again.
        let failed = engine.tick_handler("guest", NOW).expect_err("a trap");
        assert!(failed.to_string().contains("its \"tick\" failed: it stopped itself"), "{failed}");
    }
    assert_eq!(retained(&engine, "t"), ["1", "2"]);
    assert_eq!(retained(&engine, "other"), ["beat"; 2]);
}

#[test]
fn the_clock_ticks_until_the_handler_is_gone() {
    let handler = Arc::new(load(&build_source(CLOCKWORK)).expect("sound"));
    let silent = Arc::new(load(&pass()).expect("sound"));
    let engine = engine_with(Arc::clone(&handler));
    let beat = Beat::start(engine.clone(), || NOW).expect("a thread");
    beat.add("guest", &silent, Duration::from_millis(1));
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(stats(&handler).calls, 0, "it is the handler's code that wants to be called");
    beat.add("guest", &handler, Duration::from_millis(1));
    let start = Instant::now();
    while stats(&handler).calls < 5 {
        assert!(start.elapsed() < WATCHDOG, "{:?}", stats(&handler));
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(beat);
    let calls = stats(&handler).calls;
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(stats(&handler).calls, calls, "its thread is gone");
    assert_eq!(fault_count(&handler, "trap"), calls - 2, "which did not stop the clock");
}

#[test]
fn a_batch_comes_in_one_call() {
    let handler = Arc::new(load(&build_source(CLOCKWORK)).expect("sound"));
    let engine = engine_with(Arc::clone(&handler));
    let publish = |datas: &[&'static str]| {
        let drafts = datas.iter().map(|&data| Draft::new("t", data)).collect();
        engine.publish_batch(drafts, NOW).map_err(|refused| (refused.index, refused.error.to_string()))
    };
    publish(&["a", "b", "c"]).expect("taken");
    publish(&["alone"]).expect("taken");
    assert_eq!(retained(&engine, "t"), ["a/3", "b/3", "c/3", "alone/1"]);
    assert_eq!(stats(&handler).calls, 4, "an event is an event");
    let refused = publish(&["a", "no"]).expect_err("refused");
    assert_eq!(refused, (1, "handler guest refused the event: no".into()));
    let (index, text) = publish(&["a", "b", "trap"]).expect_err("a fault");
    assert_eq!(index, 0, "the fault of all");
    assert!(text.contains("its \"transform-batch\" failed: it stopped itself"), "{text}");
    assert_eq!(retained(&engine, "t").len(), 4);
    // More than fits into one call: none of them finds its memory full.
    let large: Vec<_> = (0..40).map(|_| Draft::new("t", "x".repeat(300_000))).collect();
    assert_eq!(engine.publish_batch(large, NOW).expect("taken").len(), 40);
    assert!(retained(&engine, "t").last().is_some_and(|data| data.ends_with("x/1")));
}

#[test]
fn optional_exports_of_another_type_are_refused() {
    for (name, expected) in [
        ("on-subscribe", "func(subscriber: subscriber) -> welcome"),
        ("tick", "func() -> list<event>"),
        ("transform-batch", "func(events: list<event>) -> list<outcome>"),
    ] {
        let error = load(&misfit(name)).expect_err(name);
        assert!(matches!(&error, LoadError::Contract(_)), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(&format!("its export \"{name}\" is not {expected}")), "{text}");
    }
}

/// A handler with one more export, of type `func() -> u32`.
fn misfit(name: &str) -> Vec<u8> {
    use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
    let mut module = wat::parse_str(format!(
        r#"(module (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
        (func (export "{name}") (result i32) i32.const 7)
        (func (export "transform") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) i32.const 0))"#
    ))
    .expect("sound text");
    let mut resolve = wit_parser::Resolve::default();
    resolve.push_str("handler.wit", fanfare_wasi_host::WIT).expect("the contract");
    let world = format!(
        "package test:misfit;\nworld misfit {{ include fanfare:handler/handler@0.1.0; export {name}: func() -> u32; }}\n"
    );
    let package = resolve.push_str("misfit.wit", &world).expect("a world");
    let world = resolve.select_world(&[package], Some("misfit")).expect("a world");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("described");
    ComponentEncoder::default().module(&module).and_then(|mut encoder| encoder.encode()).expect("a component")
}

/// New code may want what the old did not, and the other way round.
#[test]
fn a_reload_changes_what_is_asked() {
    let handler: WasmHandler = load(&pass()).expect("sound");
    assert!(!handler.welcomes() && !handler.ticks() && !handler.batches());
    handler.reload(&build_source(BOUNCER)).expect("sound");
    assert!(handler.welcomes() && !handler.ticks());
    handler.reload(&build_source(CLOCKWORK)).expect("sound");
    assert!(!handler.welcomes() && handler.ticks() && handler.batches());
    assert_eq!(welcome(&handler, &visit(&["t"], Some("trap"))), Ok(Welcome::Admit));
    assert!(matches!(call(&handler, "x"), Ok(Verdict::Replace(made)) if made.data == "x/1"));
}
