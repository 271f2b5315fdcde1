//! What is made for WebAssembly, from source: the example handlers in every language, and the engine of handlers that are
//! plain JavaScript files.
//!
//! Handlers are made into `guests/LANGUAGE/NAME.wasm` in the target directory, where `wasi-host/tests/guests.rs` looks for
//! them. A compiler that is missing is installed; an example that does not build fails.
//!
//! The engine is in the repository, because who builds Fanfare has no compiler for it: it is made here from `engine.c`
//! and the source of QuickJS that a crate carries, by a compiler that PyPI has as a package. All three are pinned, so that
//! it is the same to the byte wherever it is made; `--check` makes it and compares.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::files;
use crate::install;
use crate::run::{Program, say};
use crate::rust_target::WASM;

/// The example handlers, a folder for each language.
const EXAMPLES: &str = "examples/handlers";
/// Names the compilers' packages on PyPI.
const REQUIREMENTS: &str = "examples/handlers/requirements.txt";
/// The contract.
const WIT: &str = "wasi-host/wit";
/// The environment with them, in the target directory.
const VENV: &str = "guests-venv";
/// The engine and what it is made of.
const ENGINE: &str = "wasi-host/js";
/// The guests of the bench of handlers.
const BENCH: &str = "benches/handlers/guests";
/// The C files of QuickJS.
const QUICKJS: [&str; 4] = ["quickjs.c", "libregexp.c", "libunicode.c", "dtoa.c"];
/// The stack of the engine's C code, in bytes; `engine.c` lets scripts use a quarter of it.
const STACK: u32 = 512 * 1024;

/// Makes everything, and puts the engine into the repository.
pub(crate) fn write() -> Result<()> {
    examples()?;
    let made = engine()?;
    let to = kept_engine();
    fs::copy(&made, &to).with_context(|| format!("cannot write {}", to.display())).map(drop)
}

/// Makes everything, and compares the engine with what is in the repository.
pub(crate) fn check() -> Result<()> {
    examples()?;
    let made = engine()?;
    let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    if read(&made)? != read(&kept_engine())? {
        bail!(
            "{ENGINE}/engine.wasm is not what its source makes ({}): run `cargo xtask guests`",
            made.display()
        );
    }
    Ok(())
}

fn kept_engine() -> PathBuf {
    files::root().join(ENGINE).join("engine.wasm")
}

/// The example handlers of every language that has to be compiled.
fn examples() -> Result<()> {
    install::python_packages(VENV, REQUIREMENTS)?;
    install::node(EXAMPLES)?;
    for (source, made) in sources("c", "c")? {
        Program::new("clang")
            .args(["--target=wasm32", "-O2", "-mbulk-memory", "-nostdlib", "-Wl,--no-entry", "-o"])
            .args([made, source])
            .run()?;
    }
    rust()?;
    for (source, made) in sources("js-component", "js")? {
        Program::new(format!("{EXAMPLES}/node_modules/.bin/componentize-qjs"))
            .args(["--sync", "--stub-wasi", "--wit", WIT, "-n", "handler", "--js"])
            .args([source])
            .args(["-o"])
            .args([made])
            .run()?;
    }
    for (source, made) in sources("python", "py")? {
        let module = source.file_stem().context("a source has a name")?;
        Program::new(install::interpreter(VENV).with_file_name("componentize-py"))
            .args(["-d", WIT, "-w", "handler", "componentize", "--stub-wasi", "-p"])
            .args([files::root().join(EXAMPLES).join("python")])
            .args([module])
            .args(["-o"])
            .args([made])
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .run()?;
    }
    Ok(())
}

/// The examples in Rust, and the handler of the voting page.
pub(crate) fn rust() -> Result<()> {
    let built = examples_in_rust(&format!("{EXAMPLES}/rust/Cargo.toml"))?;
    for (source, made) in sources("rust/examples", "rs")? {
        let from = built.join(made.file_name().context("a module has a name")?);
        fs::copy(&from, &made).with_context(|| format!("{} made no {}", source.display(), from.display()))?;
    }
    let (from, made) = (built.join("voting.wasm"), voting());
    fs::create_dir_all(made.parent().context("it is in a folder")?)?;
    fs::copy(&from, &made).with_context(|| format!("cargo made no {}", from.display()))?;
    Ok(())
}

/// Builds the examples of a crate for WebAssembly; the folder that they are in.
fn examples_in_rust(manifest: &str) -> Result<PathBuf> {
    let folder = files::target().join("guests-rust");
    let cargo = Program::cargo()
        .args(["build", "--locked", "--release", "--examples", "--target", WASM])
        .args(["--manifest-path", manifest, "--target-dir"])
        .args([&folder])
        .without_cargo_env();
    install::rust_for_wasm()?.into_iter().fold(cargo, |cargo, (key, value)| cargo.env(key, value)).run()?;
    Ok(folder.join(WASM).join("release/examples"))
}

/// The handler of the voting page in Rust.
pub(crate) fn voting() -> PathBuf {
    files::target().join("guests/voting/tally.wasm")
}

/// The sources of a language, and for each the module to make of it; modules of sources that are gone are removed.
fn sources(folder: &str, ending: &str) -> Result<Vec<(PathBuf, PathBuf)>> {
    let language = folder.split('/').next().unwrap_or(folder);
    let made = files::target().join("guests").join(language);
    if made.is_dir() {
        fs::remove_dir_all(&made).with_context(|| format!("cannot empty {}", made.display()))?;
    }
    fs::create_dir_all(&made).with_context(|| format!("cannot make {}", made.display()))?;
    let below = Path::new(EXAMPLES).join(folder);
    let project = files::project_files()?;
    let mine = project.iter().filter(|path| path.parent() == Some(&below));
    let found: Vec<_> = mine
        .filter(|path| path.extension().is_some_and(|found| found == ending))
        .filter_map(|path| Some((path.clone(), made.join(path.file_stem()?).with_extension("wasm"))))
        .collect();
    if found.is_empty() {
        bail!("{} has no *.{ending}", below.display());
    }
    Ok(found)
}

fn engine() -> Result<PathBuf> {
    let folder = files::target().join("guests/engine");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let made = folder.join("engine.wasm");
    with_quickjs(&[&format!("{ENGINE}/engine.c")], &made)?;
    say(&format!("    {}: {} KiB", made.display(), fs::metadata(&made)?.len() / 1024));
    Ok(made)
}

/// Makes a module of QuickJS and these C files.
fn with_quickjs(sources: &[&str], made: &Path) -> Result<()> {
    let source = quickjs()?;
    Program::new(install::interpreter(VENV))
        .args(["-m", "ziglang", "cc", "-target", "wasm32-wasi", "-mexec-model=reactor"])
        .args(["-O2", "-g0", "-s", "-w", "-fno-sanitize=all", "-DNDEBUG", "-D_GNU_SOURCE"])
        .args([format!("-Wl,-z,stack-size={STACK}")])
        .args(["-include", &format!("{ENGINE}/quickjs_config.h")])
        .args(sources)
        .args(["-I"])
        .args([&source])
        .args(QUICKJS.map(|file| source.join(file)))
        .args(["-o"])
        .args([made])
        .run()
}

/// What the bench of handlers runs, once with our kit and once with Extism's: the folder that they are in.
pub(crate) fn for_bench() -> Result<PathBuf> {
    install::python_packages(VENV, REQUIREMENTS)?;
    let made = files::target().join("handlers-bench");
    fs::create_dir_all(&made).with_context(|| format!("cannot make {}", made.display()))?;
    let folder = examples_in_rust(&format!("{BENCH}/Cargo.toml"))?;
    for kit in ["fanfare", "extism", "extism_json"] {
        for work in ["pass", "enrich"] {
            let file = format!("{kit}_{work}.wasm");
            fs::copy(folder.join(&file), made.join(&file))
                .with_context(|| format!("cargo made no {file}"))?;
        }
    }
    with_quickjs(&[&format!("{ENGINE}/engine.c"), &format!("{BENCH}/engine.c")], &made.join("engine.wasm"))?;
    Ok(made)
}

/// The folder with the source of QuickJS, which cargo fetches like any other crate.
fn quickjs() -> Result<PathBuf> {
    let manifest = format!("{ENGINE}/quickjs/Cargo.toml");
    let about = Program::cargo()
        .args(["metadata", "--locked", "--format-version", "1", "--manifest-path", &manifest])
        .output()?;
    let mut manifests = about.split("\"manifest_path\":\"").filter_map(|rest| rest.split('"').next());
    let found = manifests.find(|path| path.contains("/rquickjs-sys-"));
    let found = found.with_context(|| format!("{manifest} does not lead to the source of QuickJS"))?;
    Ok(Path::new(found).with_file_name("quickjs"))
}
