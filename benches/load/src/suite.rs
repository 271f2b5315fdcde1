//! The sets of scenarios that make a report.

use clap::ValueEnum;

use crate::plan::{Amounts, Scenario};
use crate::server::Server;

/// How much is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Extent {
    /// As little as it takes to see that every scenario works with every server: its figures mean nothing.
    Smoke,
    /// About ten minutes.
    Short,
    /// All: about an hour.
    Full,
}

/// One scenario of a set.
pub(crate) struct Entry {
    pub(crate) scenario: Scenario,
    pub(crate) amounts: Amounts,
    pub(crate) servers: Vec<Server>,
    pub(crate) runs: usize,
}

/// What a user would pick instead.
const PEERS: &[Server] =
    &[Server::Axum, Server::Nchan, Server::Express, Server::BetterSse, Server::Starlette];
const FLOORS: &[Server] = &[Server::Floor, Server::FloorUring];
/// What Fanfare can do beside plain `send`.
const OTHERS: &[Server] =
    &[Server::FanfareUring, Server::FanfareH2, Server::FanfareTls, Server::FanfareH2Tls];

/// Web servers that hand their sockets over to a Fanfare inside, beside those that write themselves.
const HOSTS: &[Server] = &[Server::ExpressFanfare, Server::StarletteFanfare];

/// The set of that extent, in the order of the report.
pub(crate) fn entries(extent: Extent) -> Vec<Entry> {
    let scenarios: &[Scenario] = match extent {
        Extent::Short => &[
            Scenario::Burst,
            Scenario::Paced,
            Scenario::Idle,
            Scenario::Latency,
            Scenario::PingPong,
            Scenario::Slow,
            Scenario::Growth,
            Scenario::Durable,
        ],
        Extent::Smoke | Extent::Full => Scenario::value_variants(),
    };
    let entry = |scenario: &Scenario| Entry {
        scenario: *scenario,
        amounts: amounts(*scenario, extent),
        servers: servers(*scenario, extent),
        runs: match extent {
            Extent::Smoke => 1,
            // Its goal is less than what runs differ by.
            Extent::Full if *scenario == Scenario::Slow => 5,
            Extent::Full => 3,
            Extent::Short => match scenario {
                // Memory differs by two hundredths from run to run.
                Scenario::Idle => 1,
                Scenario::Burst | Scenario::Slow | Scenario::Durable => 2,
                _ => 3,
            },
        },
    };
    scenarios.iter().map(entry).collect()
}

/// What keeps events on disk.
const STORES: &[Server] = &[
    Server::FanfareAlways,
    Server::EmbeddedAlways,
    Server::RedisAlways,
    Server::NatsAlways,
    Server::FanfareStore,
    Server::Embedded,
    Server::Redis,
    Server::Nats,
];

/// Fanfare first: it is what the others are compared with.
fn servers(scenario: Scenario, extent: Extent) -> Vec<Server> {
    if scenario == Scenario::Durable {
        return STORES.to_vec();
    }
    if scenario == Scenario::Topics {
        return vec![Server::EmbeddedMemory, Server::EmbeddedUring, Server::Floor, Server::FloorUring];
    }
    let fast = [Server::Axum, Server::Nchan];
    let others: Vec<&[Server]> = match (scenario, extent) {
        (_, Extent::Smoke) => {
            vec![OTHERS, &[Server::EmbeddedMemory, Server::EmbeddedUring], FLOORS, PEERS, HOSTS]
        }
        // Starlette's bursts take as long as all others' together: they are in the full set.
        (Scenario::Burst, Extent::Short) => {
            vec![FLOORS, &[Server::Axum, Server::Nchan, Server::Express, Server::BetterSse]]
        }
        (Scenario::Latency, Extent::Short) => vec![&[Server::FanfareUring, Server::Floor], &fast],
        (Scenario::Slow, Extent::Short) => vec![],
        (Scenario::Growth, Extent::Short) => vec![&[Server::EmbeddedMemory, Server::Floor]],
        (Scenario::Growth, _) => vec![&[Server::EmbeddedMemory], FLOORS, &fast],
        (Scenario::Sizes, _) => vec![OTHERS, FLOORS, &fast],
        (Scenario::Burst | Scenario::Paced | Scenario::Idle | Scenario::Latency, Extent::Full) => {
            vec![&[Server::FanfareStore], OTHERS, FLOORS, PEERS, HOSTS]
        }
        (Scenario::Paced, Extent::Short) => {
            vec![&[Server::FanfareUring, Server::FanfareStore], FLOORS, PEERS, HOSTS]
        }
        _ => vec![FLOORS, PEERS],
    };
    let all = [Server::Fanfare].into_iter().chain(others.into_iter().flatten().copied());
    all.filter(|server| scenario.suits(*server)).collect()
}

fn amounts(scenario: Scenario, extent: Extent) -> Amounts {
    let small = Amounts {
        subscribers: 50,
        size: 100,
        events: 100,
        rate: 50,
        seconds: 1,
        deliveries: 2000,
        counts: vec![10, 100],
        sizes: vec![10, 65536],
        publishers: vec![1, 8],
    };
    let large = Amounts {
        subscribers: 1000,
        events: 1000,
        seconds: 5,
        deliveries: 200_000,
        counts: vec![10, 100, 1000, 5000, 15000],
        sizes: vec![10, 100, 1024, 8192, 65536],
        publishers: vec![1, 8, 64],
        ..small.clone()
    };
    match (scenario, extent) {
        (_, Extent::Smoke) => small,
        (Scenario::Durable, _) => Amounts {
            publishers: vec![1, 16, 256],
            seconds: if extent == Extent::Full { 3 } else { 1 },
            ..large
        },
        (Scenario::Growth, Extent::Short) => {
            Amounts { deliveries: 100_000, counts: vec![10, 1000, 15000], ..large }
        }
        (Scenario::Idle, _) => Amounts { subscribers: 15000, ..large },
        // Of short runs there are many more, and other servers' between them.
        (Scenario::Paced, Extent::Short) => Amounts { seconds: 1, ..large },
        (Scenario::Latency, Extent::Full) => Amounts { seconds: 10, ..large },
        (Scenario::Latency, Extent::Short) => Amounts { seconds: 4, ..large },
        (Scenario::PingPong, Extent::Short) => Amounts { events: 2000, ..large },
        (Scenario::PingPong, Extent::Full) => Amounts { events: 10_000, ..large },
        // Of short runs there are more, and the two cases alternate: the speed of a machine changes within a minute.
        (Scenario::Slow, _) => Amounts { size: 4096, rate: 25, seconds: 2, ..large },
        (Scenario::Storm, Extent::Full) => Amounts { subscribers: 5000, ..large },
        (Scenario::Publishers, Extent::Full) => Amounts { subscribers: 100, events: 6400, ..large },
        (Scenario::Sizes, Extent::Full) => Amounts { subscribers: 200, ..large },
        (_, Extent::Short | Extent::Full) => large,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_can_be_planned_and_starts_with_fanfare() {
        for extent in Extent::value_variants() {
            for entry in entries(*extent) {
                assert!(
                    entry.servers.first().is_some_and(|server| server.is_fanfare() || server.is_embedded())
                );
                assert!(entry.servers.iter().all(|server| entry.scenario.suits(*server)));
                assert!(!entry.scenario.cases(&entry.amounts).unwrap().is_empty());
            }
        }
        assert_eq!(entries(Extent::Full).len(), Scenario::value_variants().len());
    }
}
