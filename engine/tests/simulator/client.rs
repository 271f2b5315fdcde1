//! A simulated client: what it wants, what it got, what it was told, and the accounts at its end.

use fanfare_engine::{Frame, LagPolicy, Subscription};

use crate::support::EPOCH;
use crate::world::Truth;

/// A client, connected or not.
pub(crate) struct Client {
    pub(crate) topics: Vec<Read>,
    pub(crate) kind: Option<&'static str>,
    pub(crate) name: Option<&'static str>,
    pub(crate) lag: LagPolicy,
    /// How many ticks lie between two reads; 0: it reads when its lane is told that there is something.
    pub(crate) period: u64,
    pub(crate) lane: usize,
    pub(crate) subscription: Option<Subscription>,
    /// When it comes back.
    pub(crate) back_at: u64,
    /// The last id that it received.
    pub(crate) last_id: String,
    got: Vec<u64>,
    /// Ranges of positions, after the first and up to the second, in which it was told that something is missing.
    told: Vec<(u64, u64)>,
}

/// A topic that a client reads, and the position after which that began.
#[derive(Clone)]
pub(crate) struct Read {
    pub(crate) topic: usize,
    pub(crate) after: u64,
}

/// What became of all events that clients wanted.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Accounts {
    pub(crate) clients: u64,
    pub(crate) wanted: u64,
    pub(crate) delivered: u64,
    pub(crate) told: u64,
    /// Older values of a key, for clients that conflate.
    pub(crate) superseded: u64,
}

impl Client {
    pub(crate) fn new(topics: Vec<usize>, after: u64, lag: LagPolicy) -> Self {
        Self {
            topics: topics.into_iter().map(|topic| Read { topic, after }).collect(),
            kind: None,
            name: None,
            lag,
            period: 1,
            lane: 0,
            subscription: None,
            back_at: 0,
            last_id: format!("{EPOCH}-{after}"),
            got: Vec::new(),
            told: Vec::new(),
        }
    }

    /// Takes what came through the connection: in order, nothing twice, nothing that it does not want.
    pub(crate) fn receive(&mut self, frames: &[Frame], truth: &Truth) {
        for frame in frames {
            let seq = frame.seq();
            self.last_id = frame.id().to_owned();
            if frame.is_gap() {
                let (requested, newest) = said(&frame.data());
                assert!(requested <= seq, "{frame:?}: {}", frame.data());
                self.told.push((requested, newest.unwrap_or(seq).max(seq)));
                continue;
            }
            assert!(self.got.last().is_none_or(|last| *last < seq), "{frame:?} after {:?}", self.got.last());
            let event = truth.event(seq);
            let read = self.topics.iter().find(|read| read.topic == event.topic);
            assert!(read.is_some_and(|read| seq > read.after), "{frame:?} of a topic it does not read");
            assert!(truth.passes(self, seq), "{frame:?} does not pass its filter");
            self.got.push(seq);
        }
    }

    /// Loses its connection. What it reads from then on begins with the last id it received.
    pub(crate) fn cut(&mut self, back_at: u64) {
        self.subscription = None;
        self.back_at = back_at;
        let last = position(&self.last_id);
        for read in &mut self.topics {
            read.after = read.after.min(last);
        }
    }

    /// Settles the accounts up to a position: every wanted event was delivered once, or told, or has a newer value.
    pub(crate) fn settle(&self, through: u64, truth: &Truth, accounts: &mut Accounts) {
        accounts.clients += 1;
        let mut delivered = 0;
        for read in &self.topics {
            for seq in truth.of_topic(read.topic, read.after, through) {
                if !truth.passes(self, seq) {
                    continue;
                }
                accounts.wanted += 1;
                if self.got.binary_search(&seq).is_ok() {
                    delivered += 1;
                } else if self.told.iter().any(|(after, through)| *after < seq && seq <= *through) {
                    accounts.told += 1;
                } else if self.lag == LagPolicy::Conflate && truth.has_newer_value(seq) {
                    accounts.superseded += 1;
                } else {
                    panic!(
                        "{seq} was neither delivered nor told: {:?} told {:?} got {:?}",
                        self.lag, self.told, self.got
                    );
                }
            }
        }
        let got = self.got.iter().filter(|seq| **seq <= through).count();
        assert_eq!(delivered, got as u64, "everything that was delivered was wanted");
        accounts.delivered += delivered;
    }
}

/// The position in an id.
pub(crate) fn position(id: &str) -> u64 {
    let digits = id.strip_prefix(EPOCH).and_then(|rest| rest.strip_prefix('-'));
    digits.and_then(|digits| digits.parse().ok()).expect("an id of this hub")
}

/// What a notice says was requested, and what is the newest.
fn said(json: &str) -> (u64, Option<u64>) {
    let field = |name: &str| {
        let from = json.split_once(&format!("\"{name}\":")).expect("the field").1;
        let value = from.split([',', '}']).next().expect("a value");
        (value != "null").then(|| position(value.trim_matches('"')))
    };
    (field("requested").expect("something was requested"), field("newest"))
}
