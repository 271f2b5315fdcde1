//! libfanfare with event handlers, for the tests of the bindings.
//!
//! The build of all tests has it already, because cargo unifies the features of what it builds together: the command line has
//! handlers, so the library beside it has them, too. A build of it alone would compile the WebAssembly runtime once more. What
//! is found there is copied, since cargo writes libraries of any features to one place.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

use crate::files;
use crate::run::{Program, say};

/// The libraries, as cargo names them.
const LIBRARIES: [&str; 2] = ["libfanfare.so", "libfanfare.a"];

/// The folder that holds `libfanfare.so` and `libfanfare.a` with handlers, built if they are not there.
pub(crate) fn library() -> Result<PathBuf> {
    let kept = files::target().join("with-handlers");
    let artifacts = build()?;
    let newest = newest_input(&artifacts)?;
    if LIBRARIES.iter().all(|name| is_newer(&kept.join(name), newest)) {
        return Ok(kept);
    }
    fs::create_dir_all(&kept)?;
    // Another step may have built the library with other features since, which cargo does not see.
    let mut built = libraries(&artifacts);
    if !built.iter().all(|library| is_newer(library, newest) && has_handlers(library)) {
        Program::cargo().args(["clean", "--locked", "-p", "fanfare-ffi"]).run()?;
        built = libraries(&build()?);
    }
    if built.len() != LIBRARIES.len() || !built.iter().all(|library| has_handlers(library)) {
        bail!("the build of all tests has no libfanfare with handlers in it: {built:?}");
    }
    for library in &built {
        let name = library.file_name().context("a library has a name")?;
        fs::copy(library, kept.join(name)).with_context(|| format!("cannot copy {}", library.display()))?;
    }
    say(&format!("    libfanfare with handlers is in {}", kept.display()));
    Ok(kept)
}

/// Builds all tests; the files that cargo says it has made.
fn build() -> Result<Vec<PathBuf>> {
    let told = Program::cargo()
        .args(["test", "--locked", "--workspace", "--no-run", "--message-format=json-render-diagnostics"])
        .output()?;
    Ok(told.lines().flat_map(file_names).map(PathBuf::from).collect())
}

/// The files of one message.
fn file_names(message: &str) -> Vec<&str> {
    let Some((_, rest)) = message.split_once("\"filenames\":[") else { return Vec::new() };
    let list = rest.split(']').next().unwrap_or_default();
    list.split(',').map(|name| name.trim_matches('"')).filter(|name| !name.is_empty()).collect()
}

fn libraries(artifacts: &[PathBuf]) -> Vec<PathBuf> {
    let ours =
        |path: &&PathBuf| LIBRARIES.iter().any(|name| path.file_name().is_some_and(|file| file == *name));
    artifacts.iter().filter(ours).cloned().collect()
}

/// When the last of the things that the library is made of was written.
fn newest_input(artifacts: &[PathBuf]) -> Result<SystemTime> {
    let crates = artifacts.iter().filter(|path| path.extension().is_some_and(|ending| ending == "rlib"));
    let others =
        crates.filter(|path| path.file_name().is_some_and(|name| name != "libfanfare.rlib")).cloned();
    let own = files::project_files()?.into_iter().filter(|path| path.starts_with("ffi"));
    let inputs = others.chain(own.map(|path| files::root().join(path)));
    let times = inputs.filter_map(|path| fs::metadata(path).and_then(|file| file.modified()).ok());
    times.max().context("cargo has said nothing about what it built")
}

fn is_newer(file: &Path, than: SystemTime) -> bool {
    fs::metadata(file).and_then(|file| file.modified()).is_ok_and(|at| at >= than)
}

/// Whether the runtime is in it.
fn has_handlers(library: &Path) -> bool {
    Program::new("grep").args(["-aqF", "wasmtime"]).args([library]).works()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_libraries_are_found_in_what_cargo_says() {
        let message = "{\"reason\":\"compiler-artifact\",\"filenames\":[\"/t/debug/deps/libfanfare.so\",\
             \"/t/debug/deps/libfanfare.a\",\"/t/debug/deps/libfanfare.rlib\"],\"executable\":null}";
        let files: Vec<PathBuf> = file_names(message).into_iter().map(PathBuf::from).collect();
        assert_eq!(files.len(), 3);
        assert_eq!(libraries(&files), files[..2]);
        assert!(file_names("{\"reason\":\"build-finished\"}").is_empty());
        assert!(file_names("{\"filenames\":[]}").is_empty());
    }
}
