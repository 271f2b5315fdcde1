//! What libfanfare exports, and that none of it lets a panic out.

use anyhow::{Context, Result, bail};

use crate::files;
use crate::run::{Program, say};

/// The symbols that programs may link against, one in a line: what is in it stays.
const SYMBOLS: &str = "bindings/c/symbols.txt";

/// Exports that do without `guard::call`: they return texts and numbers that are there already, and cannot fail.
const UNGUARDED: &[&str] = &[
    "fanfare_abi_version",
    "fanfare_code_name",
    "fanfare_code_number",
    "fanfare_strerror",
    "fanfare_url",
    "fanfare_urls",
    "fanfare_version",
];

/// Every exported function is declared in the header and runs inside the guard.
pub(crate) fn check_source() -> Result<()> {
    let header = files::read(&files::root().join("include/fanfare.h"))?;
    let mut names = Vec::new();
    for file in files::project_files()? {
        if file.starts_with("ffi/src") && file.extension().is_some_and(|ending| ending == "rs") {
            for (name, body) in exported(&files::read(&files::root().join(&file))?) {
                let guarded =
                    body.contains("call(err, body)") || body.contains("call(std::ptr::null_mut(), body)");
                if guarded == UNGUARDED.contains(&name.as_str()) {
                    bail!(
                        "{}: `{name}` is exported {} guard::call, against the list in xtask/src/exports.rs",
                        file.display(),
                        if guarded { "with" } else { "without" }
                    );
                }
                if !header.contains(&format!("{name}(")) {
                    bail!("{}: `{name}` is exported but not in the header", file.display());
                }
                names.push(name);
            }
        }
    }
    names.sort();
    if names != listed()? {
        bail!(
            "the exported functions of `ffi` are not those of {SYMBOLS}; now they are\n{}",
            names.join("\n")
        );
    }
    say(&format!("    {} exported functions", names.len()));
    Ok(())
}

/// The shared library has these symbols and no others.
pub(crate) fn check_library(library: &std::path::Path) -> Result<()> {
    let text = Program::new("nm").args(["-D", "--defined-only"]).args([library]).output()?;
    let mut found: Vec<&str> = text.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
    found.sort_unstable();
    let wanted = listed()?;
    let extra: Vec<_> = found.iter().filter(|name| !wanted.iter().any(|other| other == *name)).collect();
    let missing: Vec<_> = wanted.iter().filter(|name| !found.contains(&name.as_str())).collect();
    if !extra.is_empty() || !missing.is_empty() {
        bail!("{} exports {extra:?} beyond {SYMBOLS}, and lacks {missing:?}", library.display());
    }
    Ok(())
}

fn listed() -> Result<Vec<String>> {
    let text = files::read(&files::root().join(SYMBOLS)).context("the list of exported symbols")?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// Names and bodies of the functions that a source file exports.
fn exported(source: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = source;
    while let Some(at) = rest.find("\n#[unsafe(no_mangle)]\n") {
        rest = &rest[at + 1..];
        let item = rest.find("\n}\n").map_or(rest, |end| &rest[..end]);
        if let Some(name) = item.split(" fn ").nth(1).and_then(|name| name.split('(').next()) {
            found.push((name.to_owned(), item.to_owned()));
        }
        rest = &rest[1..];
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exports_are_found_with_their_bodies() {
        let source = "/// A\n#[unsafe(no_mangle)]\npub extern \"C\" fn one(x: i32) -> i32 {\n    x\n}\nfn two() {\n    call(err, body)\n}\n\
                      #[unsafe(no_mangle)]\npub unsafe extern \"C\" fn three() {\n    unsafe { call(err, body) }\n}\n";
        let found = exported(source);
        let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["one", "three"]);
        assert!(!found[0].1.contains("call(") && found[1].1.contains("call("));
    }

    #[test]
    fn the_crate_is_as_listed() {
        check_source().unwrap();
    }
}
