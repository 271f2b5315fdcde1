//! Handlers that are a plain JavaScript file: what they may answer, what they reach, and how they fail.
#![cfg(feature = "wasm-jit")]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fanfare_engine::{Draft, Verdict};
use fanfare_wasi_host::{Config, FileWatch, LoadError, WasmHandler, check_name};
use support::*;

fn script(text: &str) -> WasmHandler {
    WasmHandler::new(&RUNTIME, "test", text.as_bytes(), &Config::default())
        .unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// For what takes longer than a handler may by default.
fn slow() -> Config {
    Config { time: Duration::from_secs(20), ..Config::default() }
}

/// A script whose `transform` has this body.
fn body(body: &str) -> WasmHandler {
    script(&format!("export function transform(event) {{ {body} }}"))
}

fn refused(text: &str) -> LoadError {
    load(text.as_bytes()).expect_err("not a handler")
}

/// What it answers to an event with everything set.
fn answers(text: &str) -> Verdict {
    let event = Draft::new("topic", "data").with_event("kind").with_id("id-1");
    handle(&body(text), &event, NOW).unwrap_or_else(|fault| panic!("{fault:?} of {text}"))
}

/// The events as `topic kind id data`, with `-` for what is not there.
fn made(verdict: Verdict) -> Vec<String> {
    let Verdict::Emit(made) = verdict else { panic!("{verdict:?}") };
    let show = |event: &Draft<'_>| {
        let (kind, id) = (event.event.as_deref().unwrap_or("-"), event.id.as_deref().unwrap_or("-"));
        format!("{} {kind} {id} {}", event.topic, event.data)
    };
    made.iter().map(show).collect()
}

#[track_caller]
fn fails(handler: &WasmHandler, data: &str, kind: &str, words: &[&str]) {
    let before = fault_count(handler, kind);
    let fault = call(handler, data).expect_err("a fault");
    for word in words {
        assert!(fault.0.contains(word), "{word:?} in {fault:?}");
    }
    assert_eq!(fault_count(handler, kind), before + 1, "{kind}: {:?}", stats(handler).faults);
}

#[test]
fn answers_are_what_one_would_write() {
    for pass in ["", "return;", "return undefined", "return true", "return { tag: 'pass' }"] {
        assert_eq!(answers(pass), Verdict::Pass, "{pass}");
    }
    for drop in ["return null", "return false", "return { tag: 'drop' }"] {
        assert_eq!(answers(drop), Verdict::Drop, "{drop}");
    }
    for (text, data) in [
        ("return event.data.toUpperCase()", "DATA"),
        ("return ''", ""),
        ("return { tag: 'replace', val: 'x' }", "x"),
        ("return `${event.topic} ${event.kind} ${event.id} größe 😀`", "topic kind id-1 größe 😀"),
        ("return 'lone \\ud800!'", "lone \u{fffd}!"),
        ("return 'a\\0b'", "a\0b"),
        ("return JSON.stringify(Object.keys(event))", r#"["topic","kind","id","data"]"#),
        ("return Promise.resolve('later')", "later"),
    ] {
        let Verdict::Replace(made) = answers(text) else { panic!("{text}") };
        assert_eq!(
            (&*made.data, &*made.topic, made.event.as_deref()),
            (data, "topic", Some("kind")),
            "{text}"
        );
    }
    for reject in ["return { reject: 'no' }", "return { tag: 'reject', val: 'no' }"] {
        assert_eq!(answers(reject), Verdict::Refuse("no".into()), "{reject}");
    }
}

#[test]
fn events_have_what_they_are_given_and_else_what_came_in() {
    for (text, expected) in [
        ("return { data: 'x' }", vec!["topic kind - x"]),
        ("return { ...event, data: 'x' }", vec!["topic kind id-1 x"]),
        ("return { data: { votes: 3 }, kind: null }", vec![r#"topic - - {"votes":3}"#]),
        ("return { data: 7 }", vec!["topic kind - 7"]),
        ("return []", vec![]),
        (
            "return [event, { topic: 'b', kind: 'k', id: 'i', data: [1, null] }]",
            vec!["topic kind id-1 data", "b k i [1,null]"],
        ),
        ("return { tag: 'emit', val: [{ topic: 'c', data: '' }] }", vec!["c kind - "]),
    ] {
        assert_eq!(made(answers(text)), expected, "{text}");
    }
    let plain = handle(&body("return [event]"), &Draft::new("t", "d"), NOW).expect("no fault");
    assert_eq!(made(plain), ["t - - d"]);
}

#[test]
fn async_functions_and_top_level_await_work() {
    let handler = script(
        "const greeting = await Promise.resolve('hi');
         export async function transform(event) { await null; return `${greeting} ${event.data}`; }",
    );
    assert!(matches!(call(&handler, "you"), Ok(Verdict::Replace(made)) if made.data == "hi you"));
}

#[test]
fn bad_answers_are_faults_with_their_cause() {
    for (text, word) in [
        ("return 7", "is no answer"),
        ("return () => 1", "is no answer"),
        ("return Symbol('x')", "is no answer"),
        ("return {}", "without data"),
        ("return { data: undefined }", "without data"),
        ("return { data: () => 1 }", "neither text nor JSON"),
        ("return { data: 'x', topic: 7 }", "whose topic is no text"),
        ("return { data: 'x', topic: null }", "without a topic"),
        ("return { data: 'x', id: {} }", "whose id is no text"),
        ("return { data: 'x', topic: '' }", "cannot be published"),
        ("return { data: 'x', kind: 'fanfare.gap' }", "cannot be published"),
        ("return [7]", "what are no events"),
        ("return { reject: 7 }", "no text"),
        ("return { tag: 'replace' }", "no text"),
        ("return { tag: 'shout', val: 'x' }", "the tag \"shout\""),
        ("return { length: 1e9, data: 'x', __proto__: Array.prototype, topic: '' }", "cannot be published"),
        ("return new Array(1e6)", "more than 100000 events"),
        ("return new Promise(() => {})", "never comes"),
    ] {
        // Good for the first event, so that it loads.
        let handler = body(&format!("if (event.topic === 'trial') return; {text}"));
        fails(&handler, "x", "answer", &[word]);
    }
}

#[test]
fn an_answer_against_the_contract_is_found_at_loading() {
    let error = refused("export const transform = () => 7");
    assert!(matches!(&error, LoadError::Contract(text) if text.contains("is no answer")), "{error:?}");
}

#[test]
fn what_is_wrong_is_told_with_file_and_line() {
    for (text, words) in [
        ("let x = ;", &["SyntaxError", "guest.js:1:9"][..]),
        ("export function transform(event) {\n  return event.data +;\n}", &["SyntaxError", "guest.js:2:"]),
        ("const a = 1;\nnull.x;\nexport function transform() {}", &["TypeError", "guest.js:2:"]),
        ("throw 'words'", &["it threw words"]),
        ("throw { toString() { throw 1 } }", &["it threw"]),
        ("await new Promise(() => {})", &["never comes"]),
        ("await Promise.reject(new Error('no'));", &["Error: no", "guest.js:1:"]),
        (
            "export const transfrom = () => {}; export let b = 1;",
            &["no \"export function transform(event)\"", "b, transfrom"],
        ),
        ("export const transform = 'x'", &["no \"export function transform(event)\""]),
        ("import fs from 'node:fs'", &["no module 'node:fs'", "fanfare:handler"]),
        ("import { kvv } from 'fanfare:handler'", &["SyntaxError", "kvv"]),
        ("require('fs')", &["ReferenceError", "require", "guest.js:1:"]),
        ("", &["it is empty"]),
        ("#!/bin/sh\n", &["no \"export function transform(event)\"; it exports nothing"]),
    ] {
        let error = refused(text).to_string();
        for word in words {
            assert!(error.contains(word), "{word:?} in {error:?} of {text:?}");
        }
    }
    assert!(matches!(load(b"\xff\xfe"), Err(LoadError::Format(_))));
    assert!(matches!(load(b"export\0"), Err(LoadError::Format(_))));
    let handler = script(
        "export function transform(event) {\n  if (event.data === '{}') return;\n  JSON.parse(event.data);\n  inner();\n}\nfunction inner() {\n  null.x;\n}",
    );
    fails(&handler, "1", "trap", &["TypeError", "inner (test.js:7:"]);
    fails(&handler, "{", "trap", &["SyntaxError", "test.js:3:"]);
    assert_eq!(call(&handler, "{}"), Ok(Verdict::Pass), "and it goes on");
}

#[test]
fn text_in_a_wasm_file_is_no_handler() {
    let script = b"export function transform() {}";
    for (file, bytes) in
        [("a.wasm", &script[..]), ("a/b.WASM", b"<!doctype html>\n<title>404"), ("c.wasm", b"\xef\xbb\xbfx")]
    {
        let error = check_name(Path::new(file), bytes).expect_err(file).to_string();
        assert!(
            error.contains("named .wasm and is no WebAssembly") && error.contains("named .js"),
            "{error}"
        );
        assert!(!error.contains('\n'), "{error}");
    }
    for (file, bytes) in
        [("a.js", &script[..]), ("a", script), ("wasm", script), ("a.wasm", &pass()), ("a.wasm", b"")]
    {
        assert_eq!(check_name(Path::new(file), bytes), Ok(()), "{file}");
    }
    // Other mistakes are told by loading.
    for bytes in [&b"\0as"[..], b"\xff\xfe"] {
        assert_eq!(check_name(Path::new("a.wasm"), bytes), Ok(()));
        assert!(load(bytes).is_err());
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a.wasm");
    std::fs::write(&file, pass()).expect("written");
    let handler = Arc::new(load(&pass()).expect("sound"));
    let watch = FileWatch::start().expect("a thread");
    watch.add(&file, pass(), 1 << 20, &handler);
    std::fs::write(&file, script).expect("written");
    let start = Instant::now();
    while stats(&handler).failed_reloads == 0 {
        assert!(start.elapsed() < Duration::from_secs(60), "the file is not looked at");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(stats(&handler).reloads, 0);
}

#[test]
fn a_script_reaches_the_whole_contract_and_nothing_else() {
    let config = Config { config: vec!["set=value".into()], state_bytes: 4096, ..slow() };
    let text = r#"
        import { log, config, clock, kv } from 'fanfare:handler';
        function check(what, fine) { if (!fine) throw new Error(what); }
        function thrown(body) { try { body(); return 'nothing'; } catch (error) { return `${error}`; } }
        export function transform(event) {
            check('config', config.get('set') === 'value' && config.get('unset') === undefined);
            check('clock', clock.now() > 1700000000000 && Math.abs(Date.now() - clock.now()) < 60000);
            check('get', kv.get('k') === undefined);
            kv.set('k', 'ä');
            check('set', kv.get('k') === 'ä');
            check('no', kv.compareAndSet('k', null, 'b') === false);
            check('yes', kv.compareAndSet('k', 'ä', 'b', 3600000) === true && kv.get('k') === 'b');
            check('not a number', thrown(() => kv.increment('k')).includes('whole number'));
            check('delete', kv.delete('k') === true && kv.delete('k') === false);
            check('increment', kv.increment('n') === 1 && kv.increment('n', -9000000000, 3600000) === -8999999999);
            check('exact', thrown(() => kv.increment('m', 1.5)).includes('whole number'));
            check('beyond', kv.increment('m', 9007199254740991) && thrown(() => kv.increment('m')).includes('beyond'));
            check('key', thrown(() => kv.set('', 'x')).includes('1 to 255 bytes'));
            check('full', thrown(() => kv.set('l', 'x'.repeat(5000))).includes('handler.state_bytes'));
            check('ttl', thrown(() => kv.set('l', 'x', -1)).includes('milliseconds'));
            check('ttl', thrown(() => kv.set('l', 'x', NaN)).includes('milliseconds'));
            check('symbol', thrown(() => kv.get(Symbol())).includes('TypeError'));
            kv.delete('n'); kv.delete('m');
            log.info('seen', event, 7, null, undefined, [1], 'lone \ud800');
            console.log('also here'); console.error(new Error('shown'));
            const reach = ['process', 'require', 'fetch', 'XMLHttpRequest', 'WebAssembly', 'setTimeout', 'std', 'os', 'Worker'];
            return reach.filter(name => name in globalThis).join();
        }"#;
    let handler = load_with(text.as_bytes(), &config).expect("sound");
    for _ in 0..3 {
        let verdict = call(&handler, "{}").expect("no fault");
        assert!(matches!(&verdict, Verdict::Replace(made) if made.data.is_empty()), "{verdict:?}");
    }
}

#[test]
fn a_tally_in_javascript_never_goes_backwards_whoever_votes() {
    let text = "import { kv } from 'fanfare:handler';
        export function transform({ data }) {
            if (!/^[a-z]{1,20}$/.test(data)) return { reject: 'not a choice' };
            return { kind: 'tally', data: { choice: data, votes: kv.increment(data) } };
        }";
    let config = Config { recycle: 50, ..Config::default() };
    let engine = engine_with(Arc::new(load_with(text.as_bytes(), &config).expect("sound")));
    let voters: Vec<_> = (0..4)
        .map(|_| {
            let engine = engine.clone();
            std::thread::spawn(move || {
                for _ in 0..50 {
                    engine.publish(Draft::new("t", "yes"), NOW).expect("counted");
                }
            })
        })
        .collect();
    for voter in voters {
        voter.join().expect("no panic");
    }
    let expected: Vec<_> = (1..=200).map(|votes| format!(r#"{{"choice":"yes","votes":{votes}}}"#)).collect();
    assert_eq!(retained(&engine, "t"), expected);
    assert!(engine.publish(Draft::new("t", "NO"), NOW).is_err());
}

#[test]
fn hostile_scripts_are_stopped_and_the_next_event_finds_a_new_instance() {
    let handler = script(
        "let calls = 0;
         export function transform({ data }) {
            calls++;
            switch (data) {
                case 'loop': for (;;) {}
                case 'jobs': { const again = () => Promise.resolve().then(again); return again(); }
                case 'regexp': return /^(a+)+$/.test('a'.repeat(50) + 'b');
                case 'memory': { const all = []; for (;;) all.push(new Uint8Array(1 << 20)); }
                case 'text': { let s = 'x'; for (;;) s += s; }
                case 'recursion': { const f = () => f() + 1; return f(); }
                case 'native recursion': { let a = []; for (let i = 0; i < 100000; i++) a = [a]; return JSON.stringify(a); }
                case 'parse': return JSON.parse('['.repeat(100000));
                case 'eval': return eval('('.repeat(100000));
                case 'getter': return { get data() { throw new Error('in a getter') } };
                case 'proxy': return new Proxy({}, { get() { throw new Error('in a proxy') } });
                case 'many': return Array.from({ length: 65 }, () => ({ data: '' }));
                case 'prototype': Object.prototype.toString = String.prototype.toString = null; Array.prototype.push = 7; return 'mine';
                default: return `${calls}`;
            }
        }",
    );
    let fresh = |what: &str| {
        let verdict = call(&handler, "well").expect("no fault");
        assert!(matches!(&verdict, Verdict::Replace(made) if made.data == "1"), "after {what}: {verdict:?}");
    };
    for (data, kind, words) in [
        ("loop", "timeout", &["handler.time"][..]),
        ("jobs", "timeout", &["handler.time"]),
        ("regexp", "timeout", &["handler.time"]),
        ("getter", "trap", &["in a getter", "test.js:"]),
        ("proxy", "trap", &["in a proxy"]),
        ("many", "output", &["handler.events"]),
        ("recursion", "trap", &["RangeError", "test.js:10:"]),
    ] {
        fails(&handler, data, kind, words);
        fresh(data);
    }
    // Which limit they meet first is theirs: depth, memory or time.
    for data in ["native recursion", "parse", "eval"] {
        let fault = call(&handler, data).expect_err("a fault");
        assert!(!fault.0.is_empty());
        fresh(data);
    }
    let handler = load_with(
        b"export function transform({ data }) {
            if (data === 'memory') { const all = []; for (;;) all.push(new Uint8Array(1 << 20)); }
            if (data === 'text') { let s = 'x'; for (;;) s += s; }
            if (data === 'output') return 'x'.repeat(2 << 20);
            const all = [];
            try { for (;;) all.push(new Uint8Array(1 << 20)); } catch (error) { return `${error}` }
        }",
        &slow(),
    );
    let handler = handler.expect("sound");
    fails(&handler, "output", "output", &["handler.output_bytes"]);
    fails(&handler, "memory", "memory", &["out of memory", "guest.js:2:"]);
    assert!(call(&handler, "text").is_err());
    assert!(
        matches!(call(&handler, "caught"), Ok(Verdict::Replace(made)) if made.data.contains("out of memory"))
    );
}

#[test]
fn globals_last_as_long_as_the_instance_and_no_longer() {
    let text = b"let calls = 0; export function transform() { return `${++calls}`; }";
    let handler = load_with(text, &Config { recycle: 3, ..Config::default() }).expect("sound");
    let answers: Vec<_> = (0..6)
        .map(|_| match call(&handler, "x") {
            Ok(Verdict::Replace(made)) => made.data.into_owned(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(answers, ["1", "2", "3", "1", "2", "3"]);
    let config = Config { isolation: "per-event".parse().expect("a word"), ..Config::default() };
    let handler = load_with(text, &config).expect("sound");
    for _ in 0..3 {
        assert!(matches!(call(&handler, "x"), Ok(Verdict::Replace(made)) if made.data == "1"));
    }
}

#[test]
fn a_long_life_does_not_leak() {
    let handler = body(
        "if (event.data === 'bad') return { reject: 'no' }; return [{ ...event }, { topic: 'u', data: { a: event } }]",
    );
    let long = "x".repeat(10_000);
    for round in 0..3_000 {
        let data = if round % 3 == 0 { "bad" } else { &long };
        call(&handler, data).expect("no fault");
    }
    let stats = stats(&handler);
    assert_eq!((stats.recycled, stats.instances), (0, 1));
    assert!(stats.memory_bytes < 8 << 20, "{}", stats.memory_bytes);
}

#[test]
fn memory_is_limited_by_an_option_of_its_own() {
    let text = b"export function transform() { return `${new Uint8Array(24 << 20).length}`; }";
    let handler = load_with(text, &slow()).expect("sound");
    assert!(matches!(call(&handler, "x"), Ok(Verdict::Replace(made)) if made.data == "25165824"));
    let small = Config { script_memory_bytes: 16 << 20, ..slow() };
    fails(&load_with(text, &small).expect("sound"), "x", "memory", &["out of memory", "guest.js:1:"]);
}

#[test]
fn a_changed_script_is_taken_into_use_and_a_broken_one_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("says.js");
    let says = |word: &str| format!("export const transform = () => '{word}';");
    std::fs::write(&file, says("old")).expect("written");
    let content = std::fs::read(&file).expect("read");
    let handler = Arc::new(WasmHandler::new(&RUNTIME, "says", &content, &Config::default()).expect("sound"));
    let watch = FileWatch::start().expect("a thread");
    watch.add(&file, content, 1 << 20, &handler);
    let said = || match call(&handler, "x") {
        Ok(Verdict::Replace(made)) => made.data.into_owned(),
        other => panic!("{other:?}"),
    };
    assert_eq!(said(), "old");
    let until = |done: &dyn Fn() -> bool| {
        let start = Instant::now();
        while !done() {
            assert!(start.elapsed() < Duration::from_secs(60), "the file is not looked at");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    std::fs::write(&file, "export const transform = () => '").expect("written");
    until(&|| stats(&handler).failed_reloads == 1);
    assert_eq!(said(), "old");
    std::fs::write(&file, says("new")).expect("written");
    until(&|| said() == "new");
}
