//! What the first page says of a run, in one paragraph. `cargo xtask bench` copies it there.

use crate::plan::Scenario;
use crate::report::Results;
use crate::server::Server;

/// Its file, beside the results.
pub(crate) const FILE: &str = "summary.md";

/// The paragraph; `None` if the run lacks one of its figures.
pub(crate) fn paragraph(machine: &[(&'static str, String)], all: &[Results]) -> Option<String> {
    let about = |wanted| machine.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value);
    let value = |scenario: Scenario, server, figure| {
        let results = all.iter().find(|results| results.scenario == scenario)?;
        results.spread(server, 0, figure).map(|spread| spread.median)
    };
    let ratio =
        |scenario, figure, to| Some(value(scenario, Server::Fanfare, figure)? / value(scenario, to, figure)?);
    let subscribers = |scenario: Scenario| {
        all.iter().find(|results| results.scenario == scenario).map(|results| results.cases[0].subscribers)
    };
    let (speed, cpu, memory) =
        ("deliveries per second", "CPU of the server per delivery", "memory of the server per subscriber");
    let last = "publish to the last subscriber, p99";
    Some(format!(
        "On {cores} cores, which subscribers and publisher share, {many} subscribers take {burst:.1} million events a second in a burst: \
         {to_axum:.0} times what axum\nwith a tokio broadcast channel delivers, {to_nchan:.0} times nchan. One by one, a delivery costs \
         {to_floor:.2} of the CPU of a bare `send` loop ({axum_paced:.2} of axum's), and\nthe last of them has it after {to_floor_last:.2} of \
         that loop's time (p99). Each of {idle} idle subscribers holds {bytes:.0} bytes (axum {axum_bytes:.0}).\nMedians of one run on \
         {day}: [results](docs/performance/results.md), with what is missed as well.\n",
        cores = about("cores")?,
        many = thousands(subscribers(Scenario::Burst)?),
        burst = value(Scenario::Burst, Server::Fanfare, speed)? / 1e6,
        to_axum = ratio(Scenario::Burst, speed, Server::Axum)?,
        to_nchan = ratio(Scenario::Burst, speed, Server::Nchan)?,
        to_floor = ratio(Scenario::Paced, cpu, Server::Floor)?,
        axum_paced = ratio(Scenario::Paced, cpu, Server::Axum)?,
        to_floor_last = ratio(Scenario::Latency, last, Server::Floor)?,
        idle = thousands(subscribers(Scenario::Idle)?),
        bytes = value(Scenario::Idle, Server::Fanfare, memory)?,
        axum_bytes = value(Scenario::Idle, Server::Axum, memory)?,
        day = about("day")?,
    ))
}

/// `15,000`.
fn thousands(number: usize) -> String {
    match number {
        0..1000 => number.to_string(),
        _ => format!("{},{:03}", number / 1000, number % 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::Figure;
    use crate::plan::{Act, Case};
    use crate::report::Run;

    fn results(scenario: Scenario, figure: &'static str, of: &[(Server, f64)]) -> Results {
        let run = |(server, value): &(Server, f64)| Run {
            server: *server,
            case: 0,
            figures: vec![Figure::new(figure, "", *value)],
        };
        let case = Case { label: String::new(), subscribers: 15_000, size: 10, act: Act::Idle };
        Results {
            scenario,
            cases: vec![case],
            servers: of.iter().map(|(server, _)| *server).collect(),
            runs: of.iter().map(run).collect(),
        }
    }

    #[test]
    fn a_run_with_every_figure_has_a_paragraph() {
        let machine = [("cores", "2".to_owned()), ("day", "2026-01-02".to_owned())];
        let (us, axum, floor) = (Server::Fanfare, Server::Axum, Server::Floor);
        let all = [
            results(
                Scenario::Burst,
                "deliveries per second",
                &[(us, 24e6), (axum, 2e6), (Server::Nchan, 1e5)],
            ),
            results(
                Scenario::Paced,
                "CPU of the server per delivery",
                &[(us, 4.5), (floor, 5.0), (axum, 9.0)],
            ),
            results(Scenario::Latency, "publish to the last subscriber, p99", &[(us, 8.0), (floor, 10.0)]),
            results(Scenario::Idle, "memory of the server per subscriber", &[(us, 216.0), (axum, 20_000.0)]),
        ];
        let text = paragraph(&machine, &all).unwrap();
        for part in [
            "On 2 cores",
            "15,000 subscribers take 24.0 million",
            "12 times",
            "240 times nchan",
            "0.90 of the CPU",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(text.contains("0.80 of that loop's time") || text.contains("0.80 of \nthat"), "{text}");
        assert!(text.contains("holds 216 bytes (axum 20000)") && text.contains("2026-01-02"), "{text}");
        assert_eq!(paragraph(&machine, &all[1..]), None);
    }
}
