//! HTTP/2 conformance by h2spec, against the release binary on a free port.
//!
//! Which of its tests may fail, and why, is written once: in the table of [`EXPLAINED_IN`]. Every other failure fails the run.
//!
//! Some tests want an answer that is complete, some a stream that is still open when their next frame arrives, and
//! on loopback the server is often faster than the tool. So every test runs against a target of each kind, several times, and
//! what passed once has passed: such a race can hide a pass, and cannot make one.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::build;
use crate::files;
use crate::install;
use crate::run::{Program, say};

const VERSION: &str = "2.2.1";

/// The page with the table of explained failures.
const EXPLAINED_IN: &str = "docs/protocol.md";

/// A complete answer, and a stream that stays open.
const TARGETS: [&str; 2] = ["/stats", "/events/h2spec"];

/// Runs against each target before a failure counts.
const ROUNDS: usize = 3;

/// One run takes some seconds, half a minute where many tests wait for their time limit.
const HANG: Duration = Duration::from_secs(10 * 60);

/// A test: its section, such as `http2/5.1`, and its title. h2spec numbers them only on the screen.
type Test = (String, String);

/// Installs h2spec if need be, runs it, and judges.
pub(crate) fn run() -> Result<()> {
    let tool = install()?;
    let explained = explained(&files::read(&files::root().join(EXPLAINED_IN))?)?;
    let mut hub = Hub::start()?;
    let mut failing: Option<BTreeSet<Test>> = None;
    let mut known = BTreeSet::new();
    for round in 1..=ROUNDS {
        for target in TARGETS {
            let cases = one_run(&tool, &hub.port, target)?;
            let failed: BTreeSet<Test> =
                cases.iter().filter(|case| case.failed).map(|case| case.test.clone()).collect();
            say(&format!("    round {round}, {target}: {} tests, {} failed", cases.len(), failed.len()));
            known.extend(cases.into_iter().map(|case| case.test));
            failing = Some(match failing {
                None => failed,
                Some(earlier) => &earlier & &failed,
            });
        }
        if failing.as_ref().is_some_and(|failing| failing.is_subset(&explained)) {
            break;
        }
    }
    hub.check()?;
    let failing = failing.unwrap_or_default();
    say(&format!("    of {} tests, {} failed each time", known.len(), failing.len()));
    let show = |tests: Vec<&Test>| {
        let lines: Vec<String> =
            tests.iter().map(|(section, title)| format!("\n  {section}: {title}")).collect();
        lines.concat()
    };
    let unknown: Vec<&Test> = explained.difference(&known).collect();
    if !unknown.is_empty() {
        bail!("{EXPLAINED_IN} explains tests that h2spec does not have:{}", show(unknown));
    }
    let unexplained: Vec<&Test> = failing.difference(&explained).collect();
    if !unexplained.is_empty() {
        bail!("failures that {EXPLAINED_IN} does not explain:{}", show(unexplained));
    }
    Ok(())
}

/// The tool, in a folder of its version in the target directory.
fn install() -> Result<PathBuf> {
    let folder = files::target().join(format!("h2spec-{VERSION}"));
    install::by_go(
        "h2spec",
        &format!("github.com/summerwind/h2spec/cmd/h2spec@v{VERSION}+incompatible"),
        &folder,
    )
}

/// A hub for one run of the command; dropping it ends the process.
struct Hub {
    process: Child,
    port: String,
    /// Held open, because a hub that cannot print would have to treat that as an error.
    _stdout: BufReader<ChildStdout>,
}

impl Hub {
    fn start() -> Result<Hub> {
        let mut command = Command::new(build::binary());
        command.args(["serve", "--listen", "127.0.0.1:0"]).stdin(Stdio::null()).stdout(Stdio::piped());
        // They would be its configuration.
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FANFARE_"))
        {
            command.env_remove(name);
        }
        let mut process =
            command.spawn().with_context(|| format!("cannot start {}", build::binary().display()))?;
        let stdout = process.stdout.take().context("the hub's output is not a pipe")?;
        let mut hub = Hub { process, port: String::new(), _stdout: BufReader::new(stdout) };
        let mut line = String::new();
        while hub.port.is_empty() {
            line.clear();
            if hub._stdout.read_line(&mut line)? == 0 {
                bail!("the hub ended with {}", hub.process.wait()?);
            }
            hub.port = port_in(&line).unwrap_or_default().to_owned();
        }
        Ok(hub)
    }

    /// Fails if it has ended by itself.
    fn check(&mut self) -> Result<()> {
        match self.process.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the hub ended with {status} during the tests"),
        }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The port in a line that says where the hub listens.
fn port_in(line: &str) -> Option<&str> {
    let rest = line.split_once("http://127.0.0.1:")?.1;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    (end > 0).then(|| &rest[..end])
}

/// A test of one run.
#[derive(Debug, PartialEq, Eq)]
struct Case {
    test: Test,
    failed: bool,
}

/// All tests against one target.
fn one_run(tool: &Path, port: &str, target: &str) -> Result<Vec<Case>> {
    let report = files::target().join("h2spec.xml");
    let text = report.to_str().context("the target directory has a name that is not UTF-8")?;
    // So that what is read below is of this run.
    let _ = fs::remove_file(&report);
    let args = ["-h", "127.0.0.1", "-p", port, "-P", target, "-j", text];
    // Its exit status says no more than the report.
    let _ = Program::new(tool).args(args).limit(HANG).works();
    let cases = cases_in(&files::read(&report).context("h2spec wrote no report")?)?;
    if cases.is_empty() {
        bail!("h2spec ran no test against {target}");
    }
    Ok(cases)
}

/// The tests in a JUnit report as h2spec writes it.
fn cases_in(report: &str) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for element in report.split("<testcase ").skip(1) {
        let inside = element.split_once("</testcase>").map_or(element, |(inside, _)| inside);
        let attribute = |name: &str| {
            let value = inside.split_once(&format!("{name}=\""))?.1.split_once('"')?.0;
            Some(unescaped(value))
        };
        let (Some(section), Some(title)) = (attribute("package"), attribute("classname")) else {
            bail!("a test case without a name in h2spec's report: {inside:?}");
        };
        let failed = ["<error", "<failure", "<skipped"].iter().any(|tag| inside.contains(tag));
        cases.push(Case { test: (section, title), failed });
    }
    Ok(cases)
}

fn unescaped(text: &str) -> String {
    let entities = [("&#34;", "\""), ("&#39;", "'"), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")];
    entities.iter().fold(text.to_owned(), |text, (entity, plain)| text.replace(entity, plain))
}

/// The tests in the rows of the page's table: ``| `section` | title | why |``.
fn explained(page: &str) -> Result<BTreeSet<Test>> {
    let mut tests = BTreeSet::new();
    for line in page.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let Some(section) = cells.get(1).and_then(|cell| cell.strip_prefix('`')?.strip_suffix('`')) else {
            continue;
        };
        if !["generic/", "hpack/", "http2/"].iter().any(|suite| section.starts_with(suite)) {
            continue;
        }
        match cells[2..] {
            [title, why, ""] if !title.is_empty() && !why.is_empty() => {
                tests.insert((section.to_owned(), title.to_owned()));
            }
            _ => bail!("{EXPLAINED_IN}: a row of section, title and reason is expected: {line}"),
        }
    }
    Ok(tests)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read() {
        let report = r#"<testsuites><testsuite name="a" package="http2/6.1" errors="1">
            <testcase package="http2/6.1" classname="Not in &#34;open&#34; state" time="0.1"></testcase>
            <testcase package="http2/6.1" classname="Late" time="2"><error>Closed</error></testcase>
            </testsuite></testsuites>"#;
        let case = |title: &str, failed| Case { test: ("http2/6.1".to_owned(), title.to_owned()), failed };
        assert_eq!(cases_in(report).unwrap(), [case("Not in \"open\" state", false), case("Late", true)]);
        assert!(cases_in("<testcase time=\"1\"></testcase>").is_err());
        assert_eq!(cases_in("<testsuites></testsuites>").unwrap(), []);
    }

    #[test]
    fn explanations_are_rows_of_the_page() {
        let page =
            "| h2spec | test | why |\n|---|---|---|\n| `http2/3.5` | Sends it | because |\n| `x` | y | z |\n";
        let wanted = BTreeSet::from([("http2/3.5".to_owned(), "Sends it".to_owned())]);
        assert_eq!(explained(page).unwrap(), wanted);
        assert!(explained("| `http2/3.5` | Sends it | |").is_err(), "no reason");
        let real = explained(&files::read(&files::root().join(EXPLAINED_IN)).unwrap()).unwrap();
        assert!(!real.is_empty(), "the page has lost its table");
    }

    #[test]
    fn the_port_is_found() {
        assert_eq!(port_in("fanfare 0.1.0 listening on http://127.0.0.1:4799\n"), Some("4799"));
        assert_eq!(port_in("console: http://127.0.0.1:80/"), Some("80"));
        assert_eq!(port_in("hello"), None);
    }
}
