//! The Python binding: built as its users build it, installed in an environment of its own, tested with real web servers.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::build;
use crate::files;
use crate::install;
use crate::run::Program;
use crate::suites::Report;

const BINDING: &str = "bindings/python";
/// Its environment in the target directory: the servers and frameworks that it works with.
const VENV: &str = "venv-binding";

/// The interpreter for which the package is installed.
pub(crate) fn interpreter() -> PathBuf {
    install::interpreter(VENV)
}

/// Builds the package and installs it.
pub(crate) fn install() -> Result<()> {
    install::python_packages(VENV, &format!("{BINDING}/tests/requirements.txt"))?;
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
    python()
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

fn python() -> Program {
    Program::new(interpreter()).without_cargo_env()
}
