//! Documentation that is generated: the configuration reference comes from the binary's own tables, the figures of the first
//! page from the last run of the bench.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::build;
use crate::files;
use crate::run::{Program, say};

/// The generated page.
const CONFIGURATION: &str = "docs/configuration.md";
/// The first page, and what the bench says there.
const README: &str = "README.md";
const FIGURES: &str = "docs/performance/summary.md";
/// Where the figures stand on the first page.
const MARKS: [&str; 2] = ["<!-- figures: cargo xtask bench -->\n", "<!-- end of figures -->\n"];

/// Writes what is generated anew.
pub(crate) fn write() -> Result<()> {
    replace(CONFIGURATION, &configuration()?)?;
    write_figures()
}

/// Writes the figures of the last run of the bench into the first page.
pub(crate) fn write_figures() -> Result<()> {
    replace(README, &readme()?)
}

fn replace(file: &str, text: &str) -> Result<()> {
    let path = files::root().join(file);
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    say(&format!("    {file}: written"));
    Ok(())
}

/// Fails when something generated in the repository is not what the program, or the bench, says now.
pub(crate) fn check() -> Result<()> {
    for (file, now) in [(CONFIGURATION, configuration()?), (README, readme()?)] {
        let committed = files::read(&files::root().join(file)).context("run `cargo xtask docs`")?;
        let differences = difference(&committed, &now);
        for line in &differences {
            say(&format!("    {line}"));
        }
        if !differences.is_empty() {
            bail!("{file} is stale: run `cargo xtask docs`");
        }
        say(&format!("    {file}: fresh"));
    }
    Ok(())
}

/// The first page with the figures of the last run.
fn readme() -> Result<String> {
    let figures = files::read(&files::root().join(FIGURES)).context("`cargo xtask bench` writes it")?;
    with_figures(&files::read(&files::root().join(README))?, &figures)
        .with_context(|| format!("{README} has no place for the figures: {MARKS:?}"))
}

fn with_figures(page: &str, figures: &str) -> Option<String> {
    let [begin, end] = MARKS;
    let (before, rest) = page.split_once(begin)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{begin}{figures}{end}{after}"))
}

fn configuration() -> Result<String> {
    build::debug()?;
    let text = Program::new(files::target().join("debug/fanfare")).args(["config", "--markdown"]).output()?;
    if text.trim().is_empty() {
        bail!("`fanfare config --markdown` printed nothing");
    }
    Ok(text)
}

/// The first line in which two texts differ, from both; empty when they are equal.
fn difference(old: &str, new: &str) -> Vec<String> {
    if old == new {
        return Vec::new();
    }
    let (mut olds, mut news) = (old.split('\n'), new.split('\n'));
    let mut number = 0;
    loop {
        number += 1;
        match (olds.next(), news.next()) {
            (None, None) => return vec!["they differ".to_owned()],
            (old, new) if old == new => {}
            (old, new) => {
                let show = |line: Option<&str>| line.map_or("(end)".to_owned(), |line| format!("{line:?}"));
                return vec![format!("line {number} is  {}", show(old)), format!("should be {}", show(new))];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_take_the_place_of_older_ones() {
        let page = |figures: &str| format!("# A\n{}{figures}{}\nB\n", MARKS[0], MARKS[1]);
        assert_eq!(with_figures(&page("old\n"), "new\n"), Some(page("new\n")));
        assert_eq!(with_figures("# A\n", "new\n"), None);
        assert_eq!(with_figures(&format!("{1}{0}", MARKS[0], MARKS[1]), "new\n"), None);
    }

    #[test]
    fn the_first_difference_is_shown() {
        assert!(difference("a\nb\n", "a\nb\n").is_empty());
        assert_eq!(difference("a\nb\n", "a\nc\n"), ["line 2 is  \"b\"", "should be \"c\""]);
        assert_eq!(difference("a", "a\n"), ["line 2 is  (end)", "should be \"\""]);
    }
}
