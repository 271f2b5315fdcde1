//! Documentation that is generated: the configuration reference comes from the binary's own tables.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::build;
use crate::files;
use crate::run::{Program, say};

/// The generated page.
const CONFIGURATION: &str = "docs/configuration.md";

/// Writes the generated pages anew.
pub(crate) fn write() -> Result<()> {
    let path = files::root().join(CONFIGURATION);
    fs::create_dir_all(files::root().join("docs"))?;
    fs::write(&path, configuration()?).with_context(|| format!("cannot write {}", path.display()))?;
    say(&format!("    {CONFIGURATION}: written"));
    Ok(())
}

/// Fails when a generated page in the repository is not what the program says now.
pub(crate) fn check() -> Result<()> {
    let now = configuration()?;
    let committed = files::read(&files::root().join(CONFIGURATION)).context("run `cargo xtask docs`")?;
    let differences = difference(&committed, &now);
    for line in &differences {
        say(&format!("    {line}"));
    }
    if !differences.is_empty() {
        bail!("{CONFIGURATION} is stale: run `cargo xtask docs`");
    }
    say(&format!("    {CONFIGURATION}: fresh"));
    Ok(())
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
    fn the_first_difference_is_shown() {
        assert!(difference("a\nb\n", "a\nb\n").is_empty());
        assert_eq!(difference("a\nb\n", "a\nc\n"), ["line 2 is  \"b\"", "should be \"c\""]);
        assert_eq!(difference("a", "a\n"), ["line 2 is  (end)", "should be \"\""]);
    }
}
