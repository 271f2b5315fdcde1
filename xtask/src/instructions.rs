//! Instructions that the parts of an event's way take, counted under callgrind and held against a table in the repository.
//!
//! Unlike times, the counts hardly depend on what else the machine does, so they can be refused. They do depend on the
//! compiler, and a little on the processor: a new toolchain may need the table written anew.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::files;
use crate::run::{Program, say};

/// Counts by part, as they were when somebody last looked at them.
const TABLE: &str = "benches/parts/instructions.txt";

/// What the table begins with.
const TABLE_HEAD: &str = "# Instructions of one round of each part of benches/parts/src/bin/instructions.rs.\n\
                          # Written by `cargo xtask instructions`; `cargo xtask ci` refuses 5 % more.\n";

/// Rounds of the two runs whose difference is taken: what starting costs is the same in both.
const ROUNDS: [u64; 2] = [200, 700];

/// Each part is counted so often, and the least counts: threads may sleep and wake once more, not once less.
const REPEATS: usize = 2;

/// A part may take so many hundredths more than the table says.
const TOLERANCE: u64 = 5;

/// A part and the instructions of one round.
type Count = (String, u64);

/// Counts, and writes the table anew.
pub(crate) fn write() -> Result<()> {
    let counts = count()?;
    let lines: Vec<String> = counts.iter().map(|(part, count)| format!("{part} {count}\n")).collect();
    let path = files::root().join(TABLE);
    fs::write(&path, format!("{TABLE_HEAD}{}", lines.concat()))
        .with_context(|| format!("cannot write {}", path.display()))?;
    say(&format!("    {TABLE}: written"));
    Ok(())
}

/// Counts, and fails where a part takes more than the table allows.
pub(crate) fn check() -> Result<()> {
    let table = parse(&files::read(&files::root().join(TABLE))?)?;
    let counts = count()?;
    let complaints = compare(&table, &counts);
    if !complaints.is_empty() {
        bail!(
            "{}\nIf it has to be so, or the compiler is another one: `cargo xtask instructions` writes {TABLE} anew",
            complaints.join("\n")
        );
    }
    Ok(())
}

fn count() -> Result<Vec<Count>> {
    Program::cargo()
        .args(["build", "--locked", "--release", "-p", "fanfare-parts", "--bin", "instructions"])
        .run()?;
    let program = files::target().join("release/instructions");
    let parts = Program::new(&program).output()?;
    let mut counts = Vec::new();
    for part in parts.lines() {
        let mut least = u64::MAX;
        for _ in 0..REPEATS {
            let [few, many] = ROUNDS.map(|rounds| run(&program, part, rounds));
            least = least.min(many?.saturating_sub(few?) / (ROUNDS[1] - ROUNDS[0]));
        }
        say(&format!("    {part:<16} {least:>8} instructions"));
        counts.push((part.to_owned(), least));
    }
    if counts.is_empty() {
        bail!("{} lists no parts", program.display());
    }
    Ok(counts)
}

/// The instructions of one whole process.
fn run(program: &Path, part: &str, rounds: u64) -> Result<u64> {
    let folder = files::target().join("instructions");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let report = folder.join(part);
    let mut out = std::ffi::OsString::from("--callgrind-out-file=");
    out.push(&report);
    Program::new("valgrind")
        .args(["-q", "--tool=callgrind"])
        .args([out.as_os_str(), program.as_os_str()])
        .args([part, &rounds.to_string()])
        .output()?;
    sum_in(&files::read(&report)?)
}

/// The sum over all threads in a report of callgrind.
fn sum_in(report: &str) -> Result<u64> {
    let sums = report.lines().filter_map(|line| line.strip_prefix("totals: ")?.trim().parse::<u64>().ok());
    sums.reduce(|a, b| a + b).context("callgrind's report has no totals")
}

fn parse(table: &str) -> Result<Vec<Count>> {
    let lines = table.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (part, count) = line.split_once(' ').with_context(|| format!("{TABLE}: {line:?}"))?;
            let count = count.parse().with_context(|| format!("{TABLE}: {line:?}"))?;
            Ok((part.to_owned(), count))
        })
        .collect()
}

/// What is wrong with `counts`, one line each.
fn compare(table: &[Count], counts: &[Count]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (part, count) in counts {
        match table.iter().find(|(known, _)| known == part) {
            None => complaints.push(format!("{part} is not in {TABLE}")),
            Some((_, allowed)) if count * 100 > allowed * (100 + TOLERANCE) => {
                complaints.push(format!("{part} takes {count} instructions, {TABLE} says {allowed}"));
            }
            Some((_, allowed)) if count * (100 + TOLERANCE) < allowed * 100 => {
                say(&format!("    {part} has become cheaper, {allowed} before: write the table anew"));
            }
            Some(_) => {}
        }
    }
    for (part, _) in table {
        if !counts.iter().any(|(known, _)| known == part) {
            complaints.push(format!("{TABLE} has {part}, which is no part any more"));
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(list: &[(&str, u64)]) -> Vec<Count> {
        list.iter().map(|(part, count)| ((*part).to_owned(), *count)).collect()
    }

    #[test]
    fn five_hundredths_more_pass_and_six_do_not() {
        let table = counts(&[("encode", 200), ("append", 2000)]);
        assert!(compare(&table, &counts(&[("encode", 210), ("append", 1000)])).is_empty());
        let complaints = compare(&table, &counts(&[("encode", 212), ("append", 2000)]));
        assert_eq!(complaints.len(), 1);
        assert!(complaints[0].contains("encode takes 212"), "{complaints:?}");
    }

    #[test]
    fn parts_and_table_are_the_same_parts() {
        let complaints = compare(&counts(&[("old", 1)]), &counts(&[("new", 1)]));
        assert_eq!(complaints.len(), 2, "{complaints:?}");
    }

    #[test]
    fn table_and_report_are_read() {
        assert_eq!(parse("# text\na 12\nb 3\n").unwrap(), counts(&[("a", 12), ("b", 3)]));
        assert!(parse("a twelve\n").is_err());
        assert_eq!(sum_in("events: Ir\ntotals: 12\n").unwrap(), 12);
        assert!(sum_in("events: Ir\n").is_err());
        assert!(!parse(&files::read(&files::root().join(TABLE)).unwrap()).unwrap().is_empty());
    }
}
