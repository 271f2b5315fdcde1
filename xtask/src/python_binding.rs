//! The Python binding: built as its users build it, installed in an environment of its own, tested with real web servers.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::build;
use crate::files;
use crate::install;
use crate::run::Program;
use crate::suites::Report;
use crate::with_handlers;

const BINDING: &str = "bindings/python";
/// Its environment in the target directory: the servers and frameworks that it works with.
const VENV: &str = "venv-binding";
/// Far above what the long runs take.
const LONG: Duration = Duration::from_secs(3 * 60 * 60);

/// The interpreter for which the package is installed.
pub(crate) fn interpreter() -> PathBuf {
    install::interpreter(VENV)
}

/// Builds the package and installs it.
pub(crate) fn install() -> Result<()> {
    install::python_packages(VENV, &format!("{BINDING}/tests/requirements.txt"))?;
    install_for(&interpreter())
}

/// The same for another environment, which has what it is built with.
pub(crate) fn install_for(interpreter: &Path) -> Result<()> {
    Program::cargo().args(["build", "--locked", "--release", "-p", "fanfare-ffi"]).run()?;
    let library = files::target().join(format!(
        "release/{}fanfare{}",
        std::env::consts::DLL_PREFIX,
        std::env::consts::DLL_SUFFIX
    ));
    if !library.is_file() {
        bail!("the build made no {}", library.display());
    }
    // What it needs to be built is there: nothing is fetched.
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps"];
    Program::new(interpreter)
        .without_cargo_env()
        .args(pip)
        .args(["--no-build-isolation", "--force-reinstall"])
        .args([files::root().join(BINDING)])
        .env("FANFARE_LIBRARY", &library)
        .env("CARGO_TARGET_DIR", files::target())
        .run()
}

/// The installed package once more, over a library with event handlers: for `PYTHONPATH`, in the target directory. The
/// package is installed before.
pub(crate) fn with_handlers() -> Result<PathBuf> {
    let library = with_handlers::library()?.join("libfanfare.so");
    let folder = files::target().join("python-with-handlers");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let package = python().args(["-c", "import fanfare; print(fanfare.__path__[0])"]).dir("/").output()?;
    Program::new("cp").args(["-r", package.trim()]).args([&folder]).run()?;
    let copy = folder.join("fanfare/libfanfare.so");
    fs::copy(&library, &copy).with_context(|| format!("cannot write {}", copy.display()))?;
    Ok(folder)
}

/// Builds and installs the package and runs its tests; those of event handlers twice.
pub(crate) fn test() -> Result<()> {
    install()?;
    let folder = with_handlers()?;
    python()
        .args(["-m", "pytest", "-q", "-rfEs", "tests/test_handlers.py"])
        .dir(BINDING)
        .env("PYTHONPATH", folder)
        .env("WITH_HANDLERS", "1")
        .limit(build::HANG)
        .run()?;
    let report = Report::new("python-binding")?;
    python()
        .args(["-m", "pytest", "-q", "-rfEs", &report.option("--junit-xml"), "tests"])
        .dir(BINDING)
        .limit(build::HANG)
        .run()?;
    report.nothing_skipped()
}

/// The long runs: a thousand readers of ten thousand events, a thousand cycles, and the end of a process with a thousand streams open, a hundred times for
/// every way to end.
pub(crate) fn soak() -> Result<()> {
    install()?;
    let report = Report::new("python-binding-soak")?;
    python()
        .args(["-m", "pytest", "-q", "-rfEs", "--durations=0", &report.option("--junit-xml")])
        .args(["--timeout=7200", "-k", "thousand_readers or exit_with or cycles", "tests"])
        .dir(BINDING)
        .env("FANFARE_SOAK", "1")
        .limit(LONG)
        .run()?;
    report.nothing_skipped()
}

fn python() -> Program {
    Program::new(interpreter()).without_cargo_env().with_own_cache()
}
