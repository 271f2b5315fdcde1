//! Files that nobody has written: random ones, valid as far as WebAssembly goes, from a seed.
//!
//! Most of what is random is no handler. Those of [`handler`] are: their imports, exports and types are the contract's, and what they
//! do is random. The pointers that they answer are cut to the first half of a page, else hardly any of them would ever get an event, or
//! answer one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use fanfare_engine::Code;
use fanfare_wasi_host::{LoadError, Policy, Trial};
use wasm_smith::{Component, Module};
use wasmparser::{ExternalKind, Parser, Payload, TypeRef};

use super::random::Random;
use super::*;

/// Any module at all, of any of the language's proposals.
pub(crate) fn module(random: &mut Random) -> Option<Vec<u8>> {
    let bytes = random.bytes(4096);
    let mut entropy = arbitrary::Unstructured::new(&bytes);
    let config: wasm_smith::Config = entropy.arbitrary().ok()?;
    Some(Module::new(config, &mut entropy).ok()?.to_bytes())
}

/// Any component at all.
pub(crate) fn component(random: &mut Random) -> Option<Vec<u8>> {
    let bytes = random.bytes(4096);
    let config = wasm_smith::Config { max_memories: 4, max_tables: 4, ..wasm_smith::Config::default() };
    Some(Component::new(config, &mut arbitrary::Unstructured::new(&bytes)).ok()?.to_bytes())
}

/// A module with the contract's imports and exports, some or all of the optional ones. It may never come back, also from its start.
pub(crate) fn handler(random: &mut Random) -> Option<Vec<u8>> {
    let optional: String = [
        r#"(func (export "init") (result i32) unreachable)"#,
        r#"(func (export "tick") (result i32) unreachable)"#,
        r#"(func (export "transform-batch") (param i32 i32) (result i32) unreachable)"#,
        r#"(func (export "on-subscribe") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) unreachable)"#,
        r#"(func (export "cabi_post_transform") (param i32))"#,
    ]
    .into_iter()
    .filter(|_| random.below(8) == 0)
    .collect();
    let shape = format!(
        r#"(module {}
            (memory (export "memory") 1)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
            (func (export "transform") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) unreachable)
            {optional})"#,
        imports("")
    );
    let config = wasm_smith::Config {
        module_shape: Some(wat::parse_str(shape).expect("sound")),
        allow_start_export: random.below(16) == 0,
        disallow_traps: random.below(2) == 0,
        max_data_segments: 8,
        max_instructions: 200,
        exceptions_enabled: false,
        gc_enabled: false,
        reference_types_enabled: false,
        memory64_enabled: false,
        threads_enabled: false,
        ..wasm_smith::Config::default()
    };
    let bytes = random.bytes(8192);
    let made = Module::new(config, &mut arbitrary::Unstructured::new(&bytes)).ok()?.to_bytes();
    Some(answering_inside(&made, random.below(4) > 0))
}

/// The module with every exported function that answers a pointer cutting it to an aligned address below 32 KiB; `allocates`: it has
/// room for what it is given, always the same.
fn answering_inside(module: &[u8], allocates: bool) -> Vec<u8> {
    // No locals, `i32.const 0x8000`, `end`.
    const ALLOCATE: [u8; 6] = [0, 0x41, 0x80, 0x80, 0x02, 0x0b];
    // `i32.const 0x7ff8`, `i32.and`, `end`.
    const AND: [u8; 6] = [0x41, 0xf8, 0xff, 0x01, 0x71, 0x0b];
    let (mut imported, mut pointers, mut section, mut bodies) = (0, BTreeSet::new(), None, Vec::new());
    let mut allocator = None;
    for payload in Parser::new(0).parse_all(module) {
        match payload.expect("wasm-smith makes sound modules") {
            Payload::ImportSection(imports) => {
                let functions = imports.into_imports().map(|import| import.expect("sound").ty);
                imported = functions.filter(|import| matches!(import, TypeRef::Func(_))).count();
            }
            Payload::ExportSection(exports) => {
                let exports = exports.into_iter().map(|export| export.expect("sound"));
                let functions = exports.filter(|export| export.kind == ExternalKind::Func);
                for export in functions.filter(|export| export.name != "cabi_post_transform") {
                    pointers.insert(export.index as usize);
                    if export.name == "cabi_realloc" {
                        allocator = Some(export.index as usize);
                    }
                }
            }
            Payload::CodeSectionStart { range, .. } => section = Some(range),
            Payload::CodeSectionEntry(body) => {
                bodies.push(module[body.range().start..body.range().end].to_vec())
            }
            _ => {}
        }
    }
    for function in pointers {
        let body = &mut bodies[function - imported];
        assert_eq!(body.pop(), Some(0x0b), "a body ends");
        body.extend_from_slice(&AND);
    }
    if let (Some(allocator), true) = (allocator, allocates) {
        bodies[allocator - imported] = ALLOCATE.to_vec();
    }
    let section = section.expect("with code");
    let mut code = leb128(bodies.len());
    for body in &bodies {
        code.extend(leb128(body.len()));
        code.extend_from_slice(body);
    }
    // Before the contents of a section are its length, in a form that may be longer than need be, and its number, 10.
    let start = (1..=5).map(|length| section.start - length - 1).find(|at| {
        module[*at] == 10 && length_at(module, at + 1) == (section.end - section.start, section.start)
    });
    let start = start.expect("a section begins");
    [&module[..start], &[10], &leb128(code.len()), &code, &module[section.end..]].concat()
}

/// The number at a place, and where it ends.
fn length_at(bytes: &[u8], mut at: usize) -> (usize, usize) {
    let (mut value, mut shift) = (0, 0);
    loop {
        value |= usize::from(bytes[at] & 0x7f) << shift;
        (at, shift) = (at + 1, shift + 7);
        if bytes[at - 1] < 0x80 {
            return (value, at);
        }
    }
}

fn leb128(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// What became of them.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    pub(crate) files: u64,
    /// Refused, by the kind of cause.
    pub(crate) refused: BTreeMap<&'static str, u64>,
    pub(crate) loaded: u64,
    pub(crate) answered: u64,
    /// What a call failed of.
    pub(crate) failed: BTreeMap<&'static str, u64>,
    /// The longest that a publisher has waited.
    pub(crate) longest: Duration,
}

impl Outcomes {
    /// One file of each sort, as `fanfare check` and a hub take them. Whatever is in it: either its cause is told, or each publisher gets what the
    /// policy says.
    pub(crate) fn one(&mut self, seed: u64) {
        let mut random = Random::new(seed);
        for make in [module, component, handler] {
            if let Some(bytes) = make(&mut random) {
                self.file(seed, &bytes);
            }
        }
    }

    fn file(&mut self, seed: u64, bytes: &[u8]) {
        self.files += 1;
        let on_fault = [Policy::Reject, Policy::Pass, Policy::Drop, Policy::DeadLetter][seed as usize % 4];
        let config = Config {
            time: Duration::from_millis(1),
            on_fault,
            dead_letter: "failed".into(),
            ..Config::default()
        };
        // As `fanfare check` does: without the trial that comes before the first event.
        if let Ok(trial) = Trial::new(&RUNTIME, "random", bytes, &config)
            && trial.start().is_ok()
        {
            let _ = trial.call(&Draft::new("t", "yes"));
            let _ = trial.welcome(&Visitor { topics: vec!["t"], ..Visitor::default() });
        }
        let handler = match WasmHandler::new(&RUNTIME, "random", bytes, &config) {
            Ok(handler) => Arc::new(handler),
            Err(error) => return self.refuse(seed, &error),
        };
        self.loaded += 1;
        let engine = engine_with(Arc::clone(&handler));
        for data in ["", "yes", "{\"a\":1}"] {
            let faults = |stats: &HandlerStats| stats.faults.iter().map(|(_, count)| count).sum::<u64>();
            let before = stats(&handler);
            let start = Instant::now();
            let published = engine.publish(Draft::new("t", data).with_event("e"), NOW);
            self.longest = self.longest.max(start.elapsed());
            let after = stats(&handler);
            if faults(&after) == faults(&before) {
                self.answered += 1;
                continue;
            }
            for ((kind, count), (_, before)) in after.faults.iter().zip(&before.faults) {
                *self.failed.entry(kind).or_default() += count - before;
            }
            match (on_fault, published) {
                (Policy::Reject, Err(error)) => assert_eq!(error.code(), Code::HandlerFailed, "seed {seed}"),
                (Policy::Pass | Policy::DeadLetter, Ok(taken)) => assert_eq!(taken.events, 1, "seed {seed}"),
                (Policy::Drop, Ok(taken)) => assert_eq!(taken.events, 0, "seed {seed}"),
                (policy, published) => panic!("seed {seed}: {policy:?} made {published:?}"),
            }
        }
        let visitor = Visitor { topics: vec!["t"], ..Visitor::default() };
        let _ = handler.welcome(&visitor, NOW, &mut Turn::default());
        let _ = handler.tick(NOW, &mut Turn::default());
        assert!(stats(&handler).instances <= 1, "seed {seed}: {:?}", stats(&handler));
    }

    fn refuse(&mut self, seed: u64, error: &LoadError) {
        let text = error.to_string();
        assert!(!text.is_empty() && !text.contains("gave up"), "seed {seed}: {text}");
        let kind = match error {
            LoadError::Format(_) => "format",
            LoadError::Contract(_) => "contract",
            LoadError::Import(_) => "import",
            LoadError::Compile(_) => "compile",
            LoadError::Start(_) => "start",
            _ => "other",
        };
        *self.refused.entry(kind).or_default() += 1;
    }
}
