//! `fanfare new handler`: each project is built as it says, and is the handler that it should be.
#![cfg(feature = "wasm-jit")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const FANFARE: &str = env!("CARGO_BIN_EXE_fanfare");

fn run(program: &str, args: &[&str], folder: &Path) -> Output {
    let mut command = Command::new(program);
    // Where `cargo xtask guests` has put componentize-py.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is in the target directory");
    let mut path = target.join("guests-venv/bin").into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").expect("a PATH"));
    command.args(args).current_dir(folder).env("PATH", path).env_remove("CARGO_TARGET_DIR");
    // How cargo builds for WebAssembly where Rust does not bring its library: see `cargo xtask test`.
    let settings = std::env::var("GUEST_CARGO_SETTINGS").unwrap_or_default();
    command.envs(settings.split_whitespace().filter_map(|setting| setting.split_once('=')));
    command.output().unwrap_or_else(|error| panic!("{program}: {error}"))
}

fn done(program: &str, args: &[&str], folder: &Path) -> String {
    let output = run(program, args, folder);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {said}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// A new project in an empty folder.
fn project(language: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let said = done(FANFARE, &["new", "handler", "--lang", language, "my-votes"], folder.path());
    assert!(said.contains("fanfare serve --handler votes="), "{said}");
    let made = folder.path().join("my-votes");
    (folder, made)
}

fn counts_votes(handler: &str, folder: &Path) {
    std::fs::write(folder.join("votes"), "yes\nno\nyes\n").expect("written");
    let limits = ["--set", "handler.memory=128MiB", "--set", "handler.time=20s"];
    let args: Vec<_> = ["check", handler, "--events", "votes"].into_iter().chain(limits).collect();
    let said = done(FANFARE, &args, folder);
    let counts: Vec<_> = said.lines().filter_map(|line| line.trim().strip_prefix("check tally: ")).collect();
    let counts: Vec<_> = counts.iter().map(|count| count.replace(' ', "")).collect();
    let expected =
        [r#"{"choice":"yes","votes":1}"#, r#"{"choice":"no","votes":1}"#, r#"{"choice":"yes","votes":2}"#];
    assert_eq!(counts, expected, "{said}");
}

#[test]
fn in_javascript_it_runs_as_it_is() {
    let (_folder, made) = project("js");
    counts_votes("my-votes.js", &made);
}

#[test]
fn in_c_it_is_made_by_make() {
    let (_folder, made) = project("c");
    done("make", &[], &made);
    counts_votes("my-votes.wasm", &made);
}

#[test]
fn in_rust_it_is_made_by_cargo() {
    let (_folder, made) = project("rust");
    done("cargo", &["build", "--offline", "--release", "--target", "wasm32-unknown-unknown"], &made);
    counts_votes("target/wasm32-unknown-unknown/release/my_votes.wasm", &made);
}

#[test]
fn in_python_it_is_made_by_make() {
    let (_folder, made) = project("python");
    done("make", &[], &made);
    // A component. That it is a handler is not asked here: an unoptimized hub compiles its 18 MB for minutes, which
    // wasi-host/tests/guests.rs does once.
    let module = std::fs::read(made.join("my-votes.wasm")).expect("made");
    assert_eq!(module.get(..8), Some(&b"\0asm\x0d\0\x01\0"[..]));
}

#[test]
fn what_is_there_is_left_alone_and_odd_names_are_refused() {
    let (folder, made) = project("js");
    std::fs::write(made.join("my-votes.js"), "mine").expect("written");
    let again = run(FANFARE, &["new", "handler", "--lang", "c", "my-votes"], folder.path());
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&again.stderr).contains("cannot make the folder my-votes"));
    assert_eq!(std::fs::read_to_string(made.join("my-votes.js")).expect("read"), "mine");
    for name in ["../x", "", "X", "1", "a b", "a/b", ".", "ä", &"x".repeat(65)] {
        let refused = run(FANFARE, &["new", "handler", "--lang", "c", name], folder.path());
        assert_eq!(refused.status.code(), Some(2), "{name:?}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("is no name for a handler"), "{name:?}");
    }
    let left: Vec<_> = std::fs::read_dir(folder.path()).expect("listed").collect();
    assert_eq!(left.len(), 1);
}
