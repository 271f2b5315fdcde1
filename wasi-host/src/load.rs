//! From the bytes of a file to code that is ready to run.
//!
//! A component is taken as it is. A core module becomes a component here: by the description that `wit-bindgen` left in
//! it, or, when it has none, by the contract and the names of its exports. Whatever is wrong is said by name before
//! anything runs; nothing in a file can make the host panic.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker, types};
use wasmtime::{Engine, Precompiled};

use crate::contract::{
    INIT, INTERFACES, ON_SUBSCRIBE, PACKAGE, SCRIPT_HOST, TICK, TRANSFORM, TRANSFORM_BATCH, TRANSFORM_TYPE,
    interface,
};
use crate::error::LoadError;
use crate::host::State;
use crate::runtime::Runtime;

/// What a file turned out to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct About {
    /// Whether it was a core module.
    pub core_module: bool,
    /// Whether it was JavaScript.
    pub script: bool,
    /// Size of the file, in bytes.
    pub file_bytes: u64,
    /// Its exports that the hub calls.
    pub exports: Vec<String>,
    /// Its exports that the hub has no use for.
    pub unused_exports: Vec<String>,
    /// The interfaces that it imports.
    pub imports: Vec<String>,
}

/// Code that is ready to run.
pub(crate) struct Module {
    pub(crate) pre: InstancePre<State>,
    pub(crate) transform: ComponentExportIndex,
    pub(crate) init: Option<ComponentExportIndex>,
    pub(crate) on_subscribe: Option<ComponentExportIndex>,
    pub(crate) tick: Option<ComponentExportIndex>,
    pub(crate) transform_batch: Option<ComponentExportIndex>,
    pub(crate) about: About,
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module").field("about", &self.about).finish_non_exhaustive()
    }
}

/// Makes code of a file's bytes; `name` is what a script is called in messages.
pub(crate) fn load(runtime: &Runtime, name: &str, bytes: &[u8], limit: u64) -> Result<Module, LoadError> {
    let size = bytes.len() as u64;
    if size > limit {
        return Err(LoadError::TooLarge { limit, size });
    }
    // Compiler and encoder are large; a mistake in them is one file's bad luck, not the hub's.
    catch_unwind(AssertUnwindSafe(|| {
        let about = About { file_bytes: size, ..About::default() };
        match shape(bytes)? {
            Shape::Script(text) => script(runtime, name, text, about),
            shape => {
                let (component, core_module) = compile(runtime.engine(), shape, bytes)?;
                module(runtime, &component, runtime.linker(), About { core_module, ..about })
            }
        }
    }))
    .unwrap_or_else(|_| {
        Err(LoadError::Compile("the compiler gave up on it: please report this file".to_owned()))
    })
}

/// What the first bytes say.
enum Shape<'b> {
    Component,
    Core,
    Script(&'b str),
}

fn shape(bytes: &[u8]) -> Result<Shape<'_>, LoadError> {
    if Engine::detect_precompiled(bytes)
        .is_some_and(|kind| matches!(kind, Precompiled::Component | Precompiled::Module))
    {
        return Err(LoadError::Format(
            "it is compiled already: such a file is machine code, which is not taken from anywhere but the cache".to_owned(),
        ));
    }
    let what = match bytes {
        [b'\0', b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => return Ok(Shape::Component),
        [b'\0', b'a', b's', b'm', 1, 0, 0, 0, ..] => return Ok(Shape::Core),
        [b'\0', b'a', b's', b'm', ..] => "a version of WebAssembly that this host does not know, or cut off",
        [] => "empty",
        _ => match script_text(bytes) {
            Some(text) => return Ok(Shape::Script(text)),
            None => {
                "neither WebAssembly, which begins with \"\\0asm\", nor JavaScript, which is text in UTF-8"
            }
        },
    };
    Err(LoadError::Format(format!("it is {what}")))
}

#[cfg(feature = "wasm-jit")]
fn compile(engine: &Engine, shape: Shape<'_>, bytes: &[u8]) -> Result<(Component, bool), LoadError> {
    let compiled = |bytes: &[u8]| {
        Component::from_binary(engine, bytes).map_err(|error| LoadError::Compile(plain(&error)))
    };
    match shape {
        Shape::Core => Ok((compiled(&crate::core_module::component(bytes)?)?, true)),
        _ => {
            crate::core_module::validate(bytes)?;
            Ok((compiled(bytes)?, false))
        }
    }
}

#[cfg(not(feature = "wasm-jit"))]
fn compile(_: &Engine, _: Shape<'_>, _: &[u8]) -> Result<(Component, bool), LoadError> {
    Err(LoadError::Compile("this build has no compiler (feature wasm-jit)".to_owned()))
}

/// The script that a file is: any text that does not begin as WebAssembly does.
fn script_text(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    (!text.contains('\0')).then_some(text)
}

#[cfg(feature = "wasm-jit")]
fn script(runtime: &Runtime, name: &str, text: &str, about: About) -> Result<Module, LoadError> {
    let (component, linker) = crate::script::engine(runtime, name, text)?;
    module(runtime, &component, &linker, About { script: true, ..about })
}

#[cfg(not(feature = "wasm-jit"))]
fn script(_: &Runtime, _: &str, _: &str, _: About) -> Result<Module, LoadError> {
    Err(LoadError::Compile(
        "it is not WebAssembly, and for JavaScript this build has no compiler (feature wasm-jit)".to_owned(),
    ))
}

fn module(
    runtime: &Runtime,
    component: &Component,
    linker: &Linker<State>,
    mut about: About,
) -> Result<Module, LoadError> {
    let engine = runtime.engine();
    let types = component.component_type();
    for (name, item) in types.imports(engine) {
        if about.script && name == SCRIPT_HOST {
            continue;
        }
        let known = INTERFACES.iter().any(|known| interface(known) == name);
        if !known {
            return Err(LoadError::Import(unknown_import(engine, name, &item.ty)));
        }
        about.imports.push(name.to_owned());
    }
    let pre = linker.instantiate_pre(component).map_err(|error| LoadError::Import(plain(&error)))?;
    let Some((_, transform)) = component.get_export(None, TRANSFORM) else {
        return Err(LoadError::Contract(no_transform(&types, engine)));
    };
    let mut init = None;
    for (name, item) in types.exports(engine) {
        match (name, item.ty) {
            // Their types are checked with the first instance.
            (TRANSFORM | ON_SUBSCRIBE | TICK | TRANSFORM_BATCH, _) => about.exports.push(name.to_owned()),
            (INIT, ComponentItem::ComponentFunc(func)) if is_init(&func) => {
                about.exports.push(name.to_owned());
                init = component.get_export_index(None, INIT);
            }
            // Some tools leave an `init` of their own.
            _ => about.unused_exports.push(name.to_owned()),
        }
    }
    let [on_subscribe, tick, transform_batch] =
        [ON_SUBSCRIBE, TICK, TRANSFORM_BATCH].map(|name| component.get_export_index(None, name));
    Ok(Module { pre, transform, init, on_subscribe, tick, transform_batch, about })
}

/// Whether it is `func() -> result<_, string>`.
fn is_init(func: &types::ComponentFunc) -> bool {
    let mut results = func.results();
    let result = match (results.next(), results.next()) {
        (Some(types::Type::Result(result)), None) => result,
        _ => return false,
    };
    func.params().len() == 0 && result.ok().is_none() && matches!(result.err(), Some(types::Type::String))
}

fn no_transform(types: &types::Component, engine: &Engine) -> String {
    let mut exports: Vec<_> = types.exports(engine).map(|(name, _)| format!("{name:?}")).collect();
    exports.truncate(8);
    let found = match exports.len() {
        0 => "it exports nothing".to_owned(),
        _ => format!("it exports {}", exports.join(", ")),
    };
    format!("it has no export \"{TRANSFORM}\": {TRANSFORM_TYPE}; {found}")
}

fn unknown_import(engine: &Engine, name: &str, item: &ComponentItem) -> String {
    let function = match item {
        ComponentItem::ComponentInstance(instance) => instance.exports(engine).find_map(|(name, item)| {
            matches!(item.ty, ComponentItem::ComponentFunc(_)).then(|| format!(" (function {name:?})"))
        }),
        _ => None,
    };
    let hint = if name.starts_with("wasi:") {
        "; handlers have no WASI: build it without, or with its imports stubbed out"
    } else if name.starts_with(PACKAGE) {
        "; this host provides version 0.1.0 of log, config, clock and kv"
    } else {
        ""
    };
    format!("it imports {name:?}{}, which handlers do not get{hint}", function.unwrap_or_default())
}

/// An error with its causes on one line.
pub(crate) fn plain(error: &wasmtime::Error) -> String {
    let text = format!("{error:#}");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
