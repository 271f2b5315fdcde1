//! Results as tables: medians, spread, and ratios to the first server.

use std::fmt::Write;

use crate::figure::{Figure, Spread};
use crate::plan::{Case, Scenario};
use crate::server::Server;

/// All runs of one scenario.
pub(crate) struct Results {
    pub(crate) scenario: Scenario,
    pub(crate) cases: Vec<Case>,
    pub(crate) servers: Vec<Server>,
    pub(crate) runs: Vec<Run>,
}

/// One run.
pub(crate) struct Run {
    pub(crate) server: Server,
    /// Index of its case.
    pub(crate) case: usize,
    /// None if a peer's readers missed events.
    pub(crate) figures: Vec<Figure>,
}

impl Results {
    /// Names and units of what was measured, in order.
    pub(crate) fn figures(&self) -> Vec<(&'static str, &'static str)> {
        let complete = self.runs.iter().find(|run| !run.figures.is_empty());
        let figures = complete.map_or(&[][..], |run| &run.figures);
        figures.iter().map(|figure| (figure.name, figure.unit)).collect()
    }

    /// One figure of a case on a server.
    pub(crate) fn spread(&self, server: Server, case: usize, figure: &str) -> Option<Spread> {
        let runs = self.runs.iter().filter(|run| run.server == server && run.case == case);
        let values = runs.flat_map(|run| &run.figures).filter(|one| one.name == figure);
        Spread::of(values.map(|one| one.value).collect())
    }

    /// A server's name, and in how many of its runs events were missed.
    fn name(&self, server: Server, case: usize) -> String {
        let of = || self.runs.iter().filter(move |run| run.server == server && run.case == case);
        match of().filter(|run| run.figures.is_empty()).count() {
            0 => server.name(),
            lost => format!("{}: events lost in {lost} of {} runs", server.name(), of().count()),
        }
    }

    /// A table for each figure, in Markdown.
    pub(crate) fn tables(&self) -> String {
        let mut text = String::new();
        for (name, unit) in self.figures() {
            let unit = if unit.is_empty() { String::new() } else { format!(", {unit}") };
            let first = self.servers.first().map_or_else(String::new, |server| server.name());
            let many = self.cases.len() > 1;
            let case = if many { "| case " } else { "" };
            let rule = if many { "|---" } else { "" };
            let _ = writeln!(text, "{case}| server | {name}{unit} | least | most | ratio to {first} |");
            let _ = writeln!(text, "{rule}|---|---:|---:|---:|---:|");
            for (at, case) in self.cases.iter().enumerate() {
                let mut base = None;
                for server in &self.servers {
                    let spread = self.spread(*server, at, name);
                    let label = self.name(*server, at);
                    // Not measured, and nothing to say why.
                    if spread.is_none() && label == server.name() {
                        continue;
                    }
                    if many {
                        let _ = write!(text, "| {} ", case.label);
                    }
                    let Some(spread) = spread else {
                        let _ = writeln!(text, "| {label} | - | - | - | - |");
                        continue;
                    };
                    let base = *base.get_or_insert(spread.median);
                    let _ = writeln!(
                        text,
                        "| {label} | {} | {} | {} | {} |",
                        show(spread.median),
                        show(spread.least),
                        show(spread.most),
                        ratio(spread.median, base)
                    );
                }
            }
            text.push('\n');
        }
        text
    }
}

/// A ratio; the clock of CPU ticks in hundredths, so that a short run may have used none.
fn ratio(value: f64, base: f64) -> String {
    if base > 0.0 { format!("{:.2}", value / base) } else { "-".to_owned() }
}

/// Three digits that matter, thousands apart.
pub(crate) fn show(value: f64) -> String {
    match value.abs() {
        v if v >= 1e6 => format!("{:.2} M", value / 1e6),
        v if v >= 1e4 => format!("{:.1} k", value / 1e3),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Act;

    #[test]
    fn a_table_has_medians_and_ratios() {
        let run = |server, value| Run { server, case: 0, figures: vec![Figure::new("time", "us", value)] };
        let mut results = Results {
            scenario: Scenario::Burst,
            cases: vec![Case {
                label: String::new(),
                subscribers: 1,
                size: 10,
                act: Act::Burst { events: 1 },
            }],
            servers: vec![Server::Fanfare, Server::Floor],
            runs: vec![
                run(Server::Fanfare, 2.0),
                run(Server::Floor, 1.0),
                run(Server::Fanfare, 4.0),
                run(Server::Fanfare, 3.0),
            ],
        };
        assert_eq!(
            results.tables(),
            "| server | time, us | least | most | ratio to fanfare |\n|---|---:|---:|---:|---:|\n\
             | fanfare | 3.00 | 2.00 | 4.00 | 1.00 |\n| floor | 1.00 | 1.00 | 1.00 | 0.33 |\n\n"
        );
        results.servers.push(Server::Axum);
        results.runs.push(Run { server: Server::Axum, case: 0, figures: Vec::new() });
        assert!(results.tables().ends_with("| axum: events lost in 1 of 1 runs | - | - | - | - |\n\n"));
        results.runs.push(run(Server::Axum, 6.0));
        assert!(
            results
                .tables()
                .ends_with("| axum: events lost in 1 of 2 runs | 6.00 | 6.00 | 6.00 | 2.00 |\n\n")
        );
        assert_eq!(
            (show(24_600_000.0), show(12_345.0), show(0.5)),
            ("24.60 M".into(), "12.3 k".into(), "0.50".into())
        );
    }
}
