//! Which targets the Rust that builds the project can build for.

use std::fs;

use anyhow::Result;

use crate::run::Program;

/// What Rust calls WebAssembly without a system.
pub(crate) const WASM: &str = "wasm32-unknown-unknown";

/// Whether there is a standard library for that target.
pub(crate) fn is_there(target: &str) -> Result<bool> {
    let libraries = Program::new("rustc").args(["--print", "target-libdir", "--target", target]).output()?;
    Ok(fs::read_dir(libraries.trim()).is_ok_and(|mut files| files.next().is_some()))
}
