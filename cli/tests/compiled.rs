//! Compiled handlers: kept from one start to the next, also by several programs at once, and made into files.
#![cfg(feature = "wasm-jit")]

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{Hub, Running, fanfare, run};

const UPPER: &str = "export function transform(event) { return event.data.toUpperCase(); }";

/// A module (`upper.wasm`), a script (`upper.js`) and an empty cache, in a folder of their own.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().expect("a folder"));
        place.write("upper.js", UPPER);
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/handlers/c/uppercase.c");
        let built = Command::new("clang")
            .args(["--target=wasm32", "-O2", "-mbulk-memory", "-nostdlib", "-Wl,--no-entry", "-o"])
            .args([Path::new(&place.path("upper.wasm")), &source])
            .status();
        assert!(built.expect("clang; `cargo xtask install-deps` installs it with lld").success());
        place
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("written");
    }

    /// What the program finds as its user's cache.
    fn caching(&self, arguments: &[&str]) -> Command {
        let mut command = fanfare(arguments);
        command.env("XDG_CACHE_HOME", self.path("cache"));
        command
    }

    /// Runs it to its end: whether it went well, and all that it said.
    fn run(&self, arguments: &[&str]) -> (bool, String) {
        let done = self.caching(arguments).output().expect("the program starts");
        let said = [done.stdout, done.stderr].concat();
        (done.status.success(), String::from_utf8(said).expect("UTF-8"))
    }

    fn cache(&self) -> PathBuf {
        self.0.path().join("cache/fanfare/handlers")
    }

    fn entries(&self) -> Vec<String> {
        let files =
            fs::read_dir(self.cache()).expect("a cache").map(|file| file.expect("a file").file_name());
        files.map(|name| name.to_string_lossy().into_owned()).collect()
    }
}

#[test]
fn the_second_time_it_comes_from_the_cache() {
    let place = Place::new();
    for origin in ["compiled", "cached"] {
        let (ok, said) = place.run(&["check", &place.path("upper.wasm")]);
        assert!(ok && said.trim_end().ends_with(origin), "{said}");
    }
    let (ok, said) = place.run(&["check", &place.path("upper.wasm"), "--set", "handler.cache_bytes=0"]);
    assert!(ok && said.trim_end().ends_with("compiled"), "{said}");
}

#[test]
fn programs_that_start_at_once_share_it() {
    let place = Place::new();
    let file = place.path("upper.wasm");
    let mut running: Vec<_> = (0..4).map(|_| Running::spawn(place.caching(&["check", &file]))).collect();
    for program in &mut running {
        assert_eq!(program.end(), 0);
    }
    let mut entries = place.entries();
    entries.sort();
    assert!(entries.len() == 2 && entries[0].ends_with(".code") && entries[1] == "secret", "{entries:?}");
    let (ok, said) = place.run(&["check", &file]);
    assert!(ok && said.trim_end().ends_with("cached"), "{said}");
}

#[test]
fn a_cache_that_others_can_reach_is_left_alone() {
    let place = Place::new();
    fs::create_dir_all(place.cache()).expect("a folder");
    fs::set_permissions(place.cache(), fs::Permissions::from_mode(0o755)).expect("ours");
    let file = place.path("upper.wasm");
    for _ in 0..2 {
        let (ok, said) = place.run(&["check", &file, "--set", "log=warn"]);
        assert!(
            ok && said.contains("compiled handlers are not kept") && said.contains("not private"),
            "{said}"
        );
        assert!(said.contains(" ms, compiled"), "{said}");
    }
    assert_eq!(place.entries(), [""; 0]);
    // Who names such a folder is told before anything starts.
    let setting = format!("handler.cache_dir={}", place.cache().display());
    let handler = format!("t={file}");
    let (ok, said) =
        place.run(&["serve", "--listen", "127.0.0.1:0", "--handler", &handler, "--set", &setting]);
    assert!(!ok && said.contains("handler.cache_dir") && said.contains("not private"), "{said}");
}

#[test]
fn compile_makes_a_file_that_is_taken_where_that_is_allowed() {
    let place = Place::new();
    let (script, out) = (place.path("upper.js"), place.path("upper.compiled"));
    let (code, said, err) = run(&["compile", &script, "-o", &out]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(said.starts_with(&out) && said.trim_end().ends_with("bytes"), "{said}");
    let handler = format!("t={out}");
    let (code, _, err) = run(&["serve", "--listen", "127.0.0.1:0", "--handler", &handler]);
    assert!(code == Some(2) && err.contains("handler.precompiled"), "{err}");
    // For this one it is allowed, and for no other.
    let this = format!("{handler};precompiled=true");
    let (code, _, err) =
        run(&["serve", "--listen", "127.0.0.1:0", "--handler", &this, "--handler", &handler]);
    assert!(code == Some(2) && err.contains("handler.precompiled"), "{err}");
    let hub = Hub::start_on("127.0.0.1:0", &["--handler", &this]);
    hub.publish(&["t", "loud"]);
    let (_, out, err) = run(&["sub", "--url", &hub.url, "--replay", "all", "-n", "1", "t"]);
    assert_eq!(out.trim_end(), "LOUD", "{err}");
}

#[test]
fn compile_refuses_what_would_not_run_and_leaves_nothing_behind() {
    let place = Place::new();
    place.write("broken.js", "export function transform(");
    let (broken, out) = (place.path("broken.js"), place.path("out"));
    for (file, to, part) in [
        (broken.as_str(), out.as_str(), "SyntaxError"),
        (&place.path("absent.js"), &out, "cannot read"),
        (&place.path("upper.js"), &place.path("no/folder/out"), "cannot write"),
    ] {
        let (code, said, err) = run(&["compile", file, "-o", to]);
        assert!(code != Some(0) && said.is_empty() && err.contains(part), "{part:?} in {err}");
    }
    let left = fs::read_dir(place.0.path()).expect("a folder").map(|file| file.expect("a file").file_name());
    let mut left: Vec<_> = left.map(|name| name.to_string_lossy().into_owned()).collect();
    left.sort();
    assert_eq!(left, ["broken.js", "upper.js", "upper.wasm"]);
}

#[test]
fn handlers_that_are_compiled_at_once_keep_their_order_and_names() {
    let place = Place::new();
    let files: Vec<String> = (0..6)
        .map(|number| {
            fs::create_dir(place.path(&number.to_string())).expect("a folder");
            let name = format!("{number}/add.js");
            place.write(
                &name,
                &format!("export function transform(event) {{ return event.data + {number}; }}"),
            );
            place.path(&name)
        })
        .collect();
    let handlers: Vec<String> = files.iter().map(|file| format!("t={file}")).collect();
    let arguments: Vec<&str> = handlers.iter().flat_map(|handler| ["--handler", handler]).collect();
    let hub = Hub::start_on("127.0.0.1:0", &arguments);
    hub.publish(&["t", "x"]);
    let (_, out, err) = run(&["sub", "--url", &hub.url, "--replay", "all", "-n", "1", "t"]);
    assert_eq!(out.trim_end(), "x012345", "{err}");
    let stats = hub.stats();
    let names: Vec<_> =
        stats["handlers"].as_array().expect("a list").iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["add", "add-2", "add-3", "add-4", "add-5", "add-6"]);
    drop(hub);
    // Of several that are wrong the first is named.
    for number in [2, 4] {
        fs::remove_file(&files[number]).expect("removed");
        symlink(Path::new("/nowhere"), &files[number]).expect("a link");
    }
    let (code, _, err) = run(&[&["serve", "--listen", "127.0.0.1:0"], &arguments[..]].concat());
    assert!(code == Some(2) && err.contains(&files[2]) && !err.contains(&files[4]), "{err}");
}
