//! Files that `fanfare compile` makes: taken where that is allowed, and only when they are whole and fit.
#![cfg(feature = "wasm-jit")]

mod support;

use fanfare_engine::Verdict;
use fanfare_wasi_host::{Config, LoadError, Origin, Trial};
use support::exchange::says;
use support::*;

const SCRIPT: &[u8] = b"export function transform(event) { return event.data.at(0).toUpperCase(); }";

fn trusting() -> Config {
    Config { precompiled: true, ..Config::default() }
}

/// What `fanfare compile` writes.
fn compiled(bytes: &[u8]) -> Vec<u8> {
    let trial = Trial::new(&RUNTIME, "guest", bytes, &Config::default()).expect("sound");
    trial.compiled().expect("short")
}

fn refused(bytes: &[u8]) -> LoadError {
    load_with(bytes, &trusting()).expect_err("not usable")
}

/// Where the code begins.
fn code(file: &[u8]) -> usize {
    file.windows(4).position(|bytes| bytes == b"\x7fELF").expect("code")
}

#[test]
fn it_does_what_its_source_does() {
    for (source, said) in [(says('a'), "aa"), (SCRIPT.to_vec(), "X")] {
        let file = compiled(&source);
        let (from_source, from_file) =
            (load(&source).expect("sound"), load_with(&file, &trusting()).expect("sound"));
        let answer = call(&from_file, "x");
        assert!(matches!(&answer, Ok(Verdict::Replace(made)) if made.data == said), "{answer:?}");
        assert_eq!(answer, call(&from_source, "x"));
        let (of_source, of_file) = (from_source.about(), from_file.about());
        assert_eq!(of_file.origin, Origin::Precompiled);
        assert_eq!(of_file.file_bytes, file.len() as u64);
        assert_eq!((of_file.core_module, of_file.script), (of_source.core_module, of_source.script));
        assert_eq!((of_file.exports, of_file.imports), (of_source.exports, of_source.imports));
    }
}

#[test]
fn scripts_keep_their_own_text() {
    let other = b"export function transform() { return 'other'; }";
    let [first, second] = [SCRIPT, other]
        .map(|text| load_with(&compiled(text), &trusting()).expect("the same engine, another script"));
    assert!(matches!(call(&first, "abc"), Ok(Verdict::Replace(made)) if made.data == "A"));
    assert!(matches!(call(&second, "abc"), Ok(Verdict::Replace(made)) if made.data == "other"));
    let broken = load_with(&compiled(b"export function transform() { nowhere(); }"), &trusting());
    let fault = call(&broken.expect("it loads"), "x").expect_err("it throws");
    assert!(fault.0.contains("guest.js:1"), "{fault:?}");
}

#[test]
fn it_is_taken_only_where_that_is_allowed() {
    let error = load(&compiled(&says('a'))).expect_err("not by default");
    assert!(matches!(error, LoadError::Format(_)));
    assert!(error.to_string().contains("handler.precompiled"), "{error}");
    let handler = load(&says('a')).expect("sound");
    handler.reload(&compiled(&says('b'))).expect_err("not by a reload either");
    assert!(matches!(call(&handler, "x"), Ok(Verdict::Replace(made)) if made.data == "aa"));
}

#[test]
fn code_without_our_form_is_never_taken() {
    let file = compiled(&says('a'));
    let error = refused(&file[code(&file)..]).to_string();
    assert!(error.contains("wasmtime") && error.contains("fanfare compile"), "{error}");
}

#[test]
fn every_cut_and_every_changed_byte_is_found() {
    let file = compiled(&says('a'));
    let steps = (0..file.len()).step_by(97).chain(0..64).chain(file.len() - 8..file.len());
    for at in steps {
        assert!(matches!(refused(&file[..at]), LoadError::Format(_)), "cut at {at}");
        let mut changed = file.clone();
        changed[at] ^= 4;
        assert!(matches!(refused(&changed), LoadError::Format(_)), "changed at {at}");
    }
    let error = refused(&[&file[..], b"x"].concat()).to_string();
    assert_eq!(error, "it is damaged or cut off");
}
