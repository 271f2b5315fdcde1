//! The example handlers in C, built from source: what their users are promised, and the C header with it.
#![cfg(feature = "wasm-jit")]

mod support;

use std::sync::Arc;

use fanfare_engine::{Draft, Verdict};
use fanfare_wasi_host::{Config, WasmHandler};
use support::*;

fn example(name: &str, config: &Config) -> WasmHandler {
    let bytes = build_example(name);
    WasmHandler::new(&RUNTIME, name, &bytes, config).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn plain(name: &str) -> WasmHandler {
    example(name, &Config::default())
}

fn with_values(name: &str, values: &[&str]) -> WasmHandler {
    example(
        name,
        &Config { config: values.iter().map(|&value| value.to_owned()).collect(), ..Config::default() },
    )
}

fn data(verdict: &Verdict) -> Vec<&str> {
    match verdict {
        Verdict::Replace(made) => vec![&made.data],
        Verdict::Emit(made) => made.iter().map(|event| &*event.data).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn uppercase_shouts() {
    let handler = plain("uppercase");
    for (quiet, loud) in [("hello", "HELLO"), ("", ""), ("größe 1{}", "GRößE 1{}")] {
        assert_eq!(data(&call(&handler, quiet).expect("an answer")), [loud]);
    }
    let long = "long ".repeat(100_000);
    assert_eq!(data(&call(&handler, &long).expect("an answer")), [long.to_uppercase()]);
    assert_eq!(stats(&handler).recycled, 0, "memory is used again");
}

#[test]
fn mask_hides_the_words_of_its_configuration() {
    let handler = with_values("mask", &["words=darn heck"]);
    let masked = call(&handler, "Darn it, what the HECK, darndarn").expect("an answer");
    assert_eq!(data(&masked), ["**** it, what the ****, ********"]);
    assert_eq!(call(&handler, "nothing of the kind"), Ok(Verdict::Pass));
    assert_eq!(call(&plain("mask"), "darn"), Ok(Verdict::Pass), "no words, no stars");
}

#[test]
fn tally_counts_votes_over_reloads_of_its_instance() {
    let handler = example("tally", &Config { recycle: 2, ..Config::default() });
    for (vote, said) in [
        ("yes", r#"{"choice":"yes","votes":1}"#),
        ("no", r#"{"choice":"no","votes":1}"#),
        ("yes", r#"{"choice":"yes","votes":2}"#),
        ("yes", r#"{"choice":"yes","votes":3}"#),
    ] {
        let verdict = call(&handler, vote).expect("an answer");
        assert_eq!(data(&verdict), [said]);
        let Verdict::Emit(made) = verdict else { panic!("it emits") };
        assert_eq!((&*made[0].topic, made[0].event.as_deref(), &made[0].id), ("t", Some("tally"), &None));
    }
    for bad in ["", "\"", "a\nb", &"x".repeat(65)] {
        assert!(matches!(call(&handler, bad), Ok(Verdict::Refuse(_))), "{bad:?}");
    }
}

#[test]
fn a_tally_never_goes_backwards_whoever_votes() {
    let engine = engine_with(Arc::new(plain("tally")));
    let voters: Vec<_> = (0..4)
        .map(|_| {
            let engine = engine.clone();
            std::thread::spawn(move || {
                for _ in 0..200 {
                    engine.publish(Draft::new("t", "yes"), NOW).expect("counted");
                }
            })
        })
        .collect();
    for voter in voters {
        voter.join().expect("no panic");
    }
    let expected: Vec<_> = (1..=800).map(|votes| format!(r#"{{"choice":"yes","votes":{votes}}}"#)).collect();
    assert_eq!(retained(&engine, "t"), expected);
}

#[test]
fn rate_limit_refuses_what_is_too_much_for_one_topic() {
    let handler = with_values("rate_limit", &["rate=3"]);
    let publish = |topic: &str| handle(&handler, &Draft::new(topic.to_owned(), "x"), NOW);
    for _ in 0..3 {
        assert_eq!(publish("t"), Ok(Verdict::Pass));
    }
    assert_eq!(publish("t"), Ok(Verdict::Refuse("more than 3 events a minute".into())));
    assert_eq!(publish("u"), Ok(Verdict::Pass), "another topic has a count of its own");
}

#[test]
fn fan_out_routes_by_type() {
    let handler = Arc::new(plain("fan_out"));
    let engine = engine_with(handler);
    engine.publish(Draft::new("t", "quiet").with_event("note").with_id("a"), NOW).expect("published");
    let done =
        engine.publish(Draft::new("t", "loud").with_event("alert").with_id("b"), NOW).expect("published");
    assert_eq!(done.events, 2);
    assert_eq!(
        (retained(&engine, "t"), retained(&engine, "alerts")),
        (vec!["quiet".into(), "loud".into()], vec!["loud".into()])
    );
}

/// Every function of the header against the host, by a guest that answers with what it saw.
#[test]
fn the_header_speaks_the_whole_contract() {
    let source = r#"
        #include "fanfare_handler.h"
        #define CHECK(what) do { if (!(what)) return ff_reject(FF_TEXT(#what)); } while (0)
        ff_outcome transform(const ff_event *event) {
            bool done = false;
            int64_t sum = 0;
            ff_text k = FF_TEXT("k"), a = FF_TEXT("a"), b = FF_TEXT("b");
            CHECK(event->kind.is_some && ff_equal(event->kind.text, FF_TEXT("kind")));
            CHECK(event->id.is_some && ff_equal(event->id.text, FF_TEXT("id-1")));
            CHECK(ff_equal(event->topic, FF_TEXT("topic")));
            CHECK(ff_config(FF_TEXT("set")).is_some && !ff_config(FF_TEXT("unset")).is_some);
            CHECK(ff_equal(ff_config(FF_TEXT("set")).text, FF_TEXT("value")));
            CHECK(ff_now() > 1700000000000);
            CHECK(!ff_kv_get(k).is_some);
            CHECK(ff_kv_set(k, a, 0) == FF_KV_OK);
            CHECK(ff_equal(ff_kv_get(k).text, a));
            CHECK(ff_kv_compare_and_set(k, FF_NONE, b, 0, &done) == FF_KV_OK && !done);
            CHECK(ff_kv_compare_and_set(k, FF_SOME(a), b, 3600000, &done) == FF_KV_OK && done);
            CHECK(ff_equal(ff_kv_get(k).text, b));
            CHECK(ff_kv_increment(k, 1, 0, &sum) == FF_KV_NOT_A_NUMBER);
            CHECK(ff_kv_delete(k) && !ff_kv_delete(k));
            CHECK(ff_kv_increment(k, -9000000000, 3600000, &sum) == FF_KV_OK && sum == -9000000000);
            CHECK(ff_equal(ff_kv_get(k).text, ff_number(sum)));
            CHECK(ff_kv_set(FF_TEXT(""), a, 0) == FF_KV_INVALID_KEY);
            CHECK(ff_kv_set(k, (ff_text){ff_alloc(300000), 300000}, 0) == FF_KV_OK);
            CHECK(ff_kv_set(FF_TEXT("l"), (ff_text){ff_alloc(900000), 900000}, 0) == FF_KV_FULL);
            CHECK(ff_kv_delete(k));
            ff_log(FF_INFO, FF_TEXT("all is well"));
            return ff_replace(FF_JOIN(FF_TEXT("<"), ff_number(INT64_MIN), FF_TEXT("|"), ff_number(0), FF_TEXT(">")));
        }"#;
    let config = Config { config: vec!["set=value".into()], ..Config::default() };
    let handler = load_with(&build_source(source), &config).expect("sound");
    let event = Draft::new("topic", "x").with_event("kind").with_id("id-1");
    for _ in 0..3 {
        let verdict = handle(&handler, &event, NOW).expect("no fault");
        assert!(
            matches!(&verdict, Verdict::Replace(made) if made.data == "<-9223372036854775808|0>"),
            "{verdict:?}"
        );
    }
}
