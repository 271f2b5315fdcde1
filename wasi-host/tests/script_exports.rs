//! What a JavaScript file may export besides `transform`: found when it is loaded, held to the limits and the fault policy as
//! in any other handler, and told with file and line when it fails.
#![cfg(feature = "wasm-jit")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use fanfare_engine::{
    Draft, Engine, Fault, Frame, Handler, Pulled, Start, SubscribeOptions, Verdict, Visitor, Welcome,
};
use fanfare_wasi_host::{Config, LoadError, Policy, Trial, WasmHandler};
use support::*;

const TRANSFORM: &str = "export function transform() {}\n";

fn script(text: &str) -> WasmHandler {
    load(format!("{TRANSFORM}{text}").as_bytes()).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// One whose function has this body, and is well when it is tried.
fn on_subscribe(body: &str) -> WasmHandler {
    script(&format!("export function onSubscribe(s) {{ if (s.topics[0] === 'trial') return; {body} }}"))
}

fn ticking(body: &str) -> WasmHandler {
    script(&format!("export function tick() {{ {body} }}"))
}

fn visit<'a>(topics: &[&'a str]) -> Visitor<'a> {
    Visitor { topics: topics.to_vec(), client: Some("me"), ..Visitor::default() }
}

fn greeted(engine: &Engine, topics: &[&str]) -> Vec<Frame> {
    let topics = topics.iter().map(|&topic| topic.into()).collect();
    let options = SubscribeOptions { topics, start: Start::Live, ..Default::default() };
    let reader = engine.subscribe(&engine.watcher(), &options, NOW).expect("admitted");
    let mut frames = Vec::new();
    while reader.pull(&mut frames, 1 << 20) == Pulled::More {}
    frames
}

#[test]
fn exports_are_found_when_it_is_loaded() {
    let function = |name: &str| format!("export function {name}() {{ return []; }}\n");
    let all = [("onSubscribe", "on-subscribe"), ("tick", "tick"), ("transformBatch", "transform-batch")];
    for mask in 0..8 {
        let chosen: Vec<_> = (0..3).filter(|bit| mask >> bit & 1 == 1).map(|bit| all[bit]).collect();
        // Called with nothing when it is tried, it may answer nothing but a list.
        let text: String = chosen.iter().map(|(name, _)| function(name).replace("()", "(x)")).collect();
        let text =
            text.replace("transformBatch(x) { return []", "transformBatch(x) { return x.map(() => {})");
        let handler = script(&text);
        let mut expected = vec!["transform"];
        expected.extend(chosen.iter().map(|(_, name)| name));
        let mut exports = handler.about().exports;
        exports.retain(|name| name != "init");
        expected.sort_unstable();
        exports.sort_unstable();
        assert_eq!(exports, expected, "{text}");
        let has = |name: &str| expected.contains(&name);
        assert_eq!(
            (handler.welcomes(), handler.ticks(), handler.batches()),
            (has("on-subscribe"), has("tick"), has("transform-batch")),
            "{text}"
        );
        let trial = Trial::new(&RUNTIME, "x", format!("{TRANSFORM}{text}").as_bytes(), &Config::default());
        assert_eq!(trial.expect("sound").about().exports, handler.about().exports);
    }
}

#[test]
fn new_code_may_have_other_exports() {
    let handler = script("export const tick = () => [];");
    assert!(handler.ticks() && !handler.welcomes());
    let other = format!("{TRANSFORM}export const onSubscribe = () => true;");
    handler.reload(other.as_bytes()).expect("sound");
    assert!(!handler.ticks() && handler.welcomes());
}

#[test]
fn what_is_no_function_is_refused_at_loading() {
    for (text, name) in [
        ("export const onSubscribe = 'hello';", "onSubscribe"),
        ("export const tick = { every: 1000 };", "tick"),
        ("export let transformBatch = null;", "transformBatch"),
    ] {
        let error = load(format!("{TRANSFORM}{text}").as_bytes()).expect_err("no function");
        let said = error.to_string();
        assert!(said.contains(&format!("guest.js exports \"{name}\", which is no function")), "{said}");
    }
    assert!(!script("export let tick;").ticks(), "undefined is not there");
}

#[test]
fn an_answer_against_the_contract_is_found_at_loading() {
    for (text, words) in [
        ("export const tick = () => 7;", "tick answered what is no answer"),
        ("export const tick = () => ({ data: 'x' });", "tick made an event without a topic"),
        ("export const onSubscribe = () => null;", "onSubscribe answered what is no answer"),
        ("export const onSubscribe = () => ({ topic: 'other', data: 1 });", "not of the subscriber's topics"),
        ("export const transformBatch = () => 7;", "transformBatch answered no list"),
        ("export const transformBatch = () => [];", "transformBatch answered 0 answers to 2 events"),
        ("export const transformBatch = (events) => events.map(() => 7);", "transformBatch answered what"),
    ] {
        let error = load(format!("{TRANSFORM}{text}").as_bytes()).expect_err(text);
        assert!(matches!(&error, LoadError::Contract(said) if said.contains(words)), "{error:?}");
    }
}

#[test]
fn readers_are_admitted_greeted_or_refused() {
    let greet = |made: Vec<Draft<'static>>| Ok(Welcome::Greet(made));
    let two = || vec![Draft::new("t", "a").with_event("k"), Draft::new("u", r#"{"n":1}"#)];
    for (body, expected) in [
        ("", Ok(Welcome::Admit)),
        ("return true", Ok(Welcome::Admit)),
        ("return { tag: 'admit' }", Ok(Welcome::Admit)),
        ("return { refuse: 'members only' }", Ok(Welcome::Refuse("members only".into()))),
        ("return { tag: 'refuse', val: 'no' }", Ok(Welcome::Refuse("no".into()))),
        ("return []", greet(vec![])),
        ("return [{ topic: 't', kind: 'k', data: 'a' }, { topic: 'u', data: { n: 1 } }]", greet(two())),
        ("return { tag: 'greet', val: [{ topic: 'u', data: '' }] }", greet(vec![Draft::new("u", "")])),
        ("return Promise.resolve({ topic: 't', data: 'x' })", greet(vec![Draft::new("t", "x")])),
    ] {
        assert_eq!(welcome(&on_subscribe(body), &visit(&["t", "u"])), expected, "{body}");
    }
    let handler = on_subscribe("return { data: s }");
    let visitor = Visitor {
        topics: vec!["größe"],
        events: vec!["k1", "k2"],
        client: None,
        last_event_id: Some("abc-1"),
    };
    let seen = r#"{"topics":["größe"],"kinds":["k1","k2"],"client":null,"lastEventId":"abc-1"}"#;
    assert_eq!(welcome(&handler, &visitor), greet(vec![Draft::new("größe", seen)]));
}

/// Whatever is not clearly a welcome lets nobody in.
#[test]
fn what_is_wrong_with_a_welcome_is_told_and_lets_nobody_in() {
    for (body, kind, words) in [
        ("return false", "answer", &["onSubscribe answered what is no answer"][..]),
        ("return null", "answer", &["onSubscribe answered what is no answer"]),
        ("return 'hello'", "answer", &["onSubscribe answered what is no answer"]),
        ("return {}", "answer", &["onSubscribe made an event without a topic"]),
        ("return { topic: 't' }", "answer", &["onSubscribe made an event without data"]),
        ("return { refuse: 7 }", "answer", &["\"refuse\" with what is no text"]),
        ("return { tag: 'pass' }", "answer", &["\"pass\", which is not admit, greet or refuse"]),
        ("return [{ data: 'x' }]", "answer", &["without a topic"]),
        ("return [{ topic: 'elsewhere', data: 'x' }]", "answer", &["not of the subscriber's topics"]),
        ("return [{ topic: 't', data: 'x', id: 'mine' }]", "answer", &["it has an id"]),
        ("return new Promise(() => {})", "answer", &["onSubscribe waits for something"]),
        ("\n\n  s.nothing.x", "trap", &["\"on-subscribe\" failed", "TypeError", "guest.js:4:"]),
        ("for (;;) {}", "timeout", &["\"on-subscribe\" failed", "handler.time"]),
        ("return { topic: 't', data: 'x'.repeat(100000) }", "output", &["handler.greeting_bytes"]),
    ] {
        let handler = on_subscribe(body);
        let fault = welcome(&handler, &visit(&["t", "u"])).expect_err(body);
        for word in words {
            assert!(fault.0.contains(word), "{word:?} in {fault:?} of {body}");
        }
        assert_eq!(fault_count(&handler, kind), 1, "{body}: {fault:?}");
        // And it goes on.
        assert_eq!(call(&handler, "x"), Ok(Verdict::Pass));
    }
    let open = Config { on_fault: Policy::Pass, ..Config::default() };
    let text =
        format!("{TRANSFORM}export const onSubscribe = (s) => {{ if (s.topics[0] !== 'trial') null.x }}");
    let handler = load_with(text.as_bytes(), &open).expect("sound");
    assert_eq!(welcome(&handler, &visit(&["t"])), Ok(Welcome::Admit));
}

#[test]
fn ticks_make_events() {
    for (body, expected) in [
        ("", vec![]),
        ("return null", vec![]),
        ("return []", vec![]),
        ("return { topic: 'beat', data: { n: 1 } }", vec![Draft::new("beat", r#"{"n":1}"#)]),
        (
            "return [{ topic: 'a', kind: 'k', id: 'i', data: '' }, { topic: 'b', data: 'x' }]",
            vec![Draft::new("a", "").with_event("k").with_id("i"), Draft::new("b", "x")],
        ),
    ] {
        assert_eq!(tick(&ticking(body)), Ok(expected), "{body}");
    }
    // A trap while it is tried is fine.
    let handler = ticking("\n  throw new Error('too early')");
    let Fault(said) = tick(&handler).expect_err("it throws");
    for word in ["\"tick\" failed", "Error: too early", "guest.js:3:"] {
        assert!(said.contains(word), "{word:?} in {said}");
    }
}

#[test]
fn batches_are_answered_one_by_one() {
    let text = "export function transform() { throw 'alone' }
        export const transformBatch = (events) => events.map((event, at) => [
            undefined, null, `${event.data}!`, { reject: 'no' }, { data: at }, [event, { topic: 'u', data: event.kind }],
        ][event.data]);";
    let handler = load(text.as_bytes()).expect("sound");
    let drafts: Vec<_> =
        ["0", "1", "2", "3", "4", "5"].map(|data| Draft::new("t", data).with_event("k")).into();
    let events: Vec<_> = drafts.iter().collect();
    let answers: Vec<_> =
        handle_batch(&handler, &events).into_iter().map(|answer| answer.expect("no fault")).collect();
    let event = |topic: &'static str, data: &'static str| Draft::new(topic, data).with_event("k");
    assert_eq!(
        answers,
        [
            Verdict::Pass,
            Verdict::Drop,
            Verdict::Replace(event("t", "2!")),
            Verdict::Refuse("no".into()),
            Verdict::Emit(vec![event("t", "4")]),
            Verdict::Emit(vec![event("t", "5"), event("u", "k")]),
        ]
    );
    let failing = "export function transform() {}
        export function transformBatch(events) {
            if (events[0].data !== '{}') events.missing();
            return events.map(() => {});
        }";
    let handler = load(failing.as_bytes()).expect("sound");
    for answer in handle_batch(&handler, &events) {
        let Fault(said) = answer.expect_err("all of them");
        assert!(said.contains("TypeError") && said.contains("guest.js:3:"), "{said}");
    }
}

#[test]
fn the_example_greets_with_all_its_counts() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/handlers/js/tally.js");
    let handler = load(&std::fs::read(file).expect("readable")).expect("sound");
    let engine = engine_with(Arc::new(handler));
    for vote in ["tea", "constructor", "tea"] {
        engine.publish(Draft::new("t", vote), NOW).expect("counted");
    }
    engine.publish(Draft::new("t2", "tea"), NOW).expect("counted");
    let frames = greeted(&engine, &["t", "t2", "t3"]);
    let said: Vec<_> = frames.iter().map(|frame| (frame.event(), frame.data().into_owned())).collect();
    let snapshot = |text: &str| (Some("snapshot"), text.to_owned());
    let expected = [snapshot(r#"{"tea":2,"constructor":1}"#), snapshot(r#"{"tea":1}"#), snapshot("{}")];
    assert_eq!(said, expected);
}

#[test]
fn a_long_life_of_them_does_not_leak() {
    let text = "export function transform() {}
        export const onSubscribe = (s) => [{ data: s }, { data: 'x'.repeat(10000) }];
        export const tick = () => [{ topic: 't', data: 'x'.repeat(10000) }];
        export const transformBatch = (events) => events.map((event) => [event, { data: event }]);";
    let config = Config { time: Duration::from_secs(20), ..Config::default() };
    let handler = load_with(text.as_bytes(), &config).expect("sound");
    let long = Draft::new("t", "x".repeat(10_000)).with_event("k").with_id("i");
    for _ in 0..1_000 {
        assert!(matches!(welcome(&handler, &visit(&["t"])), Ok(Welcome::Greet(made)) if made.len() == 2));
        assert_eq!(tick(&handler).map(|made| made.len()), Ok(1));
        assert!(handle_batch(&handler, &[&long, &long]).iter().all(Result::is_ok));
    }
    let stats = stats(&handler);
    assert_eq!((stats.recycled, stats.instances), (0, 1));
    assert!(stats.memory_bytes < 8 << 20, "{}", stats.memory_bytes);
}
