//! Files that are no handlers: each is refused with its cause, and nothing panics.
#![cfg(feature = "wasm-jit")]

mod support;

use fanfare_wasi_host::{Config, LoadError, WIT};
use support::*;

fn refused(bytes: &[u8]) -> LoadError {
    load(bytes).expect_err("not a handler")
}

fn says(bytes: &[u8], words: &[&str]) -> LoadError {
    let error = refused(bytes);
    for word in words {
        assert!(error.to_string().contains(word), "{word:?} in {error}");
    }
    error
}

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("sound text")
}

#[test]
fn what_is_no_webassembly() {
    assert_eq!(refused(b"").to_string(), "it is empty");
    says(&[0x7f, b'E', b'L', b'F', 0, 1], &["it is neither WebAssembly", "nor JavaScript"]);
    says(b"\0asm", &["cut off"]);
    says(b"\0asm\x02\0\0\0", &["does not know"]);
    assert!(matches!(refused(&[0xff; 4_096]), LoadError::Format(_)));
}

#[test]
fn what_is_too_large() {
    let config = Config { file_bytes: 1_024, ..Config::default() };
    let bytes = vec![0; 1_025];
    let error = load_with(&bytes, &config).expect_err("too large");
    assert_eq!(error, LoadError::TooLarge { limit: 1_024, size: 1_025 });
    assert_eq!(error.to_string(), "it has 1025 bytes, more than 1024 (handler.file_bytes)");
}

#[test]
fn every_truncation_is_refused_by_name() {
    let whole = pass();
    let mut accepted = Vec::new();
    for length in 0..whole.len() {
        match load(&whole[..length]) {
            Err(LoadError::Format(_) | LoadError::Contract(_)) => {}
            Err(other) => panic!("{length} bytes of {}: {other:?}", whole.len()),
            Ok(_) => accepted.push(length),
        }
    }
    // Cut before its last section, which holds nothing but names, a module is whole.
    assert_eq!(accepted.len(), 1, "{accepted:?}");
    assert!(load(&whole).is_ok());
}

#[test]
fn flipped_bits_never_panic() {
    let whole = pass();
    let mut refused = 0;
    for at in 8..whole.len() {
        for bit in [0, 3, 7] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            refused += u32::from(load(&bytes).is_err());
        }
    }
    assert!(refused > 100, "only {refused} refused");
}

/// Random bytes behind both preambles, ten thousand times, from a fixed seed.
#[test]
fn random_bytes_never_panic() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for round in 0..10_000 {
        let mut bytes =
            if round % 2 == 0 { b"\0asm\x01\0\0\0".to_vec() } else { b"\0asm\x0d\0\x01\0".to_vec() };
        for _ in 0..random() % 200 {
            // Small numbers are the identifiers and lengths of sections; they get further.
            bytes.push(if random() % 3 == 0 { random() % 256 } else { random() % 14 } as u8);
        }
        assert!(load(&bytes).is_err());
    }
}

#[test]
fn what_exports_no_transform() {
    assert!(matches!(
        says(&wat("(module)"), &["no export \"transform\"", "exports nothing"]),
        LoadError::Contract(_)
    ));
    says(&wat(r#"(module (func (export "main")))"#), &["no export \"transform\"", "\"main\""]);
    says(&wat("(component)"), &["no export \"transform\": func(event: event) -> outcome", "exports nothing"]);
}

#[test]
fn what_has_the_wrong_signature() {
    let core = r#"(module (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
        (func (export "transform") (param i32) (result i32) unreachable))"#;
    assert!(matches!(says(&wat(core), &["transform"]), LoadError::Contract(_)));
    let component = r#"(component
        (core module $m (func (export "f") (param i32) (result i32) local.get 0))
        (core instance $i (instantiate $m))
        (func (export "transform") (param "n" u32) (result u32) (canon lift (core func $i "f"))))"#;
    let error = says(&wat(component), &["\"transform\" is not func(event: event) -> outcome"]);
    assert!(matches!(error, LoadError::Contract(_)));
    let not_a_function = r#"(component (core module $m) (export "transform" (core module $m)))"#;
    assert!(matches!(says(&wat(not_a_function), &["\"transform\" is no function"]), LoadError::Contract(_)));
}

#[test]
fn what_imports_the_unknown() {
    let importing = |import: &str| {
        wat(&format!(
            r#"(module {import} (memory (export "memory") 1)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
            (func (export "transform") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) i32.const 0))"#
        ))
    };
    let env = importing(r#"(import "env" "abort" (func))"#);
    assert!(matches!(says(&env, &["\"abort\"", "\"env\""]), LoadError::Import(_)));
    let wasi = importing(
        r#"(import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))"#,
    );
    says(&wasi, &["\"fd_write\"", "no WASI"]);
    let newer = importing(r#"(import "fanfare:handler/clock@0.9.0" "now" (func (result i64)))"#);
    says(&newer, &["fanfare:handler/clock@0.9.0"]);
    let misspelt = importing(r#"(import "fanfare:handler/clock@0.1.0" "nov" (func (result i64)))"#);
    says(&misspelt, &["nov"]);
    let component = r#"(component
        (import "wasi:cli/environment@0.2.0" (instance (export "get-arguments" (func (result (list string)))))))"#;
    says(&wat(component), &["wasi:cli/environment@0.2.0", "get-arguments", "no WASI"]);
}

#[test]
fn what_is_compiled_already_is_not_trusted() {
    // The head of a compiled component: an ELF file with wasmtime's own mark.
    let engine = wasmtime::Engine::default();
    let compiled = engine.precompile_component(&wat("(component)")).expect("compiled");
    says(&compiled, &["machine code", "fanfare compile"]);
}

#[test]
fn what_does_not_start() {
    let at_start = |code: &str| {
        wat(&format!(
            r#"(module (memory (export "memory") 1) (func $s {code}) (start $s)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
            (func (export "transform") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) i32.const 0))"#
        ))
    };
    assert!(matches!(
        says(&at_start("unreachable"), &["it did not start", "unreachable"]),
        LoadError::Start(_)
    ));
    says(&at_start("(loop $l (br $l))"), &["it did not start", "too long"]);
    let greedy = wat(r#"(module (memory (export "memory") 1000)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
        (func (export "transform") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) i32.const 0))"#);
    says(&greedy, &["it did not start", "handler.memory"]);
}

#[test]
fn what_cannot_answer_a_first_event() {
    assert!(matches!(says(&transform("(loop $l (br $l)) unreachable"), &["too long"]), LoadError::Start(_)));
    assert!(matches!(says(&transform("(i32.const -4)"), &["broke the contract"]), LoadError::Contract(_)));
    // It may want another kind of event.
    assert!(load(&transform("unreachable")).is_ok());
}

/// `init` is called in each new instance and may refuse.
#[test]
fn init_prepares_or_refuses() {
    let with_init = |answer: u8| {
        module(&format!(
            r#"(func (export "init") (result i32)
                (i32.store8 (i32.const 200) (i32.const {answer}))
                (i32.store (i32.const 204) (i32.const 300)) (i32.store (i32.const 208) (i32.const 2))
                (i32.store16 (i32.const 300) (i32.const 0x6f6e))
                (global.set $ready (i32.const 1)) (i32.const 200))
            (global $ready (mut i32) (i32.const 0))
            (func (export "transform") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
                (if (i32.eqz (global.get $ready)) (then unreachable)) (i32.const 0))"#
        ))
    };
    let handler = load(&with_init(0)).expect("ready");
    assert!(call(&handler, "x").is_ok());
    let mut exports = handler.about().exports;
    exports.sort();
    assert_eq!(exports, ["init", "transform"]);
    let error = says(&with_init(1), &["refused to start: no"]);
    assert!(matches!(error, LoadError::Start(_)));
}

/// The Rust types of the host and the contract's text describe the same thing: a module made from the text loads.
#[test]
fn the_contract_is_what_the_host_speaks() {
    let mut resolve = wit_parser::Resolve::default();
    resolve.push_str("handler.wit", WIT).expect("sound");
    let whole = "package test:whole; world whole {
        include fanfare:handler/handler@0.1.0; include fanfare:handler/starting@0.1.0; }";
    let package = resolve.push_str("whole.wit", whole).expect("sound");
    let world = resolve.select_world(&[package], Some("whole")).expect("a world");
    let mut module = wit_component::dummy_module(&resolve, world, wit_parser::ManglingAndAbi::Standard32);
    wit_component::embed_component_metadata(
        &mut module,
        &resolve,
        world,
        wit_component::StringEncoding::UTF8,
    )
    .expect("sound");
    let component = wit_component::ComponentEncoder::default()
        .module(&module)
        .and_then(|encoder| encoder.validate(true).encode())
        .expect("sound");
    // Every function of it traps, the first one that is called being init: so it is the contract that it passed.
    for bytes in [&module, &component] {
        says(bytes, &["its \"init\" failed", "unreachable"]);
    }
}
