//! The three builds of Fanfare: without handlers, with handlers that are compiled already, and with the compiler.
//!
//! What is in each is told by its dependencies: nothing of wasmtime in the first, nothing that compiles in the second. The second
//! runs every example handler, from the files that the third makes of them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::build::HANG;
use crate::files;
use crate::run::{Program, say};

/// The crates that are shipped.
const SHIPPED: [&str; 2] = ["fanfare-ffi", "fanfare-cli"];

/// A build: its features beside those that every build has, and what may not be in it. Names that end in `-` are beginnings.
struct Build {
    features: &'static str,
    with: &'static [&'static str],
    without: &'static [&'static str],
}

const BUILDS: [Build; 3] = [
    Build {
        features: "",
        with: &[],
        without: &["wasmtime", "wasmtime-", "cranelift-", "wasmparser", "wasm-encoder", "wit-", "pulley-"],
    },
    Build {
        features: "wasm",
        with: &["wasmtime"],
        without: &["cranelift-codegen", "wasmtime-internal-cranelift", "wit-component", "wasm-encoder"],
    },
    Build { features: "wasm-jit", with: &["wasmtime", "cranelift-codegen", "wit-component"], without: &[] },
];

/// Looks into all builds, and tries the second.
pub(crate) fn check() -> Result<()> {
    contents()?;
    for features in ["", "wasm"] {
        let args =
            ["clippy", "--locked", "-p", "fanfare-cli", "--no-default-features", "--features", features];
        Program::cargo().args(args).args(["--", "-D", "warnings"]).run()?;
    }
    compile_examples()?;
    let test = ["test", "--locked", "-p", "fanfare-wasi-host", "--no-default-features", "--features", "wasm"];
    Program::cargo().args(test).args(["--test", "guests"]).limit(HANG).run()
}

/// Looks at the dependencies of every build.
fn contents() -> Result<()> {
    let mut bad = Vec::new();
    for package in SHIPPED {
        for build in &BUILDS {
            let tree = dependencies(package, build.features)?;
            let names: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
            bad.extend(
                build
                    .wrong(&names)
                    .into_iter()
                    .map(|what| format!("{package} with the features {:?} {what}", build.features)),
            );
        }
    }
    bad.iter().for_each(|line| say(&format!("    {line}")));
    if !bad.is_empty() {
        bail!("{} builds hold what they should not, or lack what they need", bad.len());
    }
    Ok(())
}

/// Everything that is linked into a build, one package a line.
fn dependencies(package: &str, features: &str) -> Result<String> {
    // Of the binary the compiler is a default; the library has its other defaults.
    let defaults: &[&str] = if package == "fanfare-cli" { &["--no-default-features"] } else { &[] };
    Program::cargo()
        .args([
            "tree",
            "--locked",
            "-p",
            package,
            "-e",
            "normal,no-proc-macro",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .args(["--features", features])
        .args(defaults)
        .output()
}

impl Build {
    /// What is wrong with a build of these packages.
    fn wrong(&self, names: &[&str]) -> Vec<String> {
        let is = |name: &str, pattern: &str| match pattern.strip_suffix('-') {
            Some(_) => name.starts_with(pattern),
            None => name == pattern,
        };
        let has = |pattern: &str| names.iter().any(|name| is(name, pattern));
        let missing = self.with.iter().filter(|name| !has(name)).map(|name| format!("has no {name}"));
        let foreign = self.without.iter().filter(|name| has(name)).map(|name| format!("has {name}"));
        missing.chain(foreign).collect()
    }
}

/// Makes `guests/compiled/LANGUAGE/NAME.compiled` in the target directory of every example handler, with the binary that the workspace's tests
/// have built.
fn compile_examples() -> Result<()> {
    let (guests, target) = (files::target().join("guests"), files::target());
    let to = guests.join("compiled");
    if to.is_dir() {
        fs::remove_dir_all(&to).with_context(|| format!("cannot empty {}", to.display()))?;
    }
    let plain = files::root().join("examples/handlers/js");
    let mut made = 0;
    for (language, folder, ending) in [
        ("c", guests.join("c"), "wasm"),
        ("rust", guests.join("rust"), "wasm"),
        ("js-component", guests.join("js-component"), "wasm"),
        ("python", guests.join("python"), "wasm"),
        ("js", plain, "js"),
    ] {
        let to = to.join(language);
        fs::create_dir_all(&to).with_context(|| format!("cannot make {}", to.display()))?;
        let listed = fs::read_dir(&folder)
            .with_context(|| format!("cannot list {}: run `cargo xtask guests`", folder.display()))?;
        for entry in listed {
            let source = entry?.path();
            if source.extension().is_some_and(|found| found == ending) {
                compile(&target, &source, &to)?;
                made += 1;
            }
        }
    }
    say(&format!("    {made} handlers compiled"));
    Ok(())
}

fn compile(target: &Path, source: &Path, to: &Path) -> Result<()> {
    let name = source.file_stem().context("a handler has a name")?;
    // Python needs more memory and time to begin than handlers usually have, and some examples do not begin without values; those that
    // they run with are given to them when they run.
    let settings =
        ["handler.memory=128MiB", "handler.time=20s", "handler.config=words=darn,drop=debug,rate=2"];
    Program::new(target.join("debug/fanfare"))
        .args(["compile"])
        .args([source])
        .args(["-o"])
        .args([to.join(name).with_extension("compiled")])
        .args(settings.iter().flat_map(|setting| ["--set", setting]))
        .env("XDG_CACHE_HOME", target.join("guests/cache"))
        .output()
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_the_builds_is_what_they_say() {
        contents()
            .expect("nothing of wasmtime without handlers, and nothing that compiles without the compiler");
    }

    #[test]
    fn what_does_not_belong_is_found() {
        let [none, runtime, compiler] = BUILDS;
        assert_eq!(none.wrong(&["bytes", "sha2"]), [""; 0]);
        assert_eq!(none.wrong(&["wasmtime-environ"]), ["has wasmtime-"]);
        assert_eq!(runtime.wrong(&["bytes"]), ["has no wasmtime"]);
        assert_eq!(runtime.wrong(&["wasmtime", "cranelift-codegen"]), ["has cranelift-codegen"]);
        assert_eq!(compiler.wrong(&["wasmtime"]), ["has no cranelift-codegen", "has no wit-component"]);
    }
}
