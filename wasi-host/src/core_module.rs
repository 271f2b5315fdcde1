//! Core modules: checked, and wrapped into a component.

use std::collections::BTreeSet;

use wasmparser::{Parser, Payload, Validator};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, WorldId};

use crate::contract::{OPTIONAL, PACKAGE, TRANSFORM, VERSION, WIT};
use crate::error::LoadError;

/// What a section that describes a module's world is called, up to a name of its own.
const DESCRIPTION: &str = "component-type";

/// What tools of the newer naming put before names of imports, and before those of exports.
const IMPORTED: &str = "cm32p2|";
const EXPORTED: &str = "cm32p2||";

/// Checks that it is sound WebAssembly; the message says where it is not.
pub(crate) fn validate(bytes: &[u8]) -> Result<(), LoadError> {
    Validator::new().validate_all(bytes).map(drop).map_err(|error| broken(&error))
}

fn broken(error: &wasmparser::BinaryReaderError) -> LoadError {
    LoadError::Format(format!("it is broken or cut off: {} (at byte {})", error.message(), error.offset()))
}

/// The component that a core module makes.
pub(crate) fn component(bytes: &[u8]) -> Result<Vec<u8>, LoadError> {
    validate(bytes)?;
    let names = Names::of(bytes)?;
    if let Some(import) = names.imports.iter().find(|(module, _)| !module.starts_with(PACKAGE)) {
        let hint = match import.0.as_str() {
            "wasi_snapshot_preview1" => {
                "; handlers have no WASI: build it without a C library's files, clocks and exits"
            }
            _ => "",
        };
        return Err(LoadError::Import(format!(
            "it imports {:?} from {:?}, which handlers do not get{hint}",
            import.1, import.0
        )));
    }
    if !names.exports.contains(TRANSFORM) {
        let exports: Vec<_> = names.exports.iter().take(8).map(|name| format!("{name:?}")).collect();
        return Err(LoadError::Contract(format!(
            "it has no export \"{TRANSFORM}\"; it exports {}",
            if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") }
        )));
    }
    let mut module = bytes.to_vec();
    if !names.described {
        let (resolve, world) = world(&names.exports).map_err(|error| LoadError::Contract(chain(&error)))?;
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
            .map_err(|error| LoadError::Contract(chain(&error)))?;
    }
    ComponentEncoder::default()
        .module(&module)
        .and_then(|encoder| encoder.validate(true).encode())
        .map_err(|error| LoadError::Contract(format!("it does not follow the contract: {}", chain(&error))))
}

/// What a core module says about itself.
#[derive(Default)]
struct Names {
    exports: BTreeSet<String>,
    imports: Vec<(String, String)>,
    /// Whether it carries the description of its world.
    described: bool,
}

impl Names {
    fn of(bytes: &[u8]) -> Result<Self, LoadError> {
        let mut names = Self::default();
        for payload in Parser::new(0).parse_all(bytes) {
            match payload.map_err(|error| broken(&error))? {
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        let import = import.map_err(|error| broken(&error))?;
                        let from = import.module.strip_prefix(IMPORTED).unwrap_or(import.module);
                        names.imports.push((from.to_owned(), import.name.to_owned()));
                    }
                }
                Payload::ExportSection(exports) => {
                    for export in exports {
                        let name = export.map_err(|error| broken(&error))?.name;
                        names.exports.insert(name.strip_prefix(EXPORTED).unwrap_or(name).to_owned());
                    }
                }
                Payload::CustomSection(section) => names.described |= section.name().starts_with(DESCRIPTION),
                _ => {}
            }
        }
        Ok(names)
    }
}

/// The contract, and in it the world of a module with these exports.
fn world(exports: &BTreeSet<String>) -> Result<(Resolve, WorldId), anyhow::Error> {
    let mut resolve = Resolve::default();
    resolve.push_str("handler.wit", WIT)?;
    let optional: String = OPTIONAL
        .iter()
        .filter(|(export, _)| exports.contains(*export))
        .map(|(_, world)| format!("include {PACKAGE}{world}@{VERSION};\n "))
        .collect();
    let package = resolve.push_str(
        "module.wit",
        &format!("package fanfare:module;\nworld module {{\n include {PACKAGE}handler@{VERSION};\n {optional}\n}}\n"),
    )?;
    let world = resolve.select_world(&[package], Some("module"))?;
    Ok((resolve, world))
}

fn chain(error: &anyhow::Error) -> String {
    format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ")
}
