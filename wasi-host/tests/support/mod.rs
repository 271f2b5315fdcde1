//! Guests in WebAssembly text, and a hub to put them in.
#![allow(dead_code, reason = "each test uses a part")]

pub(crate) mod exchange;
pub(crate) mod random;
pub(crate) mod smith;

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, LazyLock};

use fanfare_engine::{
    Config as EngineConfig, Draft, Engine, Epoch, Fault, Handler, HandlerSpec, HandlerStats, OnFault, Pulled,
    Start, SubscribeOptions, Timestamp, TopicPattern, Turn, Verdict, Visitor, Welcome,
};
use fanfare_wasi_host::{Config, LoadError, Runtime, WasmHandler};

pub(crate) const NOW: Timestamp = Timestamp(1_000);

/// One for all tests of a file, as a hub has one for all handlers.
pub(crate) static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Runtime::new().expect("this machine runs handlers"));

/// A core module with memory, an allocator that only grows, and what `body` adds. `body` defines `transform`:
/// the parameters are topic, kind, id and data (each pointer and length, the optional ones after a flag), the result points
/// to an outcome of 12 bytes.
pub(crate) fn module(body: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
            {}
            (memory (export "memory") 1)
            (global $next (mut i32) (i32.const 4096))
            (func $alloc (export "cabi_realloc") (param $old i32) (param $size i32) (param $align i32) (param $new i32) (result i32)
                (local $at i32) (local $end i32)
                (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
                (local.set $end (i32.add (local.get $at) (local.get $new)))
                (block $fits
                    (br_if $fits (i32.le_u (local.get $end) (i32.mul (memory.size) (i32.const 65536))))
                    (br_if $fits (i32.ne (i32.const -1) (memory.grow
                        (i32.add (i32.const 1) (i32.div_u (local.get $new) (i32.const 65536))))))
                    unreachable)
                (global.set $next (local.get $end))
                (local.get $at))
            (func (export "cabi_post_transform") (param i32) (global.set $next (i32.const 4096)))
            {})"#,
        imports(body),
        body,
    );
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// `(import ..)` fields have to come first.
fn imports(_: &str) -> &'static str {
    r#"(import "fanfare:handler/log@0.1.0" "log" (func $log (param i32 i32 i32)))
       (import "fanfare:handler/config@0.1.0" "get" (func $config_get (param i32 i32 i32)))
       (import "fanfare:handler/clock@0.1.0" "now" (func $clock_now (result i64)))
       (import "fanfare:handler/kv@0.1.0" "get" (func $kv_get (param i32 i32 i32)))
       (import "fanfare:handler/kv@0.1.0" "set" (func $kv_set (param i32 i32 i32 i32 i32 i64 i32)))
       (import "fanfare:handler/kv@0.1.0" "increment" (func $kv_increment (param i32 i32 i64 i32 i64 i32)))"#
}

/// A module whose `transform` runs these instructions and leaves a pointer to its outcome. `$d` and `$n` are the data.
pub(crate) fn transform(code: &str) -> Vec<u8> {
    transform_beside(code, "")
}

/// The same beside other functions.
pub(crate) fn transform_beside(code: &str, functions: &str) -> Vec<u8> {
    module(&format!(
        r#"(func $transform (export "transform")
            (param $topic i32) (param $topic_n i32) (param $has_kind i32) (param $kind i32) (param $kind_n i32)
            (param $has_id i32) (param $id i32) (param $id_n i32) (param $d i32) (param $n i32) (result i32)
            (local $i i32)
            {code})
        {functions}"#
    ))
}

/// Instructions that answer an outcome at address 0: its number and two words.
pub(crate) fn answer(number: u8, first: &str, second: &str) -> String {
    format!(
        "(i32.store8 (i32.const 0) (i32.const {number})) (i32.store (i32.const 4) {first}) (i32.store (i32.const 8) {second}) (i32.const 0)"
    )
}

pub(crate) fn pass() -> Vec<u8> {
    transform("(i32.const 0)")
}

pub(crate) fn load(bytes: &[u8]) -> Result<WasmHandler, LoadError> {
    load_with(bytes, &Config::default())
}

pub(crate) fn load_with(bytes: &[u8], config: &Config) -> Result<WasmHandler, LoadError> {
    WasmHandler::new(&RUNTIME, "guest", bytes, config)
}

pub(crate) fn call(handler: &WasmHandler, data: &str) -> Result<Verdict, Fault> {
    handle(handler, &Draft::new("t", data), NOW)
}

/// What it says about an event, as if it were published alone.
pub(crate) fn handle(handler: &WasmHandler, event: &Draft<'_>, now: Timestamp) -> Result<Verdict, Fault> {
    let mut turn = Turn::default();
    let verdict = handler.handle(event, now, &mut turn)?;
    if !matches!(verdict, Verdict::Refuse(_)) {
        turn.commit();
    }
    Ok(verdict)
}

/// What it says about a reader.
pub(crate) fn welcome(handler: &WasmHandler, visitor: &Visitor<'_>) -> Result<Welcome, Fault> {
    let mut turn = Turn::default();
    let welcome = handler.welcome(visitor, NOW, &mut turn)?;
    turn.commit();
    Ok(welcome)
}

/// What it makes of events that are published in one step.
pub(crate) fn handle_batch(handler: &WasmHandler, events: &[&Draft<'_>]) -> Vec<Result<Verdict, Fault>> {
    let mut turn = Turn::default();
    let answers = handler.handle_batch(events, NOW, &mut turn);
    turn.commit();
    answers
}

/// What it makes because time has passed.
pub(crate) fn tick(handler: &WasmHandler) -> Result<Vec<Draft<'static>>, Fault> {
    let mut turn = Turn::default();
    let made = handler.tick(NOW, &mut turn)?;
    turn.commit();
    Ok(made)
}

pub(crate) fn stats(handler: &WasmHandler) -> HandlerStats {
    handler.stats().expect("it counts")
}

pub(crate) fn fault_count(handler: &WasmHandler, kind: &str) -> u64 {
    let stats = stats(handler);
    stats.faults.iter().find(|(name, _)| *name == kind).map_or(0, |(_, count)| *count)
}

/// An engine with this handler on topics that begin with `t`.
pub(crate) fn engine_with(handler: Arc<WasmHandler>) -> Engine {
    let engine = Engine::new(EngineConfig::new(Epoch::parse("abc").expect("sound"))).expect("sound");
    engine.add_handler(HandlerSpec {
        name: "guest".into(),
        topics: TopicPattern::parse("t*"),
        events: Box::default(),
        on_fault: OnFault::Closed,
        handler,
    });
    engine
}

/// The data of everything that a topic retains.
pub(crate) fn retained(engine: &Engine, topic: &str) -> Vec<String> {
    let watcher = engine.watcher();
    let options = SubscribeOptions { topics: vec![topic.into()], start: Start::All, ..Default::default() };
    let reader = engine.subscribe_again(&watcher, &options, NOW).expect("room");
    let mut frames = Vec::new();
    while reader.pull(&mut frames, 1 << 20) != Pulled::Idle {}
    let data = |wire: &[u8]| {
        let text = String::from_utf8(wire.to_vec()).expect("UTF-8");
        let lines: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        lines.join("\n")
    };
    frames.iter().map(|frame| data(frame.wire())).collect()
}

/// Builds a C file with the command that its header gives.
pub(crate) fn build_c(source: &Path) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let module = folder.path().join("handler.wasm");
    let built = Command::new("clang")
        .args([
            "--target=wasm32",
            "-O2",
            "-mbulk-memory",
            "-nostdlib",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-Wl,--no-entry",
            "-o",
        ])
        .arg(&module)
        .arg(source)
        .output()
        .expect("clang runs; `cargo xtask install-deps` installs clang and lld");
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{}: {said}", source.display());
    std::fs::read(&module).expect("a module")
}

/// Builds C text that includes `fanfare_handler.h`.
pub(crate) fn build_source(text: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("handler.c");
    std::fs::write(&file, text).expect("written");
    let header = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/handlers/c/fanfare_handler.h");
    std::fs::copy(header, folder.path().join("fanfare_handler.h")).expect("copied");
    build_c(&file)
}

/// An example handler in C.
pub(crate) fn build_example(name: &str) -> Vec<u8> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/handlers/c");
    build_c(&examples.join(name).with_extension("c"))
}
