//! The engine of scripts, made into a component and compiled.

use wasmtime::component::Component;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::artifact::Kind;
use crate::compiler;
use crate::contract::WIT;
use crate::error::LoadError;
use crate::runtime::Runtime;
use crate::script::broken;

/// The engine, which `cargo xtask guests` builds from `js/engine.c` and QuickJS.
const ENGINE: &[u8] = include_bytes!("../js/engine.wasm");

/// What lies between the engine and this module.
const SCRIPT_WIT: &str = include_str!("../js/script.wit");

/// The world of the engine.
const WORLD: &str = "package fanfare:engine;
world engine {
    include fanfare:handler/handler@0.1.0;
    include fanfare:handler/starting@0.1.0;
    include fanfare:handler/welcoming@0.1.0;
    include fanfare:handler/ticking@0.1.0;
    include fanfare:handler/batching@0.1.0;
    import fanfare:script/host@0.1.0;
}";

/// The engine, and whether it is from the cache. It is compiled once in a runtime.
pub(crate) fn engine(runtime: &Runtime) -> Result<(Component, bool), LoadError> {
    let sources = [ENGINE, SCRIPT_WIT.as_bytes(), WORLD.as_bytes(), WIT.as_bytes()];
    let component = || component().map_err(|error| LoadError::Compile(format!("{error:#}")));
    let compile = || compiler::compile(runtime, Kind::Script, &sources, component).map_err(broken);
    runtime.script_engine().get_or_init(compile).clone()
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
