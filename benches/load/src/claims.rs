//! What the project sets out to show, and what this run says of it.

use std::fmt::Write;

use crate::plan::Scenario;
use crate::report::Results;
use crate::server::Server;

/// A bound on a value.
#[derive(Clone, Copy)]
enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

const CPU: &str = "CPU of the server per delivery";
const SPEED: &str = "deliveries per second";
const MEMORY: &str = "memory of the server per subscriber";
const LAST: &str = "publish to the last subscriber, p99";

/// A table of the goals that the run has figures for, in Markdown; a goal that is missed is there like one that is met.
pub(crate) fn table(all: &[Results]) -> String {
    let of = |scenario: Scenario| all.iter().find(|results| results.scenario == scenario);
    let value = |scenario, server, case, figure| {
        of(scenario)?.spread(server, case, figure).map(|spread| spread.median)
    };
    let ratio = |scenario, figure, to| {
        Some(value(scenario, Server::Fanfare, 0, figure)? / value(scenario, to, 0, figure)?)
    };
    let to_floor = |server| {
        let one = |server| value(Scenario::Paced, server, 0, CPU);
        Some(one(server)? / one(Server::Floor)?)
    };
    let stuck = |figure| {
        let one = |case| value(Scenario::Slow, Server::Fanfare, case, figure);
        Some(one(1)? / one(0)?)
    };
    let handed_over =
        |host, itself| Some(value(Scenario::Paced, host, 0, CPU)? / value(Scenario::Paced, itself, 0, CPU)?);
    // To the faster of the peers, with the same promise.
    let stored = |case, ours, peers: [Server; 2]| {
        let speed = |server| value(Scenario::Durable, server, case, "events stored per second");
        Some(speed(ours)? / peers.into_iter().filter_map(speed).reduce(f64::max)?)
    };
    let always = |case, ours| stored(case, ours, [Server::RedisAlways, Server::NatsAlways]);
    let as_it_comes = |case, ours| stored(case, ours, [Server::Redis, Server::Nats]);
    let (inside, inside_always) = (Server::Embedded, Server::EmbeddedAlways);
    let (over_http, over_http_always) = (Server::FanfareStore, Server::FanfareAlways);
    let lines: [(&str, Option<f64>, Goal); 26] = [
        (
            "paced: CPU per delivery with history on disk, to that without",
            Some(1.0 / ratio(Scenario::Paced, CPU, Server::FanfareStore).unwrap_or(f64::NAN)),
            Goal::AtMost(1.10),
        ),
        (
            "durable, 1 publisher in process, synced: to the faster of Redis and NATS",
            always(0, inside_always),
            Goal::AtLeast(1.0),
        ),
        ("durable, 16 publishers in process, synced", always(1, inside_always), Goal::AtLeast(1.0)),
        ("durable, 256 publishers in process, synced", always(2, inside_always), Goal::AtLeast(1.0)),
        ("durable, 1 publisher in process, as it comes", as_it_comes(0, inside), Goal::AtLeast(1.0)),
        ("durable, 16 publishers in process, as it comes", as_it_comes(1, inside), Goal::AtLeast(1.0)),
        ("durable, 256 publishers in process, as it comes", as_it_comes(2, inside), Goal::AtLeast(1.0)),
        ("durable, 1 publisher over HTTP, synced", always(0, over_http_always), Goal::AtLeast(1.0)),
        ("durable, 16 publishers over HTTP, synced", always(1, over_http_always), Goal::AtLeast(1.0)),
        ("durable, 256 publishers over HTTP, synced", always(2, over_http_always), Goal::AtLeast(1.0)),
        ("durable, 1 publisher over HTTP, as it comes", as_it_comes(0, over_http), Goal::AtLeast(1.0)),
        ("durable, 16 publishers over HTTP, as it comes", as_it_comes(1, over_http), Goal::AtLeast(1.0)),
        ("durable, 256 publishers over HTTP, as it comes", as_it_comes(2, over_http), Goal::AtLeast(1.0)),
        (
            "paced: CPU per delivery of Express that hands its sockets over, to Express that writes",
            handed_over(Server::ExpressFanfare, Server::Express),
            Goal::AtMost(0.5),
        ),
        (
            "paced: CPU per delivery of Starlette that hands its sockets over, to Starlette that writes",
            handed_over(Server::StarletteFanfare, Server::Starlette),
            Goal::AtMost(0.5),
        ),
        ("paced: CPU per delivery, to the floor's", to_floor(Server::Fanfare), Goal::AtMost(1.10)),
        (
            "paced: the same with `lanes.io_uring`, which is off by default",
            to_floor(Server::FanfareUring),
            Goal::AtMost(1.0),
        ),
        (
            "burst: deliveries per second, to axum's",
            ratio(Scenario::Burst, SPEED, Server::Axum),
            Goal::AtLeast(20.0),
        ),
        (
            "burst: deliveries per second, to nchan's",
            ratio(Scenario::Burst, SPEED, Server::Nchan),
            Goal::AtLeast(50.0),
        ),
        (
            "idle: bytes per subscriber",
            value(Scenario::Idle, Server::Fanfare, 0, MEMORY),
            Goal::AtMost(512.0),
        ),
        (
            "latency: p99 to the last subscriber, to the floor's",
            ratio(Scenario::Latency, LAST, Server::Floor),
            Goal::AtMost(1.3),
        ),
        (
            "growth, publisher in process: CPU per delivery to the floor's, at the number of subscribers where it is worst",
            of(Scenario::Growth).and_then(|results| worst(results, Server::EmbeddedMemory)),
            Goal::AtMost(1.15),
        ),
        (
            "growth, publisher over HTTP: the same",
            of(Scenario::Growth).and_then(|results| worst(results, Server::Fanfare)),
            Goal::AtMost(1.15),
        ),
        ("slow: CPU per delivery with stuck readers, to that without", stuck(CPU), Goal::AtMost(1.05)),
        ("slow: p99 to the last reader, with to without", stuck(LAST), Goal::AtMost(1.05)),
        (
            "slow: p50 to the last reader, with to without",
            stuck("publish to the last subscriber, p50"),
            Goal::AtMost(1.05),
        ),
    ];
    let mut text = "## What it sets out to show\n\n| | goal | this run | |\n|---|---:|---:|---|\n".to_owned();
    let head = text.len();
    for (name, value, goal) in lines {
        let Some(value) = value.filter(|value| value.is_finite()) else { continue };
        let (bound, met) = match goal {
            Goal::AtMost(most) => (format!("at most {most}"), value <= most),
            Goal::AtLeast(least) => (format!("at least {least}"), value >= least),
        };
        let met = if met { "met" } else { "missed" };
        let _ = writeln!(text, "| {name} | {bound} | {value:.2} | {met} |");
    }
    if text.len() == head {
        return String::new();
    }
    text.push('\n');
    text
}

/// The cost of a delivery as a ratio to the floor's, over the numbers of subscribers the most: what grows with them for the floor is the kernel's.
fn worst(results: &Results, server: Server) -> Option<f64> {
    let ratio = |case| {
        let one = |server| results.spread(server, case, CPU).map(|spread| spread.median);
        Some(one(server)? / one(Server::Floor)?)
    };
    (0..results.cases.len()).filter_map(ratio).reduce(f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::Figure;
    use crate::plan::{Act, Case};
    use crate::report::Run;

    fn paced(fanfare: f64, floor: f64) -> Results {
        let run = |server, value| Run { server, case: 0, figures: vec![Figure::new(CPU, "us", value)] };
        let case = Case { label: String::new(), subscribers: 1, size: 10, act: Act::Idle };
        Results {
            scenario: Scenario::Paced,
            cases: vec![case],
            servers: vec![Server::Fanfare, Server::Floor],
            runs: vec![run(Server::Fanfare, fanfare), run(Server::Floor, floor)],
        }
    }

    #[test]
    fn a_missed_goal_is_said() {
        assert!(table(&[paced(1.2, 1.0)]).contains("| 1.20 | missed |"));
        assert!(table(&[paced(1.1, 1.0)]).contains("| 1.10 | met |"));
        assert_eq!(table(&[]), "");
    }
}
