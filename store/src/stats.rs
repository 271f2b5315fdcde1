//! What is stored and how writing goes, for people and metrics.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::Error;
use crate::index::Summary;
use crate::segment::log_name;
use crate::writer::Files;

/// A look at a store.
#[derive(Clone, Debug)]
pub struct Stats {
    /// Events in all files.
    pub events: u64,
    /// Bytes of all files of the log, without their indexes.
    pub bytes: u64,
    /// Files of the log.
    pub files: u64,
    /// Position of the oldest event; 0 if there is none.
    pub oldest: u64,
    /// Position of the newest event that is written.
    pub newest: u64,
    /// The position that the next event gets.
    pub next: u64,
    /// Bytes that wait to be written.
    pub queue_bytes: u64,
    /// Why writing fails: the failure of the last attempt.
    pub failing: Option<Error>,
    /// How long writing takes.
    pub timing: Timing,
}

/// Sums over all writes since the store was opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timing {
    /// Writes, each with its sync if it had one.
    pub writes: u64,
    /// Transactions that they held.
    pub transactions: u64,
    /// Time of all of them.
    pub total: Duration,
    /// The longest.
    pub longest: Duration,
    /// How long one has taken of late: a moving average over about eight.
    pub recent: Duration,
}

impl Timing {
    pub(crate) fn add(&mut self, took: Duration, transactions: u64) {
        self.recent = if self.writes == 0 { took } else { (self.recent * 7 + took) / 8 };
        self.writes += 1;
        self.transactions += transactions;
        self.total += took;
        self.longest = self.longest.max(took);
    }
}

/// Bytes of a file that are no records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// The file.
    pub file: PathBuf,
    /// The first such byte.
    pub offset: u64,
    /// How many; 0 if the file is too short.
    pub bytes: u64,
    /// Positions that may have been there, first and last; `None` if no event is missing, as behind an unfinished write.
    pub positions: Option<(u64, u64)>,
}

impl Damaged {
    pub(crate) fn all(dir: &Path, summary: &Summary) -> Vec<Self> {
        let file = dir.join(log_name(summary.number));
        let damaged = |damage: &crate::index::Damage| Self {
            file: file.clone(),
            offset: damage.from,
            bytes: damage.to - damage.from,
            positions: (damage.after + 1 < damage.before).then(|| (damage.after + 1, damage.before - 1)),
        };
        summary.damages.iter().map(damaged).collect()
    }
}

impl Files {
    /// Events and bytes of all files.
    pub(crate) fn totals(&self) -> (u64, u64) {
        let segments = self.segments.read();
        segments
            .iter()
            .map(|segment| segment.summary())
            .fold((0, 0), |(events, bytes), summary| (events + summary.events, bytes + summary.end))
    }

    /// Whether the list of files is another one now.
    pub(crate) fn changed_since(&self, then: &[std::sync::Arc<crate::pages::Segment>]) -> bool {
        let now = self.segments.read();
        now.len() != then.len() || now.iter().zip(then).any(|(a, b)| !std::sync::Arc::ptr_eq(a, b))
    }
}
