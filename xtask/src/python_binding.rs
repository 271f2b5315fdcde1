//! The Python binding: built as its users build it, installed in an environment of its own, tested with real web servers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};

use crate::build;
use crate::files;
use crate::install;
use crate::run::Program;
use crate::suites::Report;

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

/// Builds and installs the package and runs its tests.
pub(crate) fn test() -> Result<()> {
    install()?;
    let report = Report::new("python-binding")?;
    python()
        .args(["-m", "pytest", "-q", "-rs", &report.option("--junit-xml"), "tests"])
        .dir(BINDING)
        .limit(build::HANG)
        .run()?;
    report.nothing_skipped()
}

/// The long runs: a thousand readers of ten thousand events, and the end of a process with a thousand streams open, a hundred times for
/// every way to end.
pub(crate) fn soak() -> Result<()> {
    install()?;
    let report = Report::new("python-binding-soak")?;
    python()
        .args(["-m", "pytest", "-q", "-rs", "--durations=0", &report.option("--junit-xml")])
        .args(["--timeout=7200", "-k", "thousand_readers or exit_with", "tests"])
        .dir(BINDING)
        .env("FANFARE_SOAK", "1")
        .limit(LONG)
        .run()?;
    report.nothing_skipped()
}

fn python() -> Program {
    Program::new(interpreter()).without_cargo_env()
}
