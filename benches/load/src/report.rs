//! Medians and ratios.

use crate::scenario::{Figures, Scenario};
use crate::server::Server;

/// Prints a table in Markdown: one line a server, and each figure as a ratio to the first server's.
pub(crate) fn print(
    scenario: &Scenario,
    subscribers: usize,
    size: usize,
    servers: &[Server],
    results: &[(Server, Figures)],
) {
    let (name, unit, figure): (&str, &str, fn(&Figures, usize) -> f64) = match scenario {
        Scenario::Burst { .. } => ("deliveries per second", "", |f, _| f.deliveries as f64 / f.seconds),
        Scenario::Paced { .. } => {
            ("CPU of the server per delivery", " us", |f, _| f.cpu * 1e6 / f.deliveries as f64)
        }
        Scenario::Idle => {
            ("memory of the server per subscriber", " B", |f, subscribers| f.memory / subscribers as f64)
        }
    };
    println!("{scenario:?}, {subscribers} subscribers, {size} B\n");
    println!("| server | {name} (median) | least | most | ratio to {:?} |", servers[0]);
    println!("|---|---:|---:|---:|---:|");
    let mut first = None;
    for server in servers {
        let mut values: Vec<f64> =
            results.iter().filter(|(of, _)| of == server).map(|(_, f)| figure(f, subscribers)).collect();
        values.sort_by(f64::total_cmp);
        let (least, median, most) = (values[0], values[values.len() / 2], values[values.len() - 1]);
        let first = *first.get_or_insert(median);
        println!(
            "| {server:?} | {} | {} | {} | {:.2} |",
            show(median, unit),
            show(least, unit),
            show(most, unit),
            median / first
        );
    }
}

fn show(value: f64, unit: &str) -> String {
    if value >= 100.0 { format!("{value:.0}{unit}") } else { format!("{value:.2}{unit}") }
}
