//! The Node binding: its addon is built as its users build it, then its suites run.

use anyhow::Result;

use crate::files;
use crate::install::NODE_BINDING;
use crate::run::Program;
use crate::suites;

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
