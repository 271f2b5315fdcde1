//! Handlers that are a plain JavaScript file.
//!
//! There is one engine, QuickJS as a component (`js/engine.c`), compiled at most once in a runtime. An instance of it asks
//! for its script when it starts, so a script costs no compiling: its handler is the engine with a linker that hands
//! out this text. The engine has every export of the contract; which of them a script has is told by its first instance.
//! To the rest of this crate it is a component like any other; only its memory limit, and the texts of
//! its faults, are its own.

use std::fmt;
use std::sync::Arc;

use wasmtime::StoreContextMut;
use wasmtime::component::{Component, ComponentType, Lift, Linker};

use crate::artifact::{Artifact, sha256};
use crate::contract::{Found, SCRIPT_HOST, ScriptFailed};
use crate::error::LoadError;
use crate::fault::FaultKind;
use crate::host::State;
use crate::runtime::Runtime;

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

/// The engine that a file brings which was compiled already. All such files bring the same, which is loaded once.
pub(crate) fn compiled_engine(runtime: &Runtime, found: &Artifact<'_>) -> Result<Component, LoadError> {
    let sum = sha256(&[found.code]);
    let mut known = runtime.compiled_engine().lock();
    match &*known {
        Some((of, engine)) if *of == sum => Ok(engine.clone()),
        _ => {
            let engine = found.load(runtime.engine()).map_err(LoadError::Format)?;
            *known = Some((sum, engine.clone()));
            Ok(engine)
        }
    }
}

/// What the engine links to for the script of that name.
pub(crate) fn linker(runtime: &Runtime, name: &str, text: &Arc<str>) -> Result<Linker<State>, LoadError> {
    let mut linker = runtime.linker().clone();
    let file = if name.ends_with(".js") { name.to_owned() } else { format!("{name}.js") };
    provide(&mut linker, file, Arc::clone(text)).map_err(broken)?;
    Ok(linker)
}

/// The engine is ours: what is wrong with it is not the script's fault.
pub(crate) fn broken(error: impl fmt::Display) -> LoadError {
    LoadError::Compile(format!("the JavaScript engine does not work: {error:#}"))
}

fn provide(linker: &mut Linker<State>, file: String, script: Arc<str>) -> wasmtime::Result<()> {
    type Cx<'a> = StoreContextMut<'a, State>;

    let mut host = linker.instance(SCRIPT_HOST)?;
    host.func_wrap("name", move |_: Cx<'_>, (): ()| Ok((file.clone(),)))?;
    host.func_wrap("text", move |_: Cx<'_>, (): ()| Ok((script.to_string(),)))?;
    host.func_wrap("found", |mut cx: Cx<'_>, (on_subscribe, tick, transform_batch): (bool, bool, bool)| {
        cx.data_mut().found = Found { on_subscribe, tick, transform_batch };
        Ok(())
    })?;
    host.func_wrap("fail", |_: Cx<'_>, (failure, text): (Failure, String)| -> wasmtime::Result<()> {
        let kind = match failure {
            Failure::Threw => FaultKind::Trap,
            Failure::Answer => FaultKind::Answer,
        };
        Err(ScriptFailed { kind, text }.into())
    })
}
