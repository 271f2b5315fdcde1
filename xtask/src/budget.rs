//! The file budget and the words that mean unfinished.
//!
//! A Rust file over 500 lines says in its header why it is one thing (`//! Long because: ..`); over 800 it
//! is split. Unfinished work is an issue, not a comment, so the usual marks fail the check.

use std::path::Path;

use anyhow::{Result, bail};

use crate::files;
use crate::run::say;

/// Lines from which a file has to give a reason.
const SOFT: usize = 500;
/// Lines no file may exceed.
const HARD: usize = 800;
/// How the reason starts, in the file's own `//!` header.
const REASON: &str = "//! Long because: ";

/// Endings of files that are searched for unfinished work.
const SOURCE: &[&str] = &[
    "rs", "py", "js", "mjs", "cjs", "ts", "html", "css", "c", "h", "cc", "cpp", "hpp", "sh", "toml", "wit",
    "yml", "yaml",
];

/// Marks of unfinished work, in two halves so that this file passes its own check.
const MARKS: &[(&str, &str)] = &[("TO", "DO"), ("FIX", "ME"), ("todo", "!("), ("unimplemented", "!(")];

/// Checks the length of every Rust file.
pub(crate) fn check() -> Result<()> {
    let mut lengths = Vec::new();
    let mut bad = Vec::new();
    for path in files::project_files()?.iter().filter(|path| ending(path) == "rs") {
        let text = files::read(&files::root().join(path))?;
        lengths.push(text.lines().count());
        bad.extend(too_long(&text).map(|reason| format!("{}: {reason}", path.display())));
    }
    lengths.sort_unstable();
    say(&format!(
        "    {} Rust files, median {} lines, longest {}",
        lengths.len(),
        lengths.get(lengths.len() / 2).unwrap_or(&0),
        lengths.last().unwrap_or(&0)
    ));
    report(&bad, "files over the budget")
}

/// Checks source files for marks of unfinished work.
pub(crate) fn check_words() -> Result<()> {
    let mut bad = Vec::new();
    for path in files::project_files()?.iter().filter(|path| SOURCE.contains(&ending(path))) {
        let text = files::read(&files::root().join(path))?;
        bad.extend(marks(&text).into_iter().map(|(line, mark)| format!("{}:{line}: {mark}", path.display())));
    }
    report(&bad, "marks of unfinished work")
}

fn report(bad: &[String], what: &str) -> Result<()> {
    for line in bad {
        say(&format!("    {line}"));
    }
    if !bad.is_empty() {
        bail!("{} {what}", bad.len());
    }
    Ok(())
}

fn ending(path: &Path) -> &str {
    path.extension().and_then(|ending| ending.to_str()).unwrap_or_default()
}

fn too_long(text: &str) -> Option<String> {
    let lines = text.lines().count();
    if lines > HARD {
        return Some(format!("{lines} lines; split it, {HARD} is the most"));
    }
    let reason =
        text.lines().take_while(|line| line.starts_with("//!")).find_map(|line| line.strip_prefix(REASON));
    if lines > SOFT && reason.is_none_or(|reason| reason.trim().is_empty()) {
        return Some(format!("{lines} lines; over {SOFT} its header needs a line `{REASON}..`"));
    }
    None
}

/// Line and mark of everything in `text` that says it is unfinished.
fn marks(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for (first, second) in MARKS {
            let mark = format!("{first}{second}");
            let whole_word = |at: usize| {
                let before = line[..at].chars().next_back();
                let after = line[at + mark.len()..].chars().next();
                let joins = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
                !joins(before) && (mark.ends_with('(') || !joins(after))
            };
            if line.match_indices(&mark).any(|(at, _)| whole_word(at)) {
                found.push((number + 1, mark));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, lines: usize) -> String {
        format!("{header}\n{}", "x\n".repeat(lines - header.lines().count()))
    }

    #[test]
    fn length_is_checked_at_both_limits() {
        assert_eq!(too_long(&file("//! Short.", SOFT)), None);
        assert!(too_long(&file("//! Long.", SOFT + 1)).is_some());
        assert_eq!(too_long(&file("//! Long.\n//! Long because: it is one table.", SOFT + 1)), None);
        assert_eq!(too_long(&file("//! Long because: it is one table.", HARD)), None);
        assert!(too_long(&file("//! Long because: it is one table.", HARD + 1)).is_some());
    }

    #[test]
    fn the_reason_has_to_be_one_and_in_the_header() {
        assert!(too_long(&file("//! Long because: ", SOFT + 1)).is_some());
        assert!(too_long(&file("//! Text.\n\n//! Long because: late.", SOFT + 1)).is_some());
    }

    #[test]
    fn marks_are_found_as_whole_words() {
        for (first, second) in MARKS {
            let mark = format!("{first}{second}");
            assert_eq!(marks(&format!("fine\n// {mark}: later")), [(2, mark.clone())]);
            assert!(marks(&format!("x{mark}")).is_empty());
        }
        assert!(marks("a todo list; TODOS_MAX; unimplemented by design").is_empty());
    }
}
