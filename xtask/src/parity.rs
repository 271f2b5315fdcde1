//! The contract suite in every language, and `docs/parity.md`: which scenario passes where.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::files;
use crate::native;
use crate::run::{Program, say};

const PAGE: &str = "docs/parity.md";
/// Far above what all scenarios take.
const LIMIT: Duration = Duration::from_secs(10 * 60);

/// Runners of bindings that are built by steps of their own: language, interpreter, script.
const SCRIPTS: &[(&str, &str, &str)] = &[
    ("Python", "venv-binding/bin/python", "bindings/python/tests/contract.py"),
    ("Node", "node", "bindings/node/test/contract.mjs"),
];

/// Runs the scenarios in every language that has a runner, and compares the page with what came out.
pub(crate) fn check() -> Result<()> {
    let page = generate()?;
    if files::read(&files::root().join(PAGE))? != page {
        bail!("{PAGE} is not what the runners say; `cargo xtask contract` writes it");
    }
    Ok(())
}

/// Runs them and writes the page.
pub(crate) fn write() -> Result<()> {
    let page = generate()?;
    let path = files::root().join(PAGE);
    fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
    say(&format!("    wrote {PAGE}"));
    Ok(())
}

fn generate() -> Result<String> {
    let scenarios = native::scenarios()?;
    let mut columns = Vec::new();
    for (language, program) in native::contract_runners()? {
        columns.push((language, report(language, Program::new(program), &scenarios)?));
    }
    for (language, interpreter, script) in SCRIPTS {
        if files::root().join(script).is_file() {
            let own = files::target().join(interpreter);
            let program = match (own.is_file(), interpreter.contains('/')) {
                (true, _) => own,
                (false, false) => PathBuf::from(interpreter),
                (false, true) => {
                    bail!(
                        "the {language} binding is not built yet: `cargo xtask contract` and `cargo xtask test` do that first"
                    )
                }
            };
            let program = Program::new(program).args([files::root().join(script)]).without_cargo_env();
            columns.push((*language, report(language, program, &scenarios)?));
        }
    }
    let mut wanted = Vec::new();
    for file in &scenarios {
        let text = files::read(file)?;
        let area = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let names = text.lines().filter_map(|line| line.strip_prefix("scenario ")).map(str::to_owned);
        wanted.push((area, names.collect::<Vec<_>>()));
    }
    page(&wanted, &columns)
}

/// Runs one runner; gives the lines of its scenarios by name.
fn report(language: &str, program: Program, scenarios: &[PathBuf]) -> Result<BTreeMap<String, bool>> {
    let printed = native::scratch()?.join(format!("contract-{language}.txt"));
    let ran = program.args(scenarios).output_to(&printed)?.limit(LIMIT).run();
    let text = files::read(&printed)?;
    text.lines().filter(|line| !line.starts_with("ok ")).for_each(say);
    ran.with_context(|| format!("the runner in {language}"))?;
    parse(&text)
}

fn parse(text: &str) -> Result<BTreeMap<String, bool>> {
    let mut results = BTreeMap::new();
    for line in text.lines() {
        let (passed, name) = match line.split_once(' ') {
            Some(("ok", name)) => (true, name),
            Some(("FAIL", rest)) => (false, rest.split(':').next().unwrap_or(rest)),
            _ => bail!("a runner prints `{line}`"),
        };
        if results.insert(name.to_owned(), passed).is_some() {
            bail!("a runner names {name} twice");
        }
    }
    Ok(results)
}

fn page(wanted: &[(String, Vec<String>)], columns: &[(&str, BTreeMap<String, bool>)]) -> Result<String> {
    let mut text = String::from(
        "# The same in every language\n\n\
         Written by `cargo xtask contract` from the runs of the scenarios in [bindings/contract](../bindings/contract/README.md).\n",
    );
    let count: usize = wanted.iter().map(|(_, names)| names.len()).sum();
    for (language, results) in columns {
        if let Some(unknown) =
            results.keys().find(|name| !wanted.iter().any(|(_, names)| names.contains(name)))
        {
            bail!("{language} has run `{unknown}`, which no file has");
        }
        let passed = results.values().filter(|passed| **passed).count();
        text.push_str(&format!("\n{language}: {passed} of {count} scenarios.\n"));
    }
    for (area, names) in wanted {
        text.push_str(&format!("\n## {area}\n\n| scenario |"));
        columns.iter().for_each(|(language, _)| text.push_str(&format!(" {language} |")));
        text.push_str(&format!("\n|---|{}\n", "---|".repeat(columns.len())));
        for name in names {
            text.push_str(&format!("| {} |", name.replace('_', " ")));
            for (_, results) in columns {
                text.push_str(match results.get(name) {
                    Some(true) => " yes |",
                    Some(false) => " **fails** |",
                    None => " not run |",
                });
            }
            text.push('\n');
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_shows_what_passes_what_fails_and_what_was_not_run() {
        let results = parse("ok a_b\nFAIL c: file:3: why: because\n").unwrap();
        let wanted = [("area".to_owned(), ["a_b", "c", "d"].map(str::to_owned).to_vec())];
        let page = page(&wanted, &[("C", results)]).unwrap();
        assert!(page.contains("C: 1 of 3 scenarios."), "{page}");
        assert!(page.contains("| a b | yes |\n| c | **fails** |\n| d | not run |\n"), "{page}");
    }

    #[test]
    fn a_runner_that_says_something_else_is_an_error() {
        assert!(parse("hello").is_err());
        assert!(parse("ok a\nok a").is_err());
        assert!(page(&[], &[("C", parse("ok a").unwrap())]).is_err());
    }
}
