//! The steps that are cargo's: formatting, lints, docs, tests, the binary, loom, soak, fuzz.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::files;
use crate::install;
use crate::run::{Program, say};

/// Far above what a test run takes; it ends a hang before the CI job's own limit hides where it was.
pub(crate) const HANG: Duration = Duration::from_secs(20 * 60);

/// Packages with loom models, which are tests named `loom_*` beside the code.
const LOOM_PACKAGES: &[&str] = &["fanfare-engine"];

/// Folders with Rust that is outside the workspace, which cargo's formatter passes over.
const OUTSIDE: [&str; 3] = ["benches/handlers", "examples/handlers/rust", "fuzz"];

/// Handlers beside Extism.
const HANDLERS_BENCH: &str = "benches/handlers/Cargo.toml";

/// The preemption bound unless `LOOM_MAX_PREEMPTIONS` says otherwise.
const LOOM_PREEMPTIONS: &str = "3";

/// Formatting, without changing anything.
pub(crate) fn fmt() -> Result<()> {
    Program::cargo().args(["fmt", "--all", "--check"]).run()?;
    let outside: Vec<PathBuf> = files::project_files()?
        .into_iter()
        .filter(|path| OUTSIDE.iter().any(|folder| path.starts_with(folder)))
        .filter(|path| path.extension().is_some_and(|ending| ending == "rs"))
        .collect();
    if outside.is_empty() {
        return Ok(());
    }
    Program::new("rustfmt").args(["--edition", "2024", "--check"]).args(outside).run()
}

/// Clippy on every target, warnings denied.
pub(crate) fn clippy() -> Result<()> {
    let clippy = |what: &[&str]| {
        Program::cargo().args(["clippy", "--locked"]).args(what).args(["--", "-D", "warnings"]).run()
    };
    clippy(&["--workspace", "--all-targets"])?;
    // The smallest library has code of its own.
    clippy(&["-p", "fanfare-ffi", "--no-default-features"])?;
    // And so has one without HTTP/2.
    clippy(&["-p", "fanfare-ffi", "--no-default-features", "--features", "http"])?;
    // Of a bench outside the workspace, what calls our crates. The rest is pinned, and dear to build.
    let target = files::target().join("handlers-bench/host").display().to_string();
    clippy(&["--no-default-features", "--manifest-path", HANDLERS_BENCH, "--target-dir", &target])
}

/// Documentation of every item, private ones included, warnings denied.
pub(crate) fn rustdoc() -> Result<()> {
    let args = ["doc", "--locked", "--workspace", "--no-deps", "--document-private-items"];
    Program::cargo().args(args).env("RUSTDOCFLAGS", "-D warnings").run()
}

/// All tests that are not long runs.
pub(crate) fn tests() -> Result<()> {
    // Built first, so that the limit is on running alone.
    Program::cargo().args(["test", "--locked", "--workspace", "--no-run"]).run()?;
    // How cargo builds for WebAssembly here, for the tests that do. Not FANFARE_*: that would be configuration.
    let wasm: Vec<String> =
        install::rust_for_wasm()?.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    let run = Program::cargo()
        .args(["test", "--locked", "--workspace"])
        .env("GUEST_CARGO_SETTINGS", wasm.join(" "));
    run.limit(HANG).run()
}

/// The binary as the tests build it: alone it would need other features of its dependencies, and so all of them again.
pub(crate) fn debug() -> Result<()> {
    Program::cargo().args(["test", "--quiet", "--locked", "--workspace", "--no-run", "--test", "cli"]).run()
}

/// The binary as it is shipped; the end-to-end suites run it.
pub(crate) fn release() -> Result<()> {
    Program::cargo().args(["build", "--locked", "--release", "-p", "fanfare-cli"]).run()?;
    if !binary().is_file() {
        bail!("the build made no {}", binary().display());
    }
    Ok(())
}

/// Where [`release`] puts the binary.
pub(crate) fn binary() -> PathBuf {
    files::target().join("release/fanfare")
}

/// The loom models, in a target directory of their own because `--cfg loom` rebuilds everything.
pub(crate) fn loom() -> Result<()> {
    let preemptions = std::env::var("LOOM_MAX_PREEMPTIONS").unwrap_or_else(|_| LOOM_PREEMPTIONS.to_owned());
    let flags = std::env::var("RUSTFLAGS")
        .map_or_else(|_| "--cfg loom".to_owned(), |own| format!("{own} --cfg loom"));
    for package in LOOM_PACKAGES {
        let cargo = || {
            Program::cargo()
                .args(["test", "--locked", "-p", package, "--release", "--lib", "--target-dir"])
                .args([files::target().join("loom")])
                .args(["loom_"])
                .env("RUSTFLAGS", &flags)
                .env("LOOM_MAX_PREEMPTIONS", &preemptions)
        };
        let list = cargo().args(["--", "--list"]).output()?;
        let models = list.lines().filter(|line| line.ends_with(": test")).count();
        if models == 0 {
            bail!("{package} has no test named loom_*: nothing would be checked");
        }
        say(&format!("    {package}: {models} models, at most {preemptions} preemptions"));
        cargo().limit(HANG).run()?;
    }
    Ok(())
}

/// The long runs: ignored tests in test files named `soak_*`, one after the other, with their output.
pub(crate) fn soak() -> Result<()> {
    let args = ["test", "--locked", "--release", "--workspace", "--test", "soak_*"];
    Program::cargo().args(args).args(["--", "--ignored", "--nocapture", "--test-threads=1"]).run()
}

/// Every fuzz target for `seconds` each. Needs cargo-fuzz; uses nightly Rust where it is installed.
pub(crate) fn fuzz(seconds: u64) -> Result<()> {
    let root = files::root();
    if !root.join("fuzz/Cargo.toml").is_file() {
        bail!("there is no fuzz/Cargo.toml");
    }
    if !Program::cargo().args(["fuzz", "--version"]).works() {
        bail!("cargo-fuzz is missing: `cargo install --locked cargo-fuzz`");
    }
    let dir = root.join("fuzz/fuzz_targets");
    let entries = fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))?;
    let mut targets: Vec<String> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "rs"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    targets.sort();
    if targets.is_empty() {
        bail!("no targets in {}", dir.display());
    }
    let mut options = vec![format!("-max_total_time={seconds}")];
    // The words of the stream format; to a target of another format they are a little noise.
    let words = root.join("fuzz/dictionaries/sse.dict");
    if words.is_file() {
        options.push(format!("-dict={}", words.display()));
    }
    let nightly = Program::new("cargo").args(["+nightly", "--version"]).works();
    for target in targets {
        // The `cargo` on PATH is rustup's and knows `+nightly`; the one that runs this task is not.
        let cargo = if nightly {
            Program::new("cargo").args(["+nightly"])
        } else {
            Program::cargo().env("RUSTC_BOOTSTRAP", "1")
        };
        cargo.args(["fuzz", "run", &target, "--"]).args(&options).run()?;
    }
    Ok(())
}

/// `cargo deny`, where it is installed: advisories, licences, bans, sources.
pub(crate) fn deny() -> Result<()> {
    if !Program::cargo().args(["deny", "--version"]).works() {
        bail!("cargo-deny is missing: `cargo install --locked cargo-deny`");
    }
    Program::cargo().args(["deny", "--workspace", "check"]).run()
}
