//! The load bench: what it needs is built here, what it does is in `benches/load`. And what a call costs, from each language:
//! `benches/ffi`; and an event in a handler: `benches/handlers`.

use std::path::PathBuf;

use anyhow::Result;

use crate::build;
use crate::docs;
use crate::files;
use crate::guests;
use crate::install;
use crate::native;
use crate::node_binding;
use crate::python_binding;
use crate::run::Program;

/// How much of the bench is run.
#[derive(Clone, Copy)]
pub(crate) enum Extent {
    Smoke,
    Short,
    Full,
}

impl Extent {
    /// From the flag of the command, which has been checked.
    pub(crate) fn parse(flag: Option<&str>) -> Self {
        match flag {
            Some("--smoke") => Self::Smoke,
            Some("--full") => Self::Full,
            _ => Self::Short,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Smoke => "smoke",
            Self::Short => "short",
            Self::Full => "full",
        }
    }

    /// Where its report goes: one whose figures mean nothing stays out of the documentation.
    fn folder(self) -> PathBuf {
        match self {
            Self::Smoke => files::target().join("bench-smoke"),
            Self::Short => files::root().join("docs/performance"),
            // Not in the short set's place: it is run more often, and would leave half of it.
            Self::Full => files::root().join("docs/performance/full"),
        }
    }
}

/// The load generator, and the servers that are ours to build.
pub(crate) fn build() -> Result<()> {
    let packages = ["fanfare-cli", "fanfare-embedded", "fanfare-load", "fanfare-floor", "fanfare-peer-axum"];
    let args = packages.iter().flat_map(|package| ["-p", package]);
    Program::cargo().args(["build", "--locked", "--release"]).args(args).run()
}

/// The bindings, where the hosts look for them that hand their sockets over.
pub(crate) fn bindings() -> Result<()> {
    python_binding::install_for(&install::python_of_peers())?;
    node_binding::build()?;
    install::link_for_peers("fanfare", install::NODE_BINDING)
}

/// Runs a set and writes its report.
pub(crate) fn run(extent: Extent) -> Result<()> {
    let load = Program::new(files::target().join("release/fanfare-load"))
        .without_cargo_env()
        .args(["--python".into(), install::python_of_peers()]);
    let (nats, without): (Vec<PathBuf>, &[&str]) = match install::nats()? {
        Some(program) => (vec!["--nats".into(), program], &[]),
        None => (Vec::new(), &["--without", "nats,nats-always"]),
    };
    load.args(nats)
        .args(["suite", "--extent", extent.name(), "--out"])
        .args([extent.folder()])
        .args(without)
        .run()?;
    match extent {
        Extent::Smoke | Extent::Full => Ok(()),
        Extent::Short => docs::write_figures(),
    }
}

/// What a call into the library costs, from C, Python and Node; from C also how long a cold process takes to its first answer.
pub(crate) fn calls() -> Result<()> {
    let program = native::compile_plain("benches/ffi/calls.c")?;
    // Each run is a cold process.
    for _ in 0..3 {
        Program::new(&program).run()?;
    }
    Program::new(python_binding::interpreter())
        .without_cargo_env()
        .args([files::root().join("benches/ffi/python_calls.py")])
        .run()?;
    Program::new("node").without_cargo_env().args([files::root().join("benches/ffi/node_calls.mjs")]).run()
}

/// What an event costs in a handler, beside Extism.
pub(crate) fn handlers() -> Result<()> {
    const SCRIPT: &str = "examples/handlers/js/enrich.js";
    let guests = guests::for_bench()?;
    for (name, from) in [
        ("pass", guests.join("fanfare_pass.wasm")),
        ("enrich", guests.join("fanfare_enrich.wasm")),
        ("script", SCRIPT.into()),
    ] {
        let compile = Program::new(build::binary()).without_cargo_env().args(["compile", "-o"]);
        compile.args([guests.join(name).with_extension("compiled"), from]).run()?;
    }
    Program::cargo()
        .args(["run", "--locked", "--release", "--manifest-path", "benches/handlers/Cargo.toml"])
        .args(["--target-dir".into(), files::target().join("handlers-bench/host")])
        .args(["--", "--script", SCRIPT, "--guests"])
        .args([guests])
        .run()
}
