//! The commands, their help, and which steps each of them is made of.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::run::{Steps, say};
use crate::{
    bench, budget, build, builds, docs, examples, exports, guests, h2spec, header, install, instructions,
    layers, licences, native, node_binding, parity, purity, python_binding, sdk, slim, suites, with_handlers,
};

/// A command as the user types it.
struct Command {
    name: &'static str,
    /// How its arguments are written in the help; empty when it takes none.
    usage: &'static str,
    help: &'static str,
    run: fn(&mut Steps, &[String]) -> Result<()>,
}

const COMMANDS: &[Command] = &[
    Command {
        name: "test",
        usage: "",
        help: "Install what is missing, then run every test: the workspace, loom models, purity,\n\
               and the end-to-end suites against the release binary. The proof that a clone works.",
        run: |steps, _| test(steps),
    },
    Command {
        name: "ci",
        usage: "",
        help: "What a change has to pass: formatting, lints, docs, layers, file budget, licences,\n\
               generated files, then `test`. `.ci/run` is this.",
        run: |steps, _| ci(steps),
    },
    Command {
        name: "soak",
        usage: "[bindings]",
        help: "The long runs: ignored tests in files named soak_*, in release mode, h2spec, and\n\
               the C ABI misused. Takes a while. `bindings`: those of C, Python and Node alone.",
        run: |steps, args| match args.first() {
            None => soak(steps),
            Some(_) => soak_bindings(steps),
        },
    },
    Command {
        name: "h2spec",
        usage: "",
        help: "HTTP/2 conformance of the release binary. Needs Go, to install h2spec in the\n\
               target directory.",
        run: |steps, _| {
            steps.step("release binary", build::release)?;
            steps.step("h2spec", h2spec::run)
        },
    },
    Command {
        name: "loom",
        usage: "",
        help: "The loom models alone. LOOM_MAX_PREEMPTIONS sets the bound (default 3).",
        run: |steps, _| steps.step("loom models", build::loom),
    },
    Command {
        name: "e2e",
        usage: "",
        help: "The end-to-end suites alone (tests/python, tests/node), with what they need.",
        run: |steps, _| {
            steps.step("install", install::everything)?;
            steps.step("release binary", build::release)?;
            end_to_end(steps)
        },
    },
    Command {
        name: "python",
        usage: "",
        help: "The Python binding alone: built, installed in target/venv-binding, and its tests.",
        run: |steps, _| steps.step("python binding", python_binding::test),
    },
    Command {
        name: "node",
        usage: "",
        help: "The Node binding alone: its addon, plain and with AddressSanitizer, and its tests.",
        run: |steps, _| {
            steps.step("release binary", build::release)?;
            steps.step("node binding", node_binding::test)
        },
    },
    Command {
        name: "examples",
        usage: "",
        help: "The example applications alone, each in a browser, with the bindings that they need.",
        run: |steps, _| {
            steps.step("install", install::everything)?;
            steps.step("release binary", build::release)?;
            steps.step("python package", python_binding::install)?;
            steps.step("node addon", node_binding::build)?;
            steps.step("handlers in Rust", guests::rust)?;
            steps.step("examples", examples::test)
        },
    },
    Command {
        name: "fuzz",
        usage: "[SECONDS]",
        help: "Every fuzz target for SECONDS each (default 60). Needs cargo-fuzz.",
        run: |steps, args| {
            let seconds = args.first().map_or(Ok(60), |text| text.parse::<u64>())?;
            steps.step("fuzz", || build::fuzz(seconds))
        },
    },
    Command {
        name: "bench",
        usage: "[--full|--smoke]",
        help: "Fanfare beside floors and peers: ten quiet minutes, --full about an hour;\n\
               writes docs/performance/. --smoke only shows that everything runs.",
        run: |steps, args| {
            steps.step("install peers", install::peers)?;
            steps.step("release binaries", bench::build)?;
            steps.step("bindings for hosts", bench::bindings)?;
            steps.step("bench", || bench::run(bench::Extent::parse(args.first().map(String::as_str))))
        },
    },
    Command {
        name: "calls",
        usage: "",
        help: "What a call costs from C, Python and Node, an event by `for await` and `async for`,\n\
               and a cold start to the first answer. Half a minute, on a quiet machine.",
        run: |steps, _| {
            steps.step("libraries", native::build_libraries)?;
            steps.step("python package", python_binding::install)?;
            steps.step("node addon", node_binding::build)?;
            steps.step("calls", bench::calls)
        },
    },
    Command {
        name: "handlers-bench",
        usage: "",
        help: "What an event costs in a handler in Rust and in JavaScript, beside Extism with a\n\
               plugin that does the same. Builds Extism; a minute, on a quiet machine.",
        run: |steps, _| {
            steps.step("release binary", build::release)?;
            steps.step("handlers beside Extism", bench::handlers)
        },
    },
    Command {
        name: "instructions",
        usage: "[--check]",
        help: "Count the instructions of an event's way under callgrind, and write the table in\n\
               benches/parts; with --check refuse what has become dearer by 5 %.",
        run: |steps, args| match args.first() {
            None => steps.step("instructions", instructions::write),
            Some(_) => steps.step("instructions", instructions::check),
        },
    },
    Command {
        name: "install-deps",
        usage: "",
        help: "Install what `test` and `ci` need and is not there: apt packages, the suites'\n\
               Python environment and Node packages, rustfmt and clippy.",
        run: |steps, _| {
            steps.step("install cargo tools", install::components)?;
            steps.step("install", install::everything)
        },
    },
    Command {
        name: "docs",
        usage: "[--check]",
        help: "Write docs/configuration.md from the option tables; with --check only compare.",
        run: |steps, args| match args.first() {
            None => steps.step("generate docs", docs::write),
            Some(_) => steps.step("generated docs are fresh", docs::check),
        },
    },
    Command {
        name: "guests",
        usage: "[--check]",
        help: "Build the example handlers of every language, with the compilers they need, and the\n\
               engine of .js handlers, which is written to wasi-host/js; with --check it is\n\
               only compared.",
        run: |steps, args| match args.first() {
            None => steps.step("guests", guests::write),
            Some(_) => steps.step("guests", guests::check),
        },
    },
    Command {
        name: "builds",
        usage: "",
        help: "The builds without handlers, without their compiler, and with it: nothing of wasmtime\n\
               in the first, no compiler in the second, which runs what the third has compiled.",
        run: |steps, _| {
            steps.step("guests", guests::check)?;
            steps.step("binary", build::debug)?;
            steps.step("builds", builds::check)
        },
    },
    Command {
        name: "slim",
        usage: "",
        help: "The slim library: its size, an example with it, and what it answers to HTTP/2.",
        run: |steps, _| steps.step("slim library", slim::check),
    },
    Command {
        name: "header",
        usage: "[--check]",
        help: "Write include/fanfare.h from the crate ffi; with --check only compare.",
        run: |steps, args| match args.first() {
            None => steps.step("generate header", header::write),
            Some(_) => steps.step("header is fresh", header::check),
        },
    },
    Command {
        name: "native",
        usage: "",
        help: "The tests of the C ABI and of the C++ wrapper, with sanitisers and under valgrind, and\n\
               programs that use what `install` installs.",
        run: |steps, _| {
            steps.step("install", install::everything)?;
            native_tests(steps)
        },
    },
    Command {
        name: "contract",
        usage: "[--check]",
        help: "Build every binding, run the scenarios of bindings/contract, write docs/parity.md;\n\
               with --check only compare.",
        run: |steps, args| {
            // The runners in C and C++ are built with the scenarios.
            steps.step("library with handlers", || with_handlers::library().map(drop))?;
            steps.step("python package", python_binding::install)?;
            steps.step("python with handlers", || python_binding::with_handlers().map(drop))?;
            steps.step("node addon", node_binding::build)?;
            steps.step("node with handlers", || node_binding::with_handlers().map(drop))?;
            match args.first() {
                None => steps.step("contract", parity::write),
                Some(_) => steps.step("contract", parity::check),
            }
        },
    },
    Command {
        name: "install",
        usage: "--prefix DIR",
        help: "Build libfanfare for C and C++ and install it below DIR: libraries, headers,\n\
               pkg-config and CMake files.",
        run: |steps, args| steps.step("install libfanfare", || sdk::install(args[1].as_ref())),
    },
    Command {
        name: "layers",
        usage: "",
        help: "A module imports only from modules declared above it in lib.rs or main.rs.",
        run: |steps, _| steps.step("layers", layers::check),
    },
    Command {
        name: "budget",
        usage: "",
        help: "Rust files: over 500 lines the header says why, over 800 fails. No unfinished work.",
        run: |steps, _| shape(steps),
    },
    Command {
        name: "purity",
        usage: "",
        help: "The engine names no clock, socket, thread or file; built for wasm32.",
        run: |steps, _| steps.step("engine is pure", purity::check),
    },
    Command {
        name: "licences",
        usage: "",
        help: "Licences and sources of all dependencies against the list in deny.toml.",
        run: |steps, _| steps.step("licences", licences::check),
    },
    Command {
        name: "deny",
        usage: "",
        help: "`cargo deny check`, which also knows security advisories. Needs cargo-deny.",
        run: |steps, _| steps.step("cargo deny", build::deny),
    },
];

/// Runs the command that `args` name. Exit status: 0 done, 1 a step failed, 2 it was called wrongly.
pub(crate) fn dispatch(args: &[String]) -> ExitCode {
    match args.first().map(String::as_str) {
        None | Some("help" | "--help" | "-h") => {
            say(&help());
            return ExitCode::SUCCESS;
        }
        Some(_) => {}
    }
    let command = match parse(args) {
        Ok(command) => command,
        Err(error) => {
            eprintln!("error: {error:#}\n`cargo xtask help` lists the commands");
            return ExitCode::from(2);
        }
    };
    let mut steps = Steps::default();
    match (command.run)(&mut steps, &args[1..]) {
        Ok(()) => {
            steps.summary();
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("\nFAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn ci(steps: &mut Steps) -> Result<()> {
    steps.step("install cargo tools", install::components)?;
    steps.step("formatting", build::fmt)?;
    steps.step("layers", layers::check)?;
    shape(steps)?;
    steps.step("licences", licences::check)?;
    steps.step("clippy", build::clippy)?;
    steps.step("rustdoc", build::rustdoc)?;
    steps.step("generated docs are fresh", docs::check)?;
    steps.step("header is fresh", header::check)?;
    steps.step("exports are guarded", exports::check_source)?;
    test(steps)?;
    steps.step("instructions", instructions::check)
}

fn test(steps: &mut Steps) -> Result<()> {
    steps.step("install", install::everything)?;
    steps.step("engine is pure", purity::check)?;
    steps.step("guests", guests::check)?;
    steps.step("workspace tests", build::tests)?;
    // Before other steps build the library with other features.
    steps.step("library with handlers", || with_handlers::library().map(drop))?;
    steps.step("builds", builds::check)?;
    steps.step("slim library", slim::check)?;
    steps.step("loom models", build::loom)?;
    steps.step("release binary", build::release)?;
    native_tests(steps)?;
    steps.step("python binding", python_binding::test)?;
    end_to_end(steps)?;
    steps.step("examples", examples::test)?;
    steps.step("every language does the same", parity::check)
}

fn soak(steps: &mut Steps) -> Result<()> {
    steps.step("install", install::everything)?;
    steps.step("release binary", build::release)?;
    steps.step("h2spec", h2spec::run)?;
    steps.step("long python suites", suites::python_soak)?;
    soak_bindings(steps)?;
    steps.step("long tests", build::soak)
}

fn soak_bindings(steps: &mut Steps) -> Result<()> {
    steps.step("the C ABI for long", native::soak)?;
    steps.step("the python binding for long", python_binding::soak)?;
    steps.step("the node binding for long", node_binding::soak)
}

fn native_tests(steps: &mut Steps) -> Result<()> {
    steps.step("c and c++", native::test)?;
    steps.step("installed library", sdk::test)
}

fn shape(steps: &mut Steps) -> Result<()> {
    steps.step("file budget", budget::check)?;
    steps.step("no unfinished work", budget::check_words)
}

fn end_to_end(steps: &mut Steps) -> Result<()> {
    steps.step("python suites", suites::python)?;
    steps.step("node suites", suites::node)?;
    steps.step("node binding", node_binding::test)
}

/// Finds the command and checks its arguments, so that nothing starts on a call that is wrong.
fn parse(args: &[String]) -> Result<&'static Command> {
    let name = args.first().map_or("", String::as_str);
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        bail!("unknown command `{name}`");
    };
    match (command.usage, &args[1..]) {
        ("--prefix DIR", []) => bail!("`{name}` needs to know where{}", usage(command)),
        (_, []) => {}
        ("[--check]", [flag]) if flag == "--check" => {}
        ("[bindings]", [part]) if part == "bindings" => {}
        ("--prefix DIR", [flag, dir]) if flag == "--prefix" && !dir.is_empty() => {}
        ("[--full|--smoke]", [flag]) if ["--full", "--smoke"].contains(&flag.as_str()) => {}
        ("[SECONDS]", [seconds]) if seconds.parse::<u64>().is_ok_and(|seconds| seconds > 0) => {}
        (_, rest) => bail!("`{name}` does not take `{}`{}", rest.join(" "), usage(command)),
    }
    Ok(command)
}

fn usage(command: &Command) -> String {
    match command.usage {
        "" => ": it has no arguments".to_owned(),
        usage => format!("; usage: cargo xtask {} {usage}", command.name),
    }
}

fn help() -> String {
    let mut text = "\
cargo xtask COMMAND

Two commands matter: `test` proves that a clone works, `ci` is what a change has to pass.
Both install what is missing (apt, a Python environment in target/venv, npm), stop at the first
failure and name it. The other commands are their parts, and the long runs.
"
    .to_owned();
    for command in COMMANDS {
        let left = format!("{} {}", command.name, command.usage);
        for (number, line) in command.help.lines().enumerate() {
            let left = if number == 0 { left.trim_end() } else { "" };
            text.push_str(&format!("\n  {left:<16} {line}"));
        }
    }
    text.push_str(
        "\n\nExit status: 0 done, 1 a step failed, 2 called wrongly. Nothing asks questions; the target\n\
         directory is CARGO_TARGET_DIR or target/.",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(line: &str) -> Result<&'static str> {
        let args: Vec<String> = line.split(' ').map(str::to_owned).collect();
        parse(&args).map(|command| command.name)
    }

    #[test]
    fn commands_and_their_arguments_are_checked_before_anything_runs() {
        assert_eq!(name("test").unwrap(), "test");
        assert_eq!(name("docs --check").unwrap(), "docs");
        assert_eq!(name("fuzz 30").unwrap(), "fuzz");
        assert_eq!(name("bench --full").unwrap(), "bench");
        assert_eq!(name("soak bindings").unwrap(), "soak");
        for bad in [
            "tset",
            "soak binding",
            "",
            "test now",
            "docs --chekc",
            "fuzz soon",
            "fuzz 0",
            "fuzz -1",
            "docs --check x",
            "bench --slow",
        ] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn help_names_every_command_and_fits_a_terminal() {
        let help = help();
        for command in COMMANDS {
            assert!(help.contains(&format!("\n  {}", command.name)), "{}", command.name);
        }
        assert!(help.lines().all(|line| line.chars().count() <= 105), "{help}");
    }
}
