//! The naive model: everything that was ever published, in a plain list, and rules in their simplest words.

use fanfare_engine::LagPolicy;

/// How many topics there are.
pub(crate) const TOPICS: usize = 3;

/// One published event. Its position is its place in the list, from 1.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) topic: usize,
    pub(crate) id: String,
    pub(crate) own: Option<String>,
    pub(crate) kind: Option<&'static str>,
    pub(crate) except: Option<&'static str>,
    pub(crate) key: Option<&'static str>,
    pub(crate) at: u64,
}

impl Event {
    /// What it is the latest of.
    fn key(&self) -> &str {
        self.key.or(self.kind).unwrap_or("message")
    }
}

/// A hub.
pub(crate) struct Model {
    pub(crate) events: Vec<Event>,
    pub(crate) closed: [bool; TOPICS],
    /// Position of the last event that each topic has let go. All later ones are retained.
    lost_through: [u64; TOPICS],
    history_events: usize,
    age_ms: u64,
}

/// A reader. `topics` has what it reads, and after which position that began.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) topics: Vec<Read>,
    pub(crate) kinds: Vec<&'static str>,
    pub(crate) client: Option<&'static str>,
    pub(crate) lag: LagPolicy,
    pub(crate) cursor: u64,
    /// The id of a gap notice that is due.
    pub(crate) gap: Option<String>,
    pub(crate) arrival: Arrival,
    pub(crate) lapped: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) topic: usize,
    /// Losses up to here are told, or not this reader's.
    pub(crate) told: u64,
    /// Events up to here are not this reader's.
    pub(crate) from: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Arrival {
    First { newest: u64 },
    Back,
    Present,
}

/// What a pull must give, if it is not cut by its budget.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    pub(crate) lapped: bool,
    pub(crate) gap: Option<ExpectedGap>,
    /// Positions that must come; all that may come if `also` is empty.
    pub(crate) must: Vec<u64>,
    /// Positions that may come as well: older values of a key that conflation did not have to keep.
    pub(crate) also: Vec<u64>,
    pub(crate) ended: bool,
}

#[derive(Debug, PartialEq)]
pub(crate) struct ExpectedGap {
    pub(crate) requested: String,
    pub(crate) oldest: Option<String>,
    pub(crate) newest: Option<String>,
    pub(crate) seq: u64,
}

impl Model {
    pub(crate) fn new(history_events: usize, age_ms: u64) -> Self {
        let (closed, lost_through) = ([false; TOPICS], [0; TOPICS]);
        Self { events: Vec::new(), closed, lost_through, history_events, age_ms }
    }

    pub(crate) fn newest(&self) -> u64 {
        self.events.len() as u64
    }

    pub(crate) fn lost_through(&self, topic: usize) -> u64 {
        self.lost_through[topic]
    }

    pub(crate) fn event(&self, seq: u64) -> &Event {
        &self.events[seq as usize - 1]
    }

    /// Positions of a topic's events after `seq`, retained or not.
    fn published(&self, topic: usize, after: u64) -> impl Iterator<Item = u64> {
        (after + 1..=self.newest()).filter(move |seq| self.event(*seq).topic == topic)
    }

    pub(crate) fn retained(&self, topic: usize, after: u64) -> impl Iterator<Item = u64> {
        self.published(topic, after.max(self.lost_through[topic]))
    }

    pub(crate) fn publish(&mut self, event: Event) {
        let topic = event.topic;
        self.events.push(event);
        while self.retained(topic, 0).count() > self.history_events {
            let oldest = self.retained(topic, 0).next().expect("there are some");
            self.lost_through[topic] = oldest;
        }
    }

    pub(crate) fn sweep(&mut self, now: u64) {
        for topic in 0..TOPICS {
            let old = |seq: &u64| now - self.event(*seq).at >= self.age_ms;
            let last = self.retained(topic, 0).take_while(old).last();
            self.lost_through[topic] = last.unwrap_or(self.lost_through[topic]);
        }
    }

    /// The one retained event of the topics that has a publisher's id.
    pub(crate) fn find_own(&self, topics: &[usize], id: &str) -> Option<u64> {
        let mut found = topics.iter().flat_map(|topic| self.retained(*topic, 0));
        let mut found = found.by_ref().filter(|seq| self.event(*seq).own.as_deref() == Some(id));
        let one = found.next();
        if found.next().is_some() { None } else { one }
    }

    fn is_latest(&self, seq: u64) -> bool {
        let event = self.event(seq);
        self.published(event.topic, seq).all(|later| self.event(later).key() != event.key())
    }

    pub(crate) fn wants(&self, reader: &Wanted, seq: u64) -> bool {
        let event = self.event(seq);
        let kind = event.kind.unwrap_or("message");
        (reader.kinds.is_empty() || reader.kinds.contains(&kind))
            && (event.except.is_none() || event.except != reader.client)
    }

    /// Whether a reader has nothing to get, now or ever.
    pub(crate) fn is_over(&self, reader: &Wanted) -> bool {
        !reader.topics.is_empty()
            && reader.gap.is_none()
            && reader.topics.iter().all(|read| {
                self.closed[read.topic]
                    && self.retained(read.topic, reader.cursor.max(read.from)).next().is_none()
            })
    }

    /// Predicts a pull, and notes what the reader will have been told by it.
    pub(crate) fn predict(&self, reader: &mut Wanted) -> Expected {
        let mut expected = Expected { lapped: reader.lapped, ..Expected::default() };
        if reader.lapped {
            return expected;
        }
        let (cursor, back) = (reader.cursor, reader.arrival == Arrival::Back);
        let conflates = reader.lag == LagPolicy::Conflate && !back;
        let mut due = reader.gap.clone();
        let mut reads = reader.topics.clone();
        for read in &mut reads {
            let lost_through = self.lost_through[read.topic];
            if lost_through <= cursor.max(read.told) {
                continue;
            }
            if matches!(reader.arrival, Arrival::First { newest } if lost_through <= newest) {
                read.from = read.from.max(lost_through);
            } else if reader.lag == LagPolicy::Disconnect && !back && due.is_none() {
                reader.lapped = true;
                return Expected { lapped: true, ..Expected::default() };
            } else if !conflates {
                read.from = read.from.max(lost_through);
                due.get_or_insert_with(|| format!("{}-{cursor}", crate::support::EPOCH));
            }
            read.told = lost_through;
        }
        reader.topics = reads;
        let mut all: Vec<u64> = Vec::new();
        for read in &reader.topics {
            let after = cursor.max(read.from);
            if reader.lag == LagPolicy::Conflate && reader.arrival != Arrival::Back {
                for seq in self.published(read.topic, after) {
                    let must = seq > self.lost_through[read.topic] || self.is_latest(seq);
                    if must { all.push(seq) } else { expected.also.push(seq) }
                }
            } else {
                all.extend(self.retained(read.topic, after));
            }
        }
        all.sort_unstable();
        expected.gap = due.as_ref().filter(|_| !reader.topics.is_empty()).map(|requested| {
            let newest = reader.topics.iter().flat_map(|read| self.retained(read.topic, 0)).max();
            let id = |seq: u64| self.event(seq).id.clone();
            ExpectedGap {
                requested: requested.clone(),
                oldest: all.first().map(|seq| id(*seq)),
                newest: all.first().and(newest).map(id),
                seq: all.first().map_or(cursor.max(self.newest()), |seq| seq - 1),
            }
        });
        reader.gap = None;
        reader.arrival = Arrival::Present;
        expected.ended =
            !reader.topics.is_empty() && reader.topics.iter().all(|read| self.closed[read.topic]);
        expected.must = all.into_iter().filter(|seq| self.wants(reader, *seq)).collect();
        expected.also.retain(|seq| self.wants(reader, *seq));
        expected
    }
}
