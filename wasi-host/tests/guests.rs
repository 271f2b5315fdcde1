//! The example handlers of every language, as `cargo xtask guests` has built them, against `examples/handlers/vectors.json`:
//! whatever it is written in, a handler of one name does the same.
//!
//! In a build that compiles, from the files that users have; in one that does not, from what `cargo xtask builds` has made of
//! them with `fanfare compile`.
#![cfg(feature = "wasm")]

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use fanfare_engine::{Draft, Handler, Verdict, Visitor, Welcome};
use fanfare_wasi_host::{Config, WasmHandler, name_of};
use serde_json::Value;
use support::*;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/handlers")
}

/// Where `cargo xtask guests` puts what it builds.
fn built(language: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is in the target directory");
    target.join("guests").join(language)
}

fn vectors() -> Value {
    let text = std::fs::read_to_string(examples().join("vectors.json")).expect("readable");
    serde_json::from_str(&text).expect("JSON")
}

/// Where the handlers of a language are, how they end, and who makes them.
fn place(language: &str) -> (PathBuf, &'static str, &'static str) {
    match language {
        _ if cfg!(not(feature = "wasm-jit")) => {
            (built("compiled").join(language), "compiled", "cargo xtask builds")
        }
        "js" => (examples().join("js"), "js", "git"),
        _ => (built(language), "wasm", "cargo xtask guests"),
    }
}

/// Runs the vectors of every handler in a language; there have to be these.
fn run(language: &str, expected: &[&str]) {
    let vectors = vectors();
    let (folder, ending, maker) = place(language);
    let listed = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}: run `{maker}`", folder.display()));
    let mut files: Vec<_> = listed.map(|entry| entry.expect("listed").path()).collect();
    files.retain(|file| file.extension().is_some_and(|found| found == ending));
    files.sort();
    let names: Vec<_> = files.iter().map(|file| name_of(file)).collect();
    assert_eq!(names, expected, "{}", folder.display());
    for (name, file) in names.iter().zip(&files) {
        let bytes = std::fs::read(file).expect("readable");
        let handler = &vectors[name.as_str()];
        let texts = |list: &Value| -> Vec<String> {
            let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
            list.iter().map(|text| text.as_str().expect("a text").to_owned()).collect()
        };
        let config = Config {
            config: texts(&handler["config"]),
            // Python needs more memory than others, and its first event more time.
            memory_bytes: 128 << 20,
            // Machine code is several times as large as what it is made of.
            file_bytes: 256 << 20,
            time: Duration::from_secs(20),
            precompiled: cfg!(not(feature = "wasm-jit")),
            ..Config::default()
        };
        let loaded = WasmHandler::new(&RUNTIME, name, &bytes, &config)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let events = handler["events"].as_array().unwrap_or_else(|| panic!("no vectors for {name}"));
        for event in events {
            let verdict = handle(&loaded, &draft(event), NOW);
            let verdict = verdict.unwrap_or_else(|fault| panic!("{}: {fault:?} of {event}", file.display()));
            assert!(matches(event, &verdict), "{}: {verdict:?} is not what {event} says", file.display());
        }
        // What it says to a reader of these topics after all of that.
        let greeting = handler["greeting"].as_object();
        assert_eq!(loaded.welcomes(), greeting.is_some(), "{}", file.display());
        for (topic, data) in greeting.into_iter().flatten() {
            let reader = Visitor { topics: vec![topic], ..Visitor::default() };
            let data = data.as_str().expect("a text");
            let expected = Draft::new(topic.clone(), data.to_owned()).with_event("snapshot");
            let greeted = welcome(&loaded, &reader);
            assert_eq!(greeted, Ok(Welcome::Greet(vec![expected])), "{}", file.display());
        }
    }
}

fn draft(event: &Value) -> Draft<'static> {
    let text = |field: &str| event[field].as_str().map(str::to_owned);
    let mut draft = Draft::new(text("topic").unwrap_or("t".into()), text("data").expect("data"));
    draft.event = text("kind").map(Into::into);
    draft
}

/// Whether it is the outcome that is written with the event.
fn matches(event: &Value, verdict: &Verdict) -> bool {
    let says = |field: &str, is: &str| event[field].as_str() == Some(is);
    match verdict {
        Verdict::Pass => event["pass"] == true,
        Verdict::Drop => event["drop"] == true,
        Verdict::Replace(made) => {
            says("replace", &made.data) && made.topic == event["topic"].as_str().unwrap_or("t")
        }
        // The words of a refusal are the same only where the vector has them.
        Verdict::Refuse(reason) => says("reject", reason) || event["refused"] == true,
        Verdict::Emit(made) => {
            let topics: Vec<_> = made.iter().map(|made| Value::from(&*made.topic)).collect();
            let data = event["emit"].as_str().or(event["data"].as_str()).expect("data");
            event["topics"] == Value::Array(topics) && made.iter().all(|made| made.data == data)
        }
    }
}

#[test]
fn in_c() {
    run("c", &["fan_out", "mask", "rate_limit", "tally", "uppercase"]);
}

#[test]
fn in_rust() {
    run("rust", &["digest", "enrich", "filter", "tally", "uppercase"]);
}

#[test]
fn in_plain_javascript() {
    let expected = ["digest", "enrich", "fan_out", "filter", "mask", "rate_limit", "tally", "validate"];
    run("js", &expected);
}

/// The exports that the vectors do not reach: several events at once, and time that has passed.
#[test]
fn a_digest_counts_in_batches_and_tells_by_the_clock() {
    for language in ["rust", "js"] {
        let (folder, ending, _) = place(language);
        let file = folder.join("digest").with_extension(ending);
        let shown = file.display();
        let bytes = std::fs::read(&file).unwrap_or_else(|error| panic!("{shown}: {error}"));
        let config = Config {
            config: vec!["topic=told".to_owned()],
            precompiled: cfg!(not(feature = "wasm-jit")),
            ..Config::default()
        };
        let handler = WasmHandler::new(&RUNTIME, "digest", &bytes, &config).expect("sound");
        assert!(handler.batches() && handler.ticks() && !handler.welcomes(), "{shown}");
        assert_eq!(tick(&handler), Ok(vec![]), "{shown}: nothing to tell of");
        let events: Vec<_> = (0..100).map(|n| Draft::new("t", "x".repeat(n)).with_event("k")).collect();
        for batch in events.chunks(40) {
            let answers = handle_batch(&handler, &batch.iter().collect::<Vec<_>>());
            assert_eq!(answers, vec![Ok(Verdict::Drop); batch.len()], "{shown}");
        }
        assert_eq!(call(&handler, "one more"), Ok(Verdict::Drop));
        let told = Draft::new("told", "101").with_event("digest");
        assert_eq!(tick(&handler), Ok(vec![told]), "{shown}");
        assert_eq!(tick(&handler), Ok(vec![]), "{shown}");
    }
}

#[test]
fn in_javascript_as_a_component() {
    run("js-component", &["enrich"]);
}

#[test]
fn in_python() {
    run("python", &["validate"]);
}
