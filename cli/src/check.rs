//! `fanfare check`: says whether a file is a usable event handler.

use std::path::PathBuf;

use clap::Args;

use crate::exit::Failure;

/// Check an event handler before using it
///
/// This build runs no handlers: they come with the wasi feature. The answer is always exit code 2.
#[derive(Args, Debug)]
pub(crate) struct Check {
    /// The handler
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Says that this build cannot tell.
pub(crate) fn run(check: &Check) -> Result<(), Failure> {
    Err(Failure::usage(format_args!(
        "cannot check {}: handlers come with the wasi feature, which this build does not have",
        check.file.display()
    )))
}
