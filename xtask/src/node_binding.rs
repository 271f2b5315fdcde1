//! The Node binding: its addon is built as its users build it, then its suites run.

use std::time::Duration;

use anyhow::Result;

use crate::files;
use crate::install::NODE_BINDING;
use crate::run::Program;
use crate::suites::{self, Report};

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

/// Builds the addon and tests it.
pub(crate) fn test() -> Result<()> {
    build()?;
    suites::node_below(NODE_BINDING, "node-binding", 1, &[])
}

/// The long runs: as [`test`], with a thousand readers of ten thousand events, a thousand cycles, and the end of a process with a
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
        .env("FANFARE_SOAK", "1")
        .limit(LONG)
        .run()?;
    report.nothing_skipped()
}
