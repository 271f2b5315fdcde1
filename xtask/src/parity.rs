//! The contract suite in every language, and `docs/parity.md`: which scenario passes where.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::files;
use crate::native;
use crate::run::{Program, say};

const PAGE: &str = "docs/parity.md";
/// Far above what all scenarios take.
const LIMIT: Duration = Duration::from_secs(10 * 60);

/// A runner of a binding that is built by a step of its own.
struct Script {
    language: &'static str,
    /// A program on `PATH`, or a path in the target directory.
    interpreter: &'static str,
    /// Below the root.
    script: &'static str,
    /// How the same binding runs over a library with event handlers.
    with_handlers: WithHandlers,
}

enum WithHandlers {
    /// The runner finds the binding in this folder of the target directory when `PYTHONPATH` names it.
    Path(&'static str),
    /// A copy of the runner in the target directory, beside the binding.
    Copy(&'static str),
}

const SCRIPTS: &[Script] = &[
    Script {
        language: "Python",
        interpreter: "venv-binding/bin/python",
        script: "bindings/python/tests/contract.py",
        with_handlers: WithHandlers::Path("python-with-handlers"),
    },
    Script {
        language: "Node",
        interpreter: "node",
        script: "bindings/node/test/contract.mjs",
        with_handlers: WithHandlers::Copy("node-with-handlers/test/contract.mjs"),
    },
];

impl Script {
    /// The runner, over a library with event handlers or without.
    fn program(&self, handlers: bool) -> Result<Program> {
        let not_built = |what: &str| {
            anyhow!(
                "{what} is not there: the {} binding is built by `cargo xtask contract` and `cargo xtask test` before",
                self.language
            )
        };
        let own = files::target().join(self.interpreter);
        let interpreter = match (own.is_file(), self.interpreter.contains('/')) {
            (true, _) => own,
            (false, false) => PathBuf::from(self.interpreter),
            (false, true) => return Err(not_built(self.interpreter)),
        };
        let program = Program::new(interpreter).without_cargo_env();
        let script = files::root().join(self.script);
        Ok(match (handlers, &self.with_handlers) {
            (false, _) => program.args([script]),
            (true, WithHandlers::Path(folder)) => {
                let folder = files::target().join(folder);
                if !folder.is_dir() {
                    return Err(not_built(&folder.display().to_string()));
                }
                program.args([script]).env("PYTHONPATH", folder)
            }
            (true, WithHandlers::Copy(copy)) => {
                let copy = files::target().join(copy);
                if !copy.is_file() {
                    return Err(not_built(&copy.display().to_string()));
                }
                program.args([copy])
            }
        })
    }
}

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
    let mut columns = Vec::new();
    let mut wanted = Vec::new();
    // The second time over a library with event handlers: no language may lack a thing of either.
    for (folder, handlers) in [(native::SCENARIOS, false), (native::WITH_HANDLERS, true)] {
        let scenarios = native::scenarios(folder)?;
        let compiled =
            if handlers { native::contract_runners_with_handlers()? } else { native::contract_runners()? };
        for (language, program) in compiled {
            add(&mut columns, language, report(language, Program::new(program), &scenarios)?)?;
        }
        for script in SCRIPTS {
            add(
                &mut columns,
                script.language,
                report(script.language, script.program(handlers)?, &scenarios)?,
            )?;
        }
        for file in &scenarios {
            let text = files::read(file)?;
            let mut area =
                file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            if handlers {
                area.push_str(", in a library with event handlers");
            }
            let names = text.lines().filter_map(|line| line.strip_prefix("scenario ")).map(str::to_owned);
            wanted.push((area, names.collect::<Vec<_>>()));
        }
    }
    page(&wanted, &columns)
}

/// Adds what a runner has said to its language's.
fn add(columns: &mut Vec<(&'static str, Results)>, language: &'static str, results: Results) -> Result<()> {
    let Some((_, known)) = columns.iter_mut().find(|(known, _)| *known == language) else {
        columns.push((language, results));
        return Ok(());
    };
    for (name, passed) in results {
        if known.insert(name.clone(), passed).is_some() {
            bail!("{language} has run `{name}` twice: names of scenarios are unique in all folders");
        }
    }
    Ok(())
}

/// Whether each scenario has passed, by its name.
type Results = BTreeMap<String, bool>;

/// Runs one runner; gives the lines of its scenarios by name.
fn report(language: &str, program: Program, scenarios: &[PathBuf]) -> Result<Results> {
    let printed = native::scratch()?.join(format!("contract-{language}.txt"));
    let ran = program.with_own_cache().args(scenarios).output_to(&printed)?.limit(LIMIT).run();
    let text = files::read(&printed)?;
    text.lines().filter(|line| !line.starts_with("ok ")).for_each(say);
    ran.with_context(|| format!("the runner in {language}"))?;
    parse(&text)
}

fn parse(text: &str) -> Result<Results> {
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

fn page(wanted: &[(String, Vec<String>)], columns: &[(&str, Results)]) -> Result<String> {
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
