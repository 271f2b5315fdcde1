//! What is made for WebAssembly, from source: the engine of handlers that are plain JavaScript files.
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

/// Names the compilers' packages.
const REQUIREMENTS: &str = "examples/handlers/requirements.txt";
/// The environment with them, in the target directory.
const VENV: &str = "guests-venv";
/// The engine and what it is made of.
const ENGINE: &str = "wasi-host/js";
/// The C files of QuickJS.
const QUICKJS: [&str; 4] = ["quickjs.c", "libregexp.c", "libunicode.c", "dtoa.c"];
/// The stack of the engine's C code, in bytes; `engine.c` lets scripts use a quarter of it.
const STACK: u32 = 512 * 1024;

/// Makes the engine and puts it into the repository.
pub(crate) fn write() -> Result<()> {
    let made = engine()?;
    let to = kept_engine();
    fs::copy(&made, &to).with_context(|| format!("cannot write {}", to.display())).map(drop)
}

/// Makes the engine and compares it with what is in the repository.
pub(crate) fn check() -> Result<()> {
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

fn engine() -> Result<PathBuf> {
    install::python_packages(VENV, REQUIREMENTS)?;
    let source = quickjs()?;
    let folder = files::target().join("guests");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let made = folder.join("engine.wasm");
    Program::new(install::interpreter(VENV))
        .args(["-m", "ziglang", "cc", "-target", "wasm32-wasi", "-mexec-model=reactor"])
        .args(["-O2", "-g0", "-s", "-w", "-fno-sanitize=all", "-DNDEBUG", "-D_GNU_SOURCE"])
        .args([format!("-Wl,-z,stack-size={STACK}")])
        .args(["-include", &format!("{ENGINE}/quickjs_config.h"), &format!("{ENGINE}/engine.c"), "-I"])
        .args([&source])
        .args(QUICKJS.map(|file| source.join(file)))
        .args(["-o"])
        .args([&made])
        .run()?;
    say(&format!("    {}: {} KiB", made.display(), fs::metadata(&made)?.len() / 1024));
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
