//! Licences and sources of everything we build with, from what cargo already knows.
//!
//! The allow-list is the one in `deny.toml`, so that `cargo deny` (see `cargo xtask deny`) and this lighter
//! check, which needs no tool beyond cargo, can never disagree about it.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

use crate::files;
use crate::run::{Program, say};

/// The only place packages may come from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Checks every package of the dependency tree, on all platforms.
pub(crate) fn check() -> Result<()> {
    let root = files::root();
    let deny = files::read(&root.join("deny.toml"))?;
    let (allowed, exceptions) = (allow_list(&deny), exceptions(&deny));
    if allowed.is_empty() {
        bail!("no licence allow-list found in deny.toml");
    }
    let args = ["tree", "--locked", "--workspace", "--target", "all", "-e", "normal,build,dev"];
    let format = ["--prefix", "none", "--no-dedupe", "--format", "{p}|{l}"];
    let tree = Program::cargo().args(args).args(format).output()?;
    let packages: BTreeSet<&str> = tree.lines().filter(|line| !line.trim().is_empty()).collect();

    let mut bad = Vec::new();
    for line in &packages {
        let (package, licence) = line.split_once('|').unwrap_or((line, ""));
        let name = package.split(' ').next().unwrap_or_default();
        let excepted =
            exceptions.iter().filter(|(krate, _)| krate == name).map(|(_, licence)| licence.clone());
        let allowed: Vec<String> = allowed.iter().cloned().chain(excepted).collect();
        if !accepts(licence, &allowed) {
            bad.push(format!("{package}: licence \"{licence}\" is not allowed by deny.toml"));
        }
    }
    bad.extend(foreign_sources(&files::read(&root.join("Cargo.lock"))?));
    say(&format!("    {} packages, {} licences allowed", packages.len(), allowed.len()));
    for line in &bad {
        say(&format!("    {line}"));
    }
    if !bad.is_empty() {
        bail!("{} packages with a licence or source that is not allowed", bad.len());
    }
    Ok(())
}

/// The quoted names in the `allow` list of the `[licenses]` table.
fn allow_list(deny: &str) -> Vec<String> {
    let lines = deny.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let table =
        lines.skip_while(|line| *line != "[licenses]").skip(1).take_while(|line| !line.starts_with('['));
    let list: Vec<&str> = table.skip_while(|line| !line.starts_with("allow = [")).collect();
    let text = list.join(" ");
    let inside = text.split_once('[').map_or("", |(_, rest)| rest.split(']').next().unwrap_or_default());
    inside.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Crate and licence of each line `{ allow = ["LICENCE"], crate = "NAME" }` of `exceptions`, also in the `[licenses]` table.
fn exceptions(deny: &str) -> Vec<(String, String)> {
    let line = |line: &str| {
        let mut quoted = line.trim().strip_prefix("{ allow = [")?.split('"').skip(1).step_by(2);
        let (licence, name) = (quoted.next()?.to_owned(), quoted.next()?.to_owned());
        Some((name, licence))
    };
    deny.lines().filter_map(line).collect()
}

fn foreign_sources(lock: &str) -> Vec<String> {
    let sources = lock.lines().filter_map(|line| line.strip_prefix("source = "));
    let foreign = sources.map(|source| source.trim_matches('"')).filter(|source| *source != REGISTRY);
    foreign.map(|source| format!("Cargo.lock: source {source} is not the registry")).collect()
}

/// Whether an SPDX expression can be met with the allowed licences.
fn accepts(expression: &str, allowed: &[String]) -> bool {
    // Old manifests write `MIT/Apache-2.0` for OR.
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    !words.is_empty() && any_of(&words, &mut at, allowed) && at == words.len()
}

fn any_of(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let mut met = all_of(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        met |= all_of(words, at, allowed);
    }
    met
}

fn all_of(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let mut met = one(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        met &= one(words, at, allowed);
    }
    met
}

fn one(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let Some(word) = words.get(*at) else { return false };
    *at += 1;
    if *word == "(" {
        let met = any_of(words, at, allowed);
        let closed = words.get(*at) == Some(&")");
        *at += 1;
        return met && closed;
    }
    let mut name = (*word).to_owned();
    if words.get(*at) == Some(&"WITH") {
        name = format!("{name} WITH {}", words.get(*at + 1).unwrap_or(&""));
        *at += 2;
    }
    allowed.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed() -> Vec<String> {
        ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned).to_vec()
    }

    #[test]
    fn expressions_are_met_or_refused() {
        for good in ["MIT", "MIT/Apache-2.0", "GPL-3.0 OR MIT", "(MIT OR GPL-3.0) AND Apache-2.0"] {
            assert!(accepts(good, &allowed()), "{good}");
        }
        assert!(accepts("Apache-2.0 WITH LLVM-exception OR GPL-3.0", &allowed()));
        for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "MIT WITH Odd-exception", "(MIT", "MIT ISC", "OR"] {
            assert!(!accepts(bad, &allowed()), "{bad}");
        }
    }

    #[test]
    fn the_allow_list_is_read_from_its_table() {
        let deny = "[bans]\nallow = [\"x\"]\n[licenses]\n# allow = [\"no\"]\nallow = [\n  \"MIT\", # \"no\"\n  \"ISC\",\n]\nb = [\"y\"]\n";
        assert_eq!(allow_list(deny), ["MIT", "ISC"]);
    }

    #[test]
    fn an_exception_is_for_one_crate() {
        let deny = "exceptions = [\n    # why\n    { allow = [\"MPL-2.0\"], crate = \"tool\" },\n]\n";
        assert_eq!(exceptions(deny), [("tool".to_owned(), "MPL-2.0".to_owned())]);
    }

    #[test]
    fn other_sources_are_seen() {
        let lock = format!("source = \"{REGISTRY}\"\nsource = \"git+https://example.org/x\"\n");
        assert_eq!(foreign_sources(&lock).len(), 1);
    }
}
