//! From the bytes of a file to code that is ready to run.
//!
//! A component is taken as it is. A core module becomes a component here: by the description that `wit-bindgen` left in
//! it, or, when it has none, by the contract and the names of its exports. Whatever is wrong is said by name before
//! anything runs; nothing in a file can make the host panic. What was compiled before comes from the cache; a file that is
//! compiled already is machine code, and taken only where the operator has said so.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker, types};
use wasmtime::{Engine, Precompiled};

use crate::artifact::{self, Kind, Seal};
#[cfg(feature = "wasm-jit")]
use crate::compiler;
use crate::config::Config;
#[cfg(feature = "wasm-jit")]
use crate::contract::WIT;
use crate::contract::{
    Found, INIT, INTERFACES, ON_SUBSCRIBE, PACKAGE, SCRIPT_HOST, TICK, TRANSFORM, TRANSFORM_BATCH,
    TRANSFORM_TYPE, interface,
};
use crate::error::{LoadError, plain};
use crate::host::State;
use crate::runtime::Runtime;
use crate::script;

/// Where machine code is from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// It was compiled now.
    #[default]
    Compiled,
    /// It was compiled before, and kept in the cache.
    Cached,
    /// The file holds it: `fanfare compile` made it.
    Precompiled,
}

impl Origin {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Compiled => "compiled",
            Self::Cached => "cached",
            Self::Precompiled => "precompiled",
        }
    }

    #[cfg(feature = "wasm-jit")]
    fn of((component, cached): (Component, bool)) -> (Component, Self) {
        (component, if cached { Self::Cached } else { Self::Compiled })
    }
}

/// What a file turned out to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct About {
    /// Whether it was a core module.
    pub core_module: bool,
    /// Whether it was JavaScript.
    pub script: bool,
    /// Where its machine code is from.
    pub origin: Origin,
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
    /// The text, if it is a script.
    #[cfg_attr(not(feature = "wasm-jit"), expect(dead_code, reason = "for files that are compiled here"))]
    script: Option<Arc<str>>,
}

#[cfg(feature = "wasm-jit")]
impl Module {
    /// What `fanfare compile` writes.
    pub(crate) fn artifact(&self) -> Result<Vec<u8>, LoadError> {
        let kind = match (self.about.script, self.about.core_module) {
            (true, _) => Kind::Script,
            (_, true) => Kind::CoreModule,
            _ => Kind::Component,
        };
        let code = self.pre.component().serialize().map_err(|error| LoadError::Compile(plain(&error)))?;
        let artifact =
            artifact::Artifact { kind, script: self.script.as_deref().unwrap_or_default(), code: &code };
        artifact::write(&artifact, Seal::Digest)
            .ok_or_else(|| LoadError::Compile("the script is too long for a file".to_owned()))
    }
}

impl Module {
    /// Forgets the exports of the engine of scripts that the script itself does not have.
    pub(crate) fn keep(&mut self, found: Found) {
        let optional = [
            (ON_SUBSCRIBE, found.on_subscribe, &mut self.on_subscribe),
            (TICK, found.tick, &mut self.tick),
            (TRANSFORM_BATCH, found.transform_batch, &mut self.transform_batch),
        ];
        for (name, _, export) in optional.into_iter().filter(|(_, found, _)| !found) {
            *export = None;
            self.about.exports.retain(|export| export != name);
        }
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module").field("about", &self.about).finish_non_exhaustive()
    }
}

/// Makes code of a file's bytes; `name` is what a script is called in messages.
pub(crate) fn load(
    runtime: &Runtime,
    name: &str,
    bytes: &[u8],
    config: &Config,
) -> Result<Module, LoadError> {
    let (size, limit) = (bytes.len() as u64, config.file_bytes);
    if size > limit {
        return Err(LoadError::TooLarge { limit, size });
    }
    // Compiler and encoder are large; a mistake in them is one file's bad luck, not the hub's.
    catch_unwind(AssertUnwindSafe(|| {
        let about = About { file_bytes: size, ..About::default() };
        match shape(bytes)? {
            Shape::Compiled if config.precompiled => precompiled(runtime, name, bytes, about),
            Shape::Compiled => Err(LoadError::Format(
                "it is compiled already: such a file is machine code, which no sandbox holds; whoever trusts \
                 where it is from says so with handler.precompiled = true"
                    .to_owned(),
            )),
            Shape::Script(text) => {
                let (component, origin) = script_engine(runtime)?;
                script_module(runtime, &component, name, text, About { origin, ..about })
            }
            shape @ (Shape::Component | Shape::Core) => {
                let core_module = matches!(shape, Shape::Core);
                let (component, origin) = compile(runtime, core_module, bytes)?;
                let about = About { core_module, origin, ..about };
                module(runtime, &component, runtime.linker(), about, None)
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
    Compiled,
}

fn shape(bytes: &[u8]) -> Result<Shape<'_>, LoadError> {
    if Engine::detect_precompiled(bytes)
        .is_some_and(|kind| matches!(kind, Precompiled::Component | Precompiled::Module))
    {
        return Err(LoadError::Format(
            "it is machine code that wasmtime has made (.cwasm), which is not taken: `fanfare compile` makes files that are"
                .to_owned(),
        ));
    }
    let what = match bytes {
        [b'\0', b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => return Ok(Shape::Component),
        [b'\0', b'a', b's', b'm', 1, 0, 0, 0, ..] => return Ok(Shape::Core),
        [b'\0', b'a', b's', b'm', ..] => "a version of WebAssembly that this host does not know, or cut off",
        [] => "empty",
        _ if artifact::is_artifact(bytes) => return Ok(Shape::Compiled),
        _ => match script_text(bytes) {
            Some(text) => return Ok(Shape::Script(text)),
            None => {
                "neither WebAssembly, which begins with \"\\0asm\", nor JavaScript, which is text in UTF-8"
            }
        },
    };
    Err(LoadError::Format(format!("it is {what}")))
}

/// Only for files that the operator trusts.
fn precompiled(runtime: &Runtime, name: &str, bytes: &[u8], about: About) -> Result<Module, LoadError> {
    let found = artifact::read(bytes, Seal::Digest).map_err(LoadError::Format)?;
    let about = About { origin: Origin::Precompiled, core_module: found.kind == Kind::CoreModule, ..about };
    if found.kind == Kind::Script {
        let engine = script::compiled_engine(runtime, &found)?;
        return script_module(runtime, &engine, name, found.script, about);
    }
    let component = found.load(runtime.engine()).map_err(LoadError::Format)?;
    module(runtime, &component, runtime.linker(), about, None)
}

fn script_module(
    runtime: &Runtime,
    engine: &Component,
    name: &str,
    text: &str,
    about: About,
) -> Result<Module, LoadError> {
    let text: Arc<str> = text.into();
    let linker = script::linker(runtime, name, &text)?;
    module(runtime, engine, &linker, About { script: true, ..about }, Some(text))
}

#[cfg(feature = "wasm-jit")]
fn compile(runtime: &Runtime, core: bool, bytes: &[u8]) -> Result<(Component, Origin), LoadError> {
    let compiled = if core {
        let made = || crate::core_module::component(bytes);
        compiler::compile(runtime, Kind::CoreModule, &[bytes, WIT.as_bytes()], made)
    } else {
        let sound = || crate::core_module::validate(bytes).map(|()| bytes.to_vec());
        compiler::compile(runtime, Kind::Component, &[bytes], sound)
    };
    compiled.map(Origin::of)
}

#[cfg(feature = "wasm-jit")]
fn script_engine(runtime: &Runtime) -> Result<(Component, Origin), LoadError> {
    crate::script_engine::engine(runtime).map(Origin::of)
}

/// The text of a build that only runs what another has compiled.
#[cfg(not(feature = "wasm-jit"))]
const NO_COMPILER: &str = "this build does not compile (it lacks the feature wasm-jit): `fanfare compile` of one that does makes \
    the file that it takes";

#[cfg(not(feature = "wasm-jit"))]
fn compile(_: &Runtime, _: bool, _: &[u8]) -> Result<(Component, Origin), LoadError> {
    Err(LoadError::Compile(NO_COMPILER.to_owned()))
}

#[cfg(not(feature = "wasm-jit"))]
fn script_engine(_: &Runtime) -> Result<(Component, Origin), LoadError> {
    Err(LoadError::Compile(format!("it is JavaScript, or no handler at all, and {NO_COMPILER}")))
}

/// Whether a file may be loaded by its name: one whose name ends in `.wasm` is not JavaScript, whatever text is in it.
///
/// # Errors
/// [`LoadError::Format`] for text in such a file: a page of an error in place of a download, a text that was moved there.
pub fn check_name(file: &Path, bytes: &[u8]) -> Result<(), LoadError> {
    let wasm = file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("wasm"));
    match shape(bytes) {
        Ok(Shape::Script(text)) if wasm => {
            let begins: String = text.chars().take(24).flat_map(char::escape_debug).collect();
            Err(LoadError::Format(format!(
                "it is named .wasm and is no WebAssembly, which begins with \"\\0asm\": it is text, \"{begins}\"; a handler in JavaScript is named .js"
            )))
        }
        _ => Ok(()),
    }
}

/// The script that a file is: any text that does not begin as WebAssembly does.
fn script_text(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    (!text.contains('\0')).then_some(text)
}

fn module(
    runtime: &Runtime,
    component: &Component,
    linker: &Linker<State>,
    mut about: About,
    script: Option<Arc<str>>,
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
    Ok(Module { pre, transform, init, on_subscribe, tick, transform_batch, about, script })
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
