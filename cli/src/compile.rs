//! `fanfare compile`: makes a file with a handler's machine code, for builds without the compiler.

use std::path::PathBuf;

use clap::Args;

use crate::exit::Failure;
use crate::settings;

const EXAMPLES: &str = "\
Examples:
  fanfare compile tally.wasm -o tally.compiled     machine code of this module
  fanfare compile tally.js -o tally.compiled       the script with its engine
  fanfare serve --handler 'votes=tally.compiled;precompiled=true'

The file is for this version of Fanfare and this kind of machine. It is machine code, which no sandbox holds: a hub
takes it only where it is told so, and whoever can change the file can do what the hub can.";

/// Compile an event handler, for hubs that are built without the compiler
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Compile {
    /// The handler
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// The file to write
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,

    /// Set an option; those of handlers begin with `handler.`. May be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// Compiles it, and sees that it starts.
pub(crate) fn run(compile: &Compile) -> Result<(), Failure> {
    let mut loader = fanfare_hub::Loader::new();
    loader.environment(std::env::vars_os()).map_err(Failure::usage)?;
    loader.begin_flags();
    settings::set(&mut loader, &compile.set)?;
    let config = loader.finish().map_err(Failure::usage)?;
    crate::logs::start(config.own.log);
    make::run(compile, &config.handlers)
}

#[cfg(not(feature = "wasm-jit"))]
mod make {
    use super::{Compile, Failure};

    /// Says that this build cannot.
    pub(super) fn run<C>(compile: &Compile, _: &C) -> Result<(), Failure> {
        let _ = &compile.output;
        Err(Failure::usage(format_args!(
            "cannot compile {}: the compiler comes with the feature wasm-jit, which this build does not have",
            compile.file.display()
        )))
    }
}

#[cfg(feature = "wasm-jit")]
mod make {
    use std::fs;

    use fanfare_hub::wasi::{Config, Runtime, Trial, name_of, read_file};

    use super::{Compile, Failure};
    use crate::output::Output;

    pub(super) fn run(compile: &Compile, config: &Config) -> Result<(), Failure> {
        let (file, output) = (compile.file.display(), compile.output.display());
        let bytes = read_file(&compile.file, config.file_bytes)
            .map_err(|error| Failure::usage(format_args!("cannot read {file}: {error}")))?;
        let runtime = Runtime::configured(config).map_err(Failure::runtime)?;
        let unusable = |error| Failure::runtime(format_args!("{file} is no usable handler: {error}"));
        let trial = Trial::new(&runtime, &name_of(&compile.file), &bytes, config).map_err(unusable)?;
        trial
            .start()
            .map_err(|error| Failure::runtime(format_args!("{file} is no usable handler: {error}")))?;
        let compiled = trial.compiled().map_err(unusable)?;
        // Beside its place and moved there, so that a hub which follows the file never meets a half of it.
        let mut part = compile.output.clone().into_os_string();
        part.push(format!(".part-{}", std::process::id()));
        let written = fs::write(&part, &compiled).and_then(|()| fs::rename(&part, &compile.output));
        if let Err(error) = written {
            let _ = fs::remove_file(&part);
            return Err(Failure::runtime(format_args!("cannot write {output}: {error}")));
        }
        let mut out = Output::new();
        out.text(&format!("{output}: {} bytes\n", compiled.len()))?;
        out.flush()
    }
}
