//! The engine is pure: no clock, socket, thread, file, environment, and no output of its own.
//!
//! Three nets, coarse to fine. `engine/clippy.toml` bans the calls by resolved name in every build. The
//! text check here bans whole modules of the standard library and covers code that a given build leaves
//! out. And the engine is built for the bare wasm32 target: that target has none
//! of these things, so a dependency that needs one shows too.

use std::path::Path;

use anyhow::{Result, bail};

use crate::files;
use crate::install;
use crate::layers::{self, Module};
use crate::run::{Program, say};
use crate::rust_target::WASM;

/// Standard modules and types the engine does without, as paths below `std` or `core`.
const BANNED: &[(&str, &str)] = &[
    ("time::Instant", "time enters as `now: Timestamp`"),
    ("time::SystemTime", "time enters as `now: Timestamp`"),
    ("time::UNIX_EPOCH", "time enters as `now: Timestamp`"),
    ("thread", "the caller owns the threads"),
    // Addresses are plain values and may be named; sockets and name lookup may not.
    ("net::TcpStream", "sockets belong to the server"),
    ("net::TcpListener", "sockets belong to the server"),
    ("net::UdpSocket", "sockets belong to the server"),
    ("net::ToSocketAddrs", "names are looked up by the server"),
    ("fs", "files belong to the hub"),
    ("env", "configuration is an argument"),
    ("process", "a library does not end its host"),
    ("os", "the engine is the same everywhere"),
    ("io::stdin", "input is an argument"),
    ("io::stdout", "a library does not print"),
    ("io::stderr", "a library does not print"),
    ("collections::hash_map::RandomState", "randomness is an argument: `hash_seed`"),
];

/// What only the loom seam may name.
const SEAM_ONLY: &[(&str, &str)] = &[
    ("sync::Mutex", "use crate::sync"),
    ("sync::RwLock", "use crate::sync"),
    ("sync::Condvar", "use crate::sync"),
    ("sync::atomic", "use crate::sync"),
    ("sync::mpsc", "use crate::sync"),
    ("sync::Barrier", "use crate::sync"),
];

/// The loom seam.
const SEAM: &str = "sync";

/// Macros that print.
const BANNED_MACROS: &[&str] = &["print", "println", "eprint", "eprintln", "dbg"];

/// Crates that bring a clock, a socket, a runtime or randomness from outside.
const BANNED_CRATES: &[&str] = &[
    "tokio",
    "mio",
    "socket2",
    "hyper",
    "getrandom",
    "rand",
    "chrono",
    "time",
    "async-std",
    "smol",
    "tracing",
];

/// Runs all three nets but clippy's.
pub(crate) fn check() -> Result<()> {
    let modules = layers::load(&files::root(), Path::new("engine/src/lib.rs"))?;
    let mut bad = violations(&modules);
    bad.extend(dependencies()?);
    for line in &bad {
        say(&format!("    {line}"));
    }
    if !bad.is_empty() {
        bail!("{} ways in which the engine is not pure", bad.len());
    }
    say(&format!("    {} files name nothing impure", modules.len()));
    build_for_wasm()
}

fn build_for_wasm() -> Result<()> {
    // A folder of its own: the compiler may be another one.
    let folder = files::target().join("purity");
    let cargo = Program::cargo()
        .args(["build", "--locked", "-p", "fanfare-engine", "--lib", "--target", WASM, "--target-dir"])
        .args([&folder]);
    install::rust_for_wasm()?.into_iter().fold(cargo, |cargo, (key, value)| cargo.env(key, value)).run()
}

fn dependencies() -> Result<Vec<String>> {
    let args =
        ["tree", "--locked", "-p", "fanfare-engine", "-e", "normal", "--prefix", "none", "--format", "{p}"];
    let tree = Program::cargo().args(args).output()?;
    let mut bad: Vec<String> = tree
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| BANNED_CRATES.contains(name))
        .map(|name| format!("engine/Cargo.toml: depends on {name}"))
        .collect();
    bad.dedup();
    Ok(bad)
}

/// One line per path that the engine may not name.
fn violations(modules: &[Module]) -> Vec<String> {
    let mut bad = Vec::new();
    for module in modules {
        let seam = module.path.first().is_some_and(|name| name == SEAM);
        for path in &module.source.paths {
            let name = path.segments.join("::");
            let reason = if path.is_macro {
                BANNED_MACROS
                    .contains(&name.trim_start_matches("std::"))
                    .then_some("a library does not print")
            } else {
                let below = match path.segments[0].as_str() {
                    "std" | "core" | "alloc" => path.segments[1..].join("::"),
                    // The locks of the two builds: `sync` chooses between them.
                    "parking_lot" | "loom" => "sync::Mutex".to_owned(),
                    _ => continue,
                };
                let more = if seam { &[] } else { SEAM_ONLY };
                BANNED
                    .iter()
                    .chain(more)
                    .find(|(banned, _)| covers(banned, &below))
                    .map(|(_, reason)| *reason)
            };
            if let Some(reason) = reason {
                bad.push(format!("{}:{}: {name}: {reason}", module.file.display(), path.line));
            }
        }
    }
    bad
}

/// Whether a path is the banned one, lies below it, or brings it in under a shorter name.
fn covers(banned: &str, path: &str) -> bool {
    let glob = path.strip_suffix('*').is_some_and(|above| banned.starts_with(above));
    let inside = path.strip_prefix(banned).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    // `use std::sync;` would make every later `sync::Mutex` invisible to this check.
    let hides =
        |parent: &str| banned.starts_with(parent) && banned.as_bytes().get(parent.len()) == Some(&b':');
    let whole = ["sync", "time", "net"].iter().any(|parent| {
        hides(parent) && path.strip_prefix(parent).is_some_and(|rest| rest.is_empty() || rest == "::self")
    });
    glob || inside || whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rust_text;

    fn count(module: &str, text: &str) -> usize {
        let module = Module {
            path: vec![module.to_owned()],
            file: format!("{module}.rs").into(),
            source: rust_text::read(text),
        };
        violations(&[module]).len()
    }

    #[test]
    fn clocks_sockets_threads_and_output_are_refused() {
        assert_eq!(count("a", "use std::time::{Duration, Instant};"), 1);
        assert_eq!(count("a", "fn f() { std::thread::spawn(|| ()); ::std::net::TcpStream::connect(1); }"), 2);
        assert_eq!(count("a", "use std::{env, fs::File, process};"), 3);
        assert_eq!(count("a", "use std::time::*; use std::time; use std::sync::{self};"), 3);
        assert_eq!(count("a", "fn f() { println!(\"x\"); std::eprintln!(\"y\"); }"), 2);
    }

    #[test]
    fn std_locks_are_for_the_seam_alone() {
        assert_eq!(count("a", "use std::sync::{Arc, Mutex}; use core::sync::atomic::AtomicU64;"), 2);
        assert_eq!(count("a", "use parking_lot::Mutex; fn f(x: loom::sync::Mutex<u8>) {}"), 2);
        let seam = "use std::sync::{Arc, Mutex}; use std::sync::atomic::AtomicU64; use parking_lot::RwLock;";
        assert_eq!(count("sync", seam), 0);
    }

    #[test]
    fn the_pure_part_of_std_and_test_code_are_free() {
        let text =
            "use std::task::{Context, Poll}; use std::time::Duration; use std::sync::Arc; use std::io::Write;
            use std::collections::{HashMap, hash_map}; use std::io; use core::net::SocketAddr;
            #[cfg(test)] mod tests { use std::thread; use std::time::Instant; }";
        assert_eq!(count("a", text), 0);
    }
}
