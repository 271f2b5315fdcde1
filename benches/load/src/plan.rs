//! Scenarios as data: what is done to a server, in which cases.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::server::{DIGITS, Server};

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub(crate) enum Scenario {
    /// Events back to back: deliveries per second.
    Burst,
    /// Events at a steady rate: CPU of the server per delivery.
    Paced,
    /// Nothing: memory of the server per subscriber.
    Idle,
    /// Events at a steady rate, by plan: time to the median and to the last subscriber.
    Latency,
    /// One subscriber, one event at a time: the time from publish to delivery.
    PingPong,
    /// A part of the subscribers never reads: what the others notice.
    Slow,
    /// All subscribers are cut, and come back for what they missed.
    Storm,
    /// Many publishers at once, one event a request.
    Publishers,
    /// Publishers who wait until their event is on disk, or with the server that will put it there.
    Durable,
    /// From few to many subscribers at the same number of deliveries: CPU per delivery.
    Growth,
    /// From small to large events.
    Sizes,
    /// Each subscriber reads a topic of its own, and all topics get an event at once, at a steady rate: CPU per delivery.
    Topics,
}

/// How much of it: each scenario uses what it needs.
#[derive(Clone, Debug)]
pub(crate) struct Amounts {
    pub(crate) subscribers: usize,
    /// Bytes of an event's data.
    pub(crate) size: usize,
    /// Events in all, of a burst, of ping-pong, of all publishers.
    pub(crate) events: usize,
    /// Events a second.
    pub(crate) rate: u32,
    /// Seconds of a run at a rate.
    pub(crate) seconds: u32,
    /// Deliveries of a run that grows.
    pub(crate) deliveries: usize,
    /// Subscribers of a run that grows.
    pub(crate) counts: Vec<usize>,
    /// Sizes, in bytes.
    pub(crate) sizes: Vec<usize>,
    /// Publishers at once.
    pub(crate) publishers: Vec<usize>,
}

/// One case of a scenario.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// What sets it apart from the others of its scenario; empty if it is the only one.
    pub(crate) label: String,
    pub(crate) subscribers: usize,
    pub(crate) size: usize,
    pub(crate) act: Act,
}

/// What one run does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    Idle,
    /// Back to back.
    Burst {
        events: usize,
    },
    /// At a rate, by plan; with `times`, when they arrive.
    Paced {
        events: usize,
        gap: Duration,
        times: bool,
        /// Further readers that never read. If that is compared with none, the run begins by filling their sockets, and without
        /// them with the same publishes.
        stuck: Option<usize>,
    },
    /// At a rate, to a topic of each subscriber's own.
    Topics {
        /// Of each topic.
        events: usize,
        gap: Duration,
    },
    PingPong {
        events: usize,
    },
    Storm {
        /// Events that everybody missed.
        missed: usize,
    },
    Publishers {
        publishers: usize,
        events: usize,
    },
    /// Nobody subscribes.
    Durable {
        publishers: usize,
        time: Duration,
    },
}

/// Deliveries a second while the number of subscribers grows: about a fifth of what one core sends.
const GROWTH_RATE: usize = 40_000;
/// Bytes of a burst of large events; it has to fit the history and channels of every server.
const SIZES_BYTES: usize = 6 << 20;
/// Events that a storm has missed; below every server's history.
const STORM_MISSED: usize = 100;

impl Scenario {
    /// The cases with these amounts.
    ///
    /// # Errors
    /// An amount is zero, or events are too small to carry their number.
    pub(crate) fn cases(self, amounts: &Amounts) -> Result<Vec<Case>> {
        let Amounts { subscribers, size, events, rate, seconds, .. } = *amounts;
        if subscribers == 0 || events == 0 || rate == 0 || seconds == 0 || amounts.deliveries == 0 {
            bail!("subscribers, events, rate, seconds and deliveries must be at least 1");
        }
        if let Some(small) = amounts.sizes.iter().chain([&size]).find(|size| **size < DIGITS) {
            bail!("events of {small} bytes cannot carry their number of {DIGITS} digits");
        }
        let at_rate = |times, stuck| Act::Paced {
            events: rate as usize * seconds as usize,
            gap: Duration::from_secs(1) / rate,
            times,
            stuck,
        };
        let case = |label: String, act| Case { label, subscribers, size, act };
        let one = |act| vec![case(String::new(), act)];
        Ok(match self {
            Self::Idle => one(Act::Idle),
            Self::Burst => one(Act::Burst { events }),
            Self::Paced => one(at_rate(false, None)),
            Self::Latency => one(at_rate(true, None)),
            Self::PingPong => vec![Case { subscribers: 1, ..case(String::new(), Act::PingPong { events }) }],
            Self::Slow => vec![
                case("all read".to_owned(), at_rate(true, Some(0))),
                case("10 % more never read".to_owned(), at_rate(true, Some(subscribers.div_ceil(10)))),
            ],
            Self::Storm => one(Act::Storm { missed: STORM_MISSED }),
            Self::Publishers => {
                let act = |publishers| Act::Publishers { publishers, events };
                amounts.publishers.iter().map(|n| case(format!("{n} publishers"), act(*n))).collect()
            }
            Self::Durable => {
                let time = Duration::from_secs(seconds.into());
                let act = |publishers| Act::Durable { publishers, time };
                amounts.publishers.iter().map(|n| case(format!("{n} publishers"), act(*n))).collect()
            }
            Self::Growth => amounts.counts.iter().map(|count| growth(*count, amounts)).collect(),
            Self::Topics => one(Act::Topics {
                events: rate as usize * seconds as usize,
                gap: Duration::from_secs(1) / rate,
            }),
            Self::Sizes => {
                let act = |size: usize| Act::Burst { events: (SIZES_BYTES / size).clamp(1, 1000) };
                let case = |size: &usize| Case { size: *size, ..case(bytes(*size), act(*size)) };
                amounts.sizes.iter().map(case).collect()
            }
        })
    }

    /// Runs of a server in each round: of what goals are set for, where one run says little because it is over in a moment or
    /// because it differs from the next by as much as the goal allows.
    pub(crate) fn repeats(self, server: Server) -> usize {
        match (self, server) {
            (Self::Burst, Server::Fanfare | Server::Axum) => 8,
            (Self::Slow, Server::Fanfare) => 6,
            (Self::Paced, Server::Fanfare | Server::FanfareUring | Server::FanfareStore | Server::Floor) => 4,
            _ => 1,
        }
    }

    /// Whether it makes sense for a server.
    pub(crate) fn suits(self, server: Server) -> bool {
        match self {
            Self::Durable => server.stores(),
            // One publish for all topics is what a floor does anyway; the others take one for each over HTTP.
            Self::Topics => server.is_floor() || server.is_embedded() && !server.is_stored_embedded(),
            _ if server.is_broker() || server.is_stored_embedded() => false,
            // Its threads publish at a rate alone.
            _ if server.is_embedded() => matches!(self, Self::Paced | Self::Growth),
            Self::Storm => server.resumes() && server.transport() == crate::server::Transport::Plain,
            // A full socket holds the floor up, and it takes one publisher.
            Self::Slow | Self::Publishers => !server.is_floor(),
            _ => true,
        }
    }
}

fn growth(subscribers: usize, amounts: &Amounts) -> Case {
    let gap = Duration::from_secs_f64(subscribers as f64 / GROWTH_RATE as f64);
    let events = amounts.deliveries.div_ceil(subscribers.max(1));
    let act = Act::Paced { events, gap, times: false, stuck: None };
    Case { label: subscribers.to_string(), subscribers, size: amounts.size, act }
}

/// A size as people write it.
fn bytes(size: usize) -> String {
    if size >= 1024 && size.is_multiple_of(1024) {
        format!("{} KiB", size >> 10)
    } else {
        format!("{size} B")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amounts() -> Amounts {
        Amounts {
            subscribers: 100,
            size: 100,
            events: 10,
            rate: 50,
            seconds: 2,
            deliveries: 1000,
            counts: vec![10, 1000],
            sizes: vec![10, 65536],
            publishers: vec![1, 8],
        }
    }

    #[test]
    fn growth_keeps_the_deliveries() {
        for case in Scenario::Growth.cases(&amounts()).unwrap() {
            let Act::Paced { events, .. } = case.act else { panic!("{case:?}") };
            assert_eq!(events * case.subscribers, 1000);
        }
    }

    #[test]
    fn cases_are_labelled_and_small_events_refused() {
        let labels: Vec<String> =
            Scenario::Sizes.cases(&amounts()).unwrap().into_iter().map(|case| case.label).collect();
        assert_eq!(labels, ["10 B", "64 KiB"]);
        assert!(Scenario::Burst.cases(&Amounts { size: 9, ..amounts() }).is_err());
        assert!(Scenario::Burst.cases(&Amounts { rate: 0, ..amounts() }).is_err());
    }

    #[test]
    fn scenarios_are_only_for_servers_that_can() {
        assert!(!Scenario::Storm.suits(Server::Axum) && Scenario::Storm.suits(Server::Nchan));
        assert!(!Scenario::Durable.suits(Server::Fanfare) && Scenario::Durable.suits(Server::FanfareAlways));
        assert!(!Scenario::Paced.suits(Server::Nats) && Scenario::Paced.suits(Server::FanfareStore));
        assert!(!Scenario::Topics.suits(Server::Embedded) && Scenario::Topics.suits(Server::EmbeddedUring));
        assert!(!Scenario::Slow.suits(Server::Floor) && Scenario::Burst.suits(Server::FloorUring));
    }
}
