//! The layer rule: a module imports only from modules declared above it.
//!
//! `lib.rs` (or `main.rs`) lists its modules in layer order, lowest first, and reading the list tells who
//! may know whom. The check is by text, on every path that starts with `crate`, `self` or `super`,
//! wherever it stands. Two things that would go around it are refused too: importing an item through
//! its re-export in the crate root, and a glob over the root. Macros called as `crate::name!` and code
//! that exists only for tests are free.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::files;
use crate::run::say;
use crate::rust_text::{self, Source};

/// The crates under the rule, with the file that lists their modules.
const CRATES: &[&str] = &[
    "engine/src/lib.rs",
    "uring/src/lib.rs",
    "server/src/lib.rs",
    "wasi-host/src/lib.rs",
    "store/src/lib.rs",
    "hub/src/lib.rs",
    "cli/src/main.rs",
    "ffi/src/lib.rs",
    "xtask/src/main.rs",
];

/// A source file of a crate: its place in the module tree and what it names.
pub(crate) struct Module {
    /// Names from the crate root down; empty for the root file.
    pub(crate) path: Vec<String>,
    /// The file, relative to the repository root.
    pub(crate) file: PathBuf,
    /// Its paths and declarations.
    pub(crate) source: Source,
}

/// Checks every crate and prints what breaks the rule.
pub(crate) fn check() -> Result<()> {
    let mut bad = Vec::new();
    for root in CRATES {
        let modules = load(&files::root(), Path::new(root))?;
        say(&format!("    {root}: {} files, {} layers", modules.len(), order(&modules[0].source).len()));
        bad.extend(violations(&modules));
    }
    for line in &bad {
        say(&format!("    {line}"));
    }
    if !bad.is_empty() {
        bail!("{} imports against the layer order", bad.len());
    }
    Ok(())
}

/// Reads a crate's root file and, from there, every file it declares that is not only for tests.
pub(crate) fn load(base: &Path, root: &Path) -> Result<Vec<Module>> {
    let mut modules = vec![Module {
        path: Vec::new(),
        file: root.to_owned(),
        source: rust_text::read(&files::read(&base.join(root))?),
    }];
    let source_dir = root.parent().unwrap_or(Path::new("")).to_owned();
    let mut next = 0;
    while next < modules.len() {
        let mut children = Vec::new();
        for decl in &modules[next].source.modules {
            let path: Vec<String> =
                modules[next].path.iter().chain(&decl.inline).chain([&decl.name]).cloned().collect();
            let stem = path.iter().fold(source_dir.clone(), |dir, name| dir.join(name));
            let candidates = [stem.with_extension("rs"), stem.join("mod.rs")];
            let Some(file) = candidates.into_iter().find(|file| base.join(file).is_file()) else {
                bail!("{}:{}: no file for `mod {};`", modules[next].file.display(), decl.line, decl.name);
            };
            let source = rust_text::read(&files::read(&base.join(&file))?);
            children.push(Module { path, file, source });
        }
        modules.extend(children);
        next += 1;
    }
    Ok(modules)
}

/// Where a path leads, in names from the crate root; `None` for paths into other crates.
pub(crate) fn absolute(module: &[String], segments: &[String]) -> Option<Vec<String>> {
    let mut base = module.to_vec();
    let mut rest = segments;
    match rest.first()?.as_str() {
        "crate" => base.clear(),
        "self" => {}
        "super" => {
            base.pop();
        }
        _ => return None,
    }
    rest = &rest[1..];
    while let Some("super") = rest.first().map(String::as_str) {
        base.pop();
        rest = &rest[1..];
    }
    base.extend_from_slice(rest);
    Some(base)
}

/// Top-level modules in the order of declaration, with bodies or in files of their own.
fn order(root: &Source) -> Vec<&str> {
    let mut all: Vec<_> =
        root.modules.iter().chain(&root.inline_modules).filter(|decl| decl.inline.is_empty()).collect();
    all.sort_by_key(|decl| decl.line);
    all.into_iter().map(|decl| decl.name.as_str()).collect()
}

/// One line per import that breaks the rule.
fn violations(modules: &[Module]) -> Vec<String> {
    let Some(root) = modules.first() else { return Vec::new() };
    let order = order(&root.source);
    let rank = |name: &str| order.iter().position(|module| *module == name);
    let mut bad = Vec::new();
    for module in modules {
        for path in &module.source.paths {
            let place: Vec<String> = module.path.iter().chain(&path.inline).cloned().collect();
            // The root file may name everything: it is the table of contents.
            let Some(own) = place.first() else { continue };
            let Some(target) = absolute(&place, &path.segments) else { continue };
            let Some(name) = target.first() else { continue };
            let reason = match (rank(name), rank(own)) {
                _ if name == own => continue,
                (Some(theirs), Some(ours)) if theirs < ours => continue,
                (Some(_), _) => format!("`{name}` is declared below `{own}`"),
                (None, _) if path.is_macro && target.len() == 1 => continue,
                (None, _) => format!("`{name}` is not a module: import it from the module that defines it"),
            };
            bad.push(format!(
                "{}:{}: {}: {reason}",
                module.file.display(),
                path.line,
                path.segments.join("::")
            ));
        }
    }
    bad
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A crate whose root declares `modules` in order.
    fn krate(root: &str, files: &[(&str, &str)]) -> Vec<Module> {
        let module = |path: &str, text: &str| Module {
            path: path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect(),
            file: PathBuf::from(format!("{path}.rs")),
            source: rust_text::read(text),
        };
        let mut modules = vec![module("", root)];
        modules.extend(files.iter().map(|(path, text)| module(path, text)));
        modules
    }

    fn count(root: &str, path: &str, text: &str) -> usize {
        violations(&krate(root, &[(path, text)])).len()
    }

    const ROOT: &str = "mod low; pub mod mid; mod high; pub use mid::Thing; use crate::high::X;";

    #[test]
    fn upward_is_refused_and_downward_is_allowed() {
        assert_eq!(count(ROOT, "mid", "use crate::low::A; use crate::mid::B;"), 0);
        let bad = violations(&krate(ROOT, &[("mid", "\nuse crate::high::A;")]));
        assert_eq!(bad, ["mid.rs:2: crate::high::A: `high` is declared below `mid`"]);
    }

    #[test]
    fn every_way_to_spell_it_is_seen() {
        assert_eq!(count(ROOT, "low", "use crate::{low::A, mid, high::{B, C}};"), 3);
        assert_eq!(count(ROOT, "low", "fn f() { crate::high::g(); let x: super::mid::Y; }"), 2);
        assert_eq!(count(ROOT, "low/deep", "use super::super::high::A; use super::sibling::B;"), 1);
        assert_eq!(count(ROOT, "low", "mod state { use super::super::high::A; use super::B; }"), 1);
        assert_eq!(count(ROOT, "low", "use self::super::high::A; use self::mine::B;"), 1);
    }

    #[test]
    fn the_root_is_no_detour() {
        assert_eq!(count(ROOT, "high", "use crate::Thing;"), 1);
        assert_eq!(count(ROOT, "high", "use crate::*; use super::*;"), 2);
        assert_eq!(count(ROOT, "high", "fn f() { crate::log!(\"x\"); }"), 0);
    }

    #[test]
    fn tests_and_other_crates_are_free() {
        assert_eq!(count(ROOT, "low", "#[cfg(test)] mod tests { use crate::high::A; use super::*; }"), 0);
        assert_eq!(count(ROOT, "low", "use std::high::A; use fanfare_engine::high::B;"), 0);
    }

    #[test]
    fn inline_modules_of_the_root_have_a_layer_too() {
        let root = "mod low;\nmod inner { use crate::high::A; use crate::low::B; }\nmod high;";
        assert_eq!(violations(&krate(root, &[])).len(), 1);
    }

    #[test]
    fn files_are_found_from_the_root_file() {
        let modules = load(&files::root(), Path::new("xtask/src/main.rs")).unwrap();
        let names: Vec<String> = modules.iter().map(|module| module.path.join("::")).collect();
        assert!(names.contains(&"layers".to_owned()) && names.contains(&"rust_text".to_owned()), "{names:?}");
        assert!(violations(&modules).is_empty(), "{:?}", violations(&modules));
    }
}
