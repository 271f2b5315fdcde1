//! The Node binding: its addon is built as its users build it, then its suites run.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::files;
use crate::install::NODE_BINDING;
use crate::run::{Program, say};
use crate::suites::{self, Report};
use crate::with_handlers;

/// Far above what the long runs take.
const LONG: Duration = Duration::from_secs(3 * 60 * 60);

/// Builds the addon.
pub(crate) fn build() -> Result<()> {
    Program::new("node")
        .args(["build.mjs"])
        .dir(NODE_BINDING)
        .without_cargo_env()
        .env("CARGO_TARGET_DIR", files::target())
        .run()
}

/// The suites that run once more with an addon that checks its memory; those that start processes of their own are not among them.
const SANITIZED: &[&str] = &["authorize", "handlers", "http", "publish", "response", "subscribe"];

/// A copy of the package in the target directory, without an addon.
fn copy(name: &str) -> Result<PathBuf> {
    let (package, copy) = (files::root().join(NODE_BINDING), files::target().join(name));
    if copy.exists() {
        fs::remove_dir_all(&copy)?;
    }
    fs::create_dir_all(copy.join("build"))?;
    Program::new("cp").args(["-r", "lib", "test", "package.json"]).args([&copy]).dir(NODE_BINDING).run()?;
    std::os::unix::fs::symlink(package.join("node_modules"), copy.join("node_modules"))?;
    Ok(copy)
}

/// A copy of the package whose addon has event handlers.
pub(crate) fn with_handlers() -> Result<PathBuf> {
    let library = with_handlers::library()?.join("libfanfare.a");
    let copy = copy("node-with-handlers")?;
    Program::new("node")
        .args(["build.mjs", "--output"])
        .args([copy.join("build/fanfare.node")])
        .dir(NODE_BINDING)
        .without_cargo_env()
        .env("FANFARE_LIBRARY", library)
        .run()?;
    Ok(copy)
}

/// A copy of the package whose addon has AddressSanitizer and its leak check. What Node itself keeps is no leak of ours: what it has
/// allocated by itself is told by the first frames.
fn sanitized() -> Result<()> {
    Program::new("node")
        .args(["build.mjs", "--sanitize"])
        .dir(NODE_BINDING)
        .without_cargo_env()
        .env("CARGO_TARGET_DIR", files::target())
        .run()?;
    let copy = copy("node-sanitized")?;
    let built = files::root().join(NODE_BINDING).join("build/sanitized/fanfare.node");
    fs::copy(built, copy.join("build/fanfare.node"))?;
    let node = Program::new("node").args(["-p", "fs.realpathSync(process.execPath)"]).output()?;
    let suppressions = copy.join("suppressions");
    fs::write(&suppressions, format!("leak:^{}$\n", node.trim()))?;
    let library = Program::new("cc").args(["-print-file-name=libasan.so"]).output()?;
    // A hundred hubs, in one process, to the byte.
    let suites = SANITIZED.iter().map(|suite| (*suite, vec![format!("test/{suite}.test.mjs")]));
    let cycles = ["--expose-gc", "test/programs/cycles.mjs", "100"].map(str::to_owned).to_vec();
    for (suite, args) in suites.chain([("cycles", cycles)]) {
        Program::new("node")
            .args(args)
            .dir(&copy)
            .without_cargo_env()
            .with_own_cache()
            .env("LD_PRELOAD", library.trim())
            .env("ASAN_OPTIONS", "detect_leaks=1:malloc_context_size=3")
            .env("LSAN_OPTIONS", format!("print_suppressions=0:suppressions={}", suppressions.display()))
            .output_to(copy.join(format!("{suite}.txt")))?
            .limit(crate::build::HANG)
            .run()
            .with_context(|| format!("{suite}, with what it printed in {}", copy.display()))?;
    }
    say(&format!("    {} suites and a hundred cycles with AddressSanitizer", SANITIZED.len()));
    Ok(())
}

/// Builds the addon and tests it, plain, with AddressSanitizer, and with event handlers.
pub(crate) fn test() -> Result<()> {
    build()?;
    sanitized()?;
    Program::new("node")
        .args([with_handlers()?.join("test/handlers.test.mjs")])
        .without_cargo_env()
        .with_own_cache()
        .env("WITH_HANDLERS", files::root().join("docs"))
        .limit(crate::build::HANG)
        .run()?;
    suites::node_below(NODE_BINDING, "node-binding", 1, &[])
}

/// The long runs: as [`test`](fn@test), with a thousand readers of ten thousand events, a thousand cycles, and the end of a process with a
/// thousand streams open, a hundred times for every way to end.
pub(crate) fn soak() -> Result<()> {
    build()?;
    let report = Report::new("node-binding-soak")?;
    Program::new("node")
        .args([
            "--test",
            "--test-concurrency=1",
            "--test-reporter=spec",
            "--test-reporter-destination=stdout",
        ])
        .args(["--test-reporter=junit", &report.option("--test-reporter-destination")])
        .args(["test/subscribe.test.mjs", "test/lifecycle.test.mjs"])
        .dir(NODE_BINDING)
        .without_cargo_env()
        .with_own_cache()
        .env("FANFARE_SOAK", "1")
        .limit(LONG)
        .run()?;
    report.nothing_skipped()
}
