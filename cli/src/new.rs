//! `fanfare new handler`: a project for an event handler that builds as it is.
//!
//! What it writes are the examples and the guest libraries of this repository, so that they are what the tests build.

use std::fs;
use std::path::Path;

use clap::{Args, Subcommand, ValueEnum};

use crate::exit::Failure;
use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  fanfare new handler --lang js tally       tally/tally.js, a handler as it is
  fanfare new handler --lang rust tally     tally/, a crate with everything it needs
  fanfare new handler --lang c tally        tally/tally.c and its header: `make`, with clang and lld
  fanfare new handler --lang python tally   tally/handler.py: `make`, with componentize-py";

/// Start something new
#[derive(Args, Debug)]
pub(crate) struct New {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// A folder with an event handler that counts votes (in Python: checks orders), to change into your own
    #[command(after_help = EXAMPLES)]
    Handler(NewHandler),
}

#[derive(Args, Debug)]
struct NewHandler {
    /// What it is written in
    #[arg(long, value_enum)]
    lang: Language,

    /// Its name, and that of the folder: small letters, digits, `-` and `_`, a letter first
    #[arg(value_name = "NAME")]
    name: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Language {
    Rust,
    C,
    Js,
    Python,
}

/// The longest name.
const MAX_NAME: usize = 64;

/// Writes the project.
pub(crate) fn run(new: &New) -> Result<(), Failure> {
    let What::Handler(NewHandler { lang, name }) = &new.what;
    let first = name.bytes().next().unwrap_or_default();
    let others = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    if !first.is_ascii_lowercase() || !name.bytes().all(others) || name.len() > MAX_NAME {
        return Err(Failure::usage(format_args!(
            "{name:?} is no name for a handler: 1 to {MAX_NAME} small letters, digits, - and _, a letter first"
        )));
    }
    let folder = Path::new(name);
    // Not over what is there: somebody's handler would be gone.
    fs::create_dir(folder)
        .map_err(|error| Failure::usage(format_args!("cannot make the folder {name}: {error}")))?;
    let project = project(*lang, name);
    for (file, text) in &project.files {
        let file = folder.join(file);
        let made = file.parent().map_or(Ok(()), fs::create_dir_all);
        made.and_then(|()| fs::write(&file, text))
            .map_err(|error| Failure::runtime(format_args!("cannot write {}: {error}", file.display())))?;
    }
    let mut output = Output::new();
    for (file, _) in &project.files {
        output.text(&format!("{name}/{file}\n"))?;
    }
    let module = &project.module;
    output.text(&format!("\nNow, in {name}:\n"))?;
    for step in &project.steps {
        output.text(&format!("    {step}\n"))?;
    }
    output.text(&format!(
        "    echo yes | fanfare check {module} --events -\n    fanfare serve --handler votes={module}\n"
    ))?;
    output.flush()
}

struct Project {
    files: Vec<(String, String)>,
    /// What makes a handler of them, once what it needs is installed.
    steps: Vec<String>,
    /// The handler.
    module: String,
}

fn project(language: Language, name: &str) -> Project {
    let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    match language {
        Language::Js => Project {
            files: vec![
                file(&format!("{name}.js"), include_str!("../../examples/handlers/js/tally.js")),
                file("fanfare-handler.d.ts", include_str!("../../examples/handlers/js/fanfare-handler.d.ts")),
            ],
            steps: Vec::new(),
            module: format!("{name}.js"),
        },
        Language::C => Project {
            files: vec![
                file(&format!("{name}.c"), include_str!("../../examples/handlers/c/tally.c")),
                file("fanfare_handler.h", include_str!("../../examples/handlers/c/fanfare_handler.h")),
                file("Makefile", &C_MAKEFILE.replace("NAME", name)),
            ],
            steps: vec!["make".to_owned()],
            module: format!("{name}.wasm"),
        },
        Language::Rust => Project {
            files: vec![
                file("Cargo.toml", &CARGO.replace("NAME", name)),
                file("src/lib.rs", include_str!("../../examples/handlers/rust/examples/tally.rs")),
                file("fanfare-handler/Cargo.toml", &guest_manifest()),
                file("fanfare-handler/src/lib.rs", include_str!("../../examples/handlers/rust/src/lib.rs")),
                file("fanfare-handler/src/abi.rs", include_str!("../../examples/handlers/rust/src/abi.rs")),
                file(".gitignore", "/target\n"),
            ],
            steps: vec![
                "rustup target add wasm32-unknown-unknown".to_owned(),
                "cargo build --release --target wasm32-unknown-unknown".to_owned(),
            ],
            module: format!("target/wasm32-unknown-unknown/release/{}.wasm", name.replace('-', "_")),
        },
        Language::Python => Project {
            files: vec![
                file("handler.py", include_str!("../../examples/handlers/python/validate.py")),
                file("wit/handler.wit", include_str!("../../wasi-host/wit/handler.wit")),
                file("requirements.txt", &componentize()),
                file("Makefile", &PYTHON_MAKEFILE.replace("NAME", name)),
            ],
            steps: vec!["pip install -r requirements.txt".to_owned(), "make".to_owned()],
            module: format!("{name}.wasm"),
        },
    }
}

const C_MAKEFILE: &str = "\
NAME.wasm: NAME.c fanfare_handler.h
\tclang --target=wasm32 -O2 -mbulk-memory -nostdlib -Wall -Wextra -Wl,--no-entry -o $@ NAME.c
";

const PYTHON_MAKEFILE: &str = "\
NAME.wasm: handler.py wit/handler.wit
\tcomponentize-py -d wit -w handler componentize --stub-wasi handler -o $@
";

const CARGO: &str = r#"[package]
name = "NAME"
version = "0.1.0"
edition = "2021"

[lib]
crate-type = ["cdylib"]

[dependencies]
fanfare-handler = { path = "fanfare-handler" }

[profile.release]
lto = true
codegen-units = 1
panic = "abort"
strip = true

[workspace]
"#;

/// The manifest of the guest crate, without what only its examples need.
fn guest_manifest() -> String {
    let manifest = include_str!("../../examples/handlers/rust/Cargo.toml").lines();
    let package =
        manifest.skip_while(|line| line.starts_with('#')).take_while(|line| !line.starts_with("publish"));
    package.flat_map(|line| [line, "\n"]).collect()
}

/// The compiler of handlers in Python, in the version that the tests use.
fn componentize() -> String {
    let compilers = include_str!("../../examples/handlers/requirements.txt").lines();
    compilers.filter(|line| line.starts_with("componentize-py")).flat_map(|line| [line, "\n"]).collect()
}
