//! `cargo xtask`: every check and chore of the project behind one command.
//!
//! `cargo xtask test` is the proof that a clone works; `cargo xtask ci` adds the gates a change has to
//! pass. Both install what they need, print one heading per step, stop at the first failure and say
//! which step it was. A suite that exists but cannot run is a failure, never a skip.
//!
//! Modules are declared in layer order: a module imports only from those above it, which
//! `cargo xtask layers` checks here as in every other crate.

mod files;
mod run;
mod rust_target;
mod rust_text;

mod budget;
mod layers;
mod licences;

mod install;
mod purity;

mod build;
mod builds;
mod docs;
mod guests;
mod h2spec;
mod header;
mod instructions;
mod suites;
mod with_handlers;

mod exports;
mod native;
mod slim;

mod guide;
mod parity;
mod sdk;

mod node_binding;
mod python_binding;

mod bench;

mod examples;

mod commands;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    commands::dispatch(&args)
}
