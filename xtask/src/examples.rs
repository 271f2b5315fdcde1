//! The example applications: each driven in a browser, over the bindings as the steps before have built them.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::files;
use crate::guests;
use crate::install::EXAMPLES;
use crate::python_binding;
use crate::suites;

/// Runs their suites. The library, the Python package and the Node addon have been built.
pub(crate) fn test() -> Result<()> {
    let settings = [
        ("FANFARE_LIBRARY", library()?),
        ("FANFARE_PYTHON", python_binding::interpreter()),
        ("FANFARE_VOTING", guests::voting()),
    ];
    // They mostly wait: for browsers that come back.
    suites::node_below(EXAMPLES, "examples", 3, &settings)
}

/// The library in a folder where programs find it both at link time and at run time.
fn library() -> Result<PathBuf> {
    let built = files::target().join("release/libfanfare.so");
    if !built.is_file() {
        bail!("{} is not built", built.display());
    }
    let folder = files::target().join("examples");
    fs::create_dir_all(&folder)?;
    for name in ["libfanfare.so", "libfanfare.so.0"] {
        let place = folder.join(name);
        match fs::remove_file(&place) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot replace {}", place.display()));
            }
            _ => symlink(&built, &place).with_context(|| format!("cannot make {}", place.display()))?,
        }
    }
    Ok(folder.join("libfanfare.so"))
}
