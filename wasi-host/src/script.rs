//! Handlers that are a plain JavaScript file.
//!
//! There is one engine, QuickJS as a component (`js/engine.c`), compiled at most once in a runtime. An instance of it asks
//! for its script when it starts, so a script costs no compiling: its handler is the engine with a linker that hands
//! out this text. To the rest of this crate it is a component like any other; only its memory limit, and the texts of
//! its faults, are its own.

use std::fmt;

use wasmtime::StoreContextMut;
use wasmtime::component::{Component, ComponentType, Lift, Linker};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::contract::{SCRIPT_HOST, ScriptFailed, WIT};
use crate::error::LoadError;
use crate::fault::FaultKind;
use crate::host::State;
use crate::runtime::Runtime;

/// The engine, which `cargo xtask guests` builds from `js/engine.c` and QuickJS.
const ENGINE: &[u8] = include_bytes!("../js/engine.wasm");

/// What lies between the engine and this module.
const SCRIPT_WIT: &str = include_str!("../js/script.wit");

/// The world of the engine.
const WORLD: &str = "package fanfare:engine;
world engine {
    include fanfare:handler/handler@0.1.0;
    include fanfare:handler/starting@0.1.0;
    import fanfare:script/host@0.1.0;
}";

#[derive(ComponentType, Lift, Clone, Copy, Debug)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code, reason = "made by lifting, from its number")]
enum Failure {
    #[component(name = "threw")]
    Threw,
    #[component(name = "answer")]
    Answer,
}

/// The engine, and what it links to for the script of that name.
pub(crate) fn engine(
    runtime: &Runtime,
    name: &str,
    text: &str,
) -> Result<(Component, Linker<State>), LoadError> {
    let component = runtime.script_engine().get_or_init(|| compile(runtime)).clone()?;
    let mut linker = runtime.linker().clone();
    let file = if name.ends_with(".js") { name.to_owned() } else { format!("{name}.js") };
    provide(&mut linker, file, text.to_owned()).map_err(broken)?;
    Ok((component, linker))
}

fn compile(runtime: &Runtime) -> Result<Component, LoadError> {
    let bytes = component().map_err(broken)?;
    Component::from_binary(runtime.engine(), &bytes).map_err(broken)
}

fn component() -> Result<Vec<u8>, anyhow::Error> {
    let mut resolve = Resolve::default();
    resolve.push_str("handler.wit", WIT)?;
    resolve.push_str("script.wit", SCRIPT_WIT)?;
    let package = resolve.push_str("engine.wit", WORLD)?;
    let world = resolve.select_world(&[package], Some("engine"))?;
    let mut module = ENGINE.to_vec();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    ComponentEncoder::default().module(&module)?.encode()
}

/// The engine is ours: what is wrong with it is not the script's fault.
fn broken(error: impl fmt::Display) -> LoadError {
    LoadError::Compile(format!("the JavaScript engine does not work: {error:#}"))
}

fn provide(linker: &mut Linker<State>, file: String, script: String) -> wasmtime::Result<()> {
    type Cx<'a> = StoreContextMut<'a, State>;

    let mut host = linker.instance(SCRIPT_HOST)?;
    host.func_wrap("name", move |_: Cx<'_>, (): ()| Ok((file.clone(),)))?;
    host.func_wrap("text", move |_: Cx<'_>, (): ()| Ok((script.clone(),)))?;
    host.func_wrap("fail", |_: Cx<'_>, (failure, text): (Failure, String)| -> wasmtime::Result<()> {
        let kind = match failure {
            Failure::Threw => FaultKind::Trap,
            Failure::Answer => FaultKind::Answer,
        };
        Err(ScriptFailed { kind, text }.into())
    })
}
