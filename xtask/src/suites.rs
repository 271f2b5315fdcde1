//! The end-to-end suites: other people's clients against the release binary.
//!
//! `tests/python` runs under pytest, `tests/node` under `node --test`. Both find the binary in `FANFARE_BIN`
//! and the browser in `FANFARE_CHROMIUM`. A folder that exists has to contain suites that run: no test found
//! is a failure, and so is a test that skips itself.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::build;
use crate::files;
use crate::install::{self, NODE_SUITES, PYTHON_SUITES};
use crate::run::{Program, say};

/// Runs the Python suites.
pub(crate) fn python() -> Result<()> {
    if !files::root().join(PYTHON_SUITES).is_dir() {
        say(&format!("    there is no {PYTHON_SUITES}"));
        return Ok(());
    }
    let report = Report::new("python")?;
    // pytest itself fails when it finds no test.
    let python = Program::new(install::python_in_venv());
    under_test(python.args(["-m", "pytest", "-q", "-rfEs", &report.option("--junit-xml"), PYTHON_SUITES]))?
        .run()?;
    report.nothing_skipped()
}

/// Runs the long Python suites, which are files named `soak_*.py` and which [`python`] leaves out.
pub(crate) fn python_soak() -> Result<()> {
    let project = files::project_files()?;
    let is_long = |path: &&PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        path.starts_with(PYTHON_SUITES)
            && name.is_some_and(|name| name.starts_with("soak_") && name.ends_with(".py"))
    };
    let long: Vec<&PathBuf> = project.iter().filter(is_long).collect();
    if long.is_empty() {
        bail!("{PYTHON_SUITES} has no file named soak_*.py");
    }
    let report = Report::new("python-soak")?;
    let python = Program::new(install::python_in_venv());
    under_test(python.args(["-m", "pytest", "-q", "-rfEs", &report.option("--junit-xml")]).args(long))?
        .run()?;
    report.nothing_skipped()
}

/// Runs the Node suites.
pub(crate) fn node() -> Result<()> {
    if !files::root().join(NODE_SUITES).is_dir() {
        say(&format!("    there is no {NODE_SUITES}"));
        return Ok(());
    }
    node_below(NODE_SUITES, "node", 1, &[])
}

/// Runs every suite below a folder, in that folder. `name` is the report's; `files_at_once` run side by side, each
/// with `settings` added to its environment.
pub(crate) fn node_below(
    folder: &str,
    name: &str,
    files_at_once: u32,
    settings: &[(&str, PathBuf)],
) -> Result<()> {
    let suites = node_suites(&files::project_files()?, folder);
    if suites.is_empty() {
        bail!("{folder} has no file named *.test.mjs, *.test.js or *.test.cjs");
    }
    let report = Report::new(name)?;
    let to_screen = ["--test", "--test-reporter=spec", "--test-reporter-destination=stdout"];
    let to_file = ["--test-reporter=junit", &report.option("--test-reporter-destination")];
    let at_once = [format!("--test-concurrency={files_at_once}")];
    let node = Program::new("node").args(at_once).args(to_screen).args(to_file).args(suites);
    let node = settings.iter().fold(node, |node, (key, value)| node.env(key, value));
    under_test(node)?.dir(folder).run()?;
    report.nothing_skipped()
}

fn under_test(program: Program) -> Result<Program> {
    if !build::binary().is_file() {
        bail!("{} is not built", build::binary().display());
    }
    Ok(program
        .without_cargo_env()
        .with_own_cache()
        .env("FANFARE_BIN", build::binary())
        .env("FANFARE_CHROMIUM", install::browser()?)
        .limit(build::HANG))
}

/// What a suite's runner writes about its tests, in the JUnit format that both know.
pub(crate) struct Report {
    file: PathBuf,
}

impl Report {
    /// A report in the target directory; that of an earlier run is removed.
    pub(crate) fn new(name: &str) -> Result<Self> {
        let file = files::target().join(format!("{name}-suites.xml"));
        match fs::remove_file(&file) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", file.display()))
            }
            _ => Ok(Self { file }),
        }
    }

    pub(crate) fn option(&self, name: &str) -> String {
        format!("{name}={}", self.file.display())
    }

    pub(crate) fn nothing_skipped(&self) -> Result<()> {
        match skipped(&files::read(&self.file)?) {
            0 => Ok(()),
            count => bail!("{count} tests skipped themselves; a suite runs or fails"),
        }
    }
}

/// How many tests a JUnit report says did not run.
fn skipped(report: &str) -> usize {
    report.matches("<skipped").count()
}

/// Test files below a folder, relative to it. Named one by one, because `node --test` succeeds when
/// it finds nothing.
fn node_suites(project: &[PathBuf], folder: &str) -> Vec<PathBuf> {
    const ENDINGS: &[&str] = &[".test.mjs", ".test.js", ".test.cjs"];
    let is_suite = |path: &Path| {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| ENDINGS.iter().any(|end| name.ends_with(end)))
    };
    let below = project.iter().filter_map(|path| path.strip_prefix(folder).ok());
    below.filter(|path| is_suite(path)).map(Path::to_path_buf).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_suites_are_found_by_name() {
        let project =
            ["tests/node/a.test.mjs", "tests/node/sub/b.test.js", "tests/node/help.mjs", "x/c.test.mjs"];
        let found = node_suites(&project.map(PathBuf::from), NODE_SUITES);
        assert_eq!(found, [PathBuf::from("a.test.mjs"), PathBuf::from("sub/b.test.js")]);
    }
    #[test]
    fn skipped_tests_are_counted() {
        let run = r#"<testcase name="a"/>"#;
        let skip = r#"<testcase name="b"><skipped type="pytest.skip" message="no network"/></testcase>"#;
        assert_eq!(skipped(&format!("<testsuite skipped=\"1\">{run}{skip}</testsuite>")), 1);
        assert_eq!(skipped(&format!("<testsuite skipped=\"0\">{run}</testsuite>")), 0);
    }
}
