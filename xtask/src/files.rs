//! Where things are: the repository, the target directory, the files that make up the project.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

/// The repository root: the folder above this crate.
pub(crate) fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    here.parent().map_or_else(|| here.clone(), Path::to_path_buf)
}

/// Cargo's target directory, which also holds the Python environment and the loom build.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// Reads a text file; the error names it.
pub(crate) fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Paths, relative to the root and sorted, of all files that belong to the project.
///
/// That is what git tracks plus what it would add; without a usable git (a source archive, a clone owned
/// by another user) it is a walk that leaves out build output and installed packages.
pub(crate) fn project_files() -> Result<Vec<PathBuf>> {
    let root = root();
    let mut found = match from_git(&root) {
        Some(list) => list,
        None => {
            let mut list = Vec::new();
            walk(&root, Path::new(""), &mut list)?;
            list
        }
    };
    found.retain(|path| root.join(path).is_file());
    found.sort();
    found.dedup();
    Ok(found)
}

fn from_git(root: &Path) -> Option<Vec<PathBuf>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .stdin(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.split('\0').filter(|path| !path.is_empty()).map(PathBuf::from).collect())
}

fn walk(root: &Path, below: &Path, list: &mut Vec<PathBuf>) -> Result<()> {
    const SKIP: &[&str] = &["target", ".git", "node_modules", "__pycache__", ".venv", "corpus", "artifacts"];
    let dir = root.join(below);
    for entry in fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let entry = entry?;
        let name = entry.file_name();
        let path = below.join(&name);
        if entry.file_type()?.is_dir() {
            if !SKIP.iter().any(|skip| name == *skip) {
                walk(root, &path, list)?;
            }
        } else {
            list.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_and_walk_both_find_this_file() {
        let this = PathBuf::from("xtask/src/files.rs");
        assert!(project_files().unwrap().contains(&this));
        let mut walked = Vec::new();
        walk(&root(), Path::new(""), &mut walked).unwrap();
        assert!(walked.contains(&this));
        assert!(!walked.iter().any(|path| path.starts_with("target")));
    }
}
