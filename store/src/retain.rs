//! Letting go: whole files by the limits of the hub, and what is inside of them by those of single topics.

use parking_lot::MutexGuard;

use crate::error::Result;
use crate::index::Summary;
use crate::store::Store;

impl Store {
    /// Lets go of what is beyond the limits of the configuration and removes its files; returns how many. State whose time has
    /// passed goes too, within a minute. What is beyond the
    /// limits of single topics, and what was deleted, goes by [`compact`](Self::compact).
    /// `now_ms`: milliseconds since 1970. To be called every few seconds.
    ///
    /// # Errors
    /// What the file system says; what was removed before is gone.
    pub fn retain(&self, now_ms: u64) -> Result<u64> {
        self.shared.expire(now_ms);
        let config = &self.shared.config;
        let oldest = if config.max_age_ms == 0 { 0 } else { now_ms.saturating_sub(config.max_age_ms) };
        let (mut events, mut bytes) = self.shared.files.totals();
        let removed = self.remove_oldest(oldest, |summary| {
            let goes = config.max_events != 0 && events.saturating_sub(summary.events) >= config.max_events
                || config.max_bytes != 0 && bytes > config.max_bytes
                || summary.newest_ms < oldest;
            if goes {
                events = events.saturating_sub(summary.events);
                bytes = bytes.saturating_sub(summary.end);
            }
            goes
        })?;
        self.compact(now_ms).map(|_| removed)
    }

    /// Writes files anew without what is beyond the limits of single topics and what was deleted; returns how many bytes that
    /// gives back. Publishers and readers go on meanwhile; it takes memory for one file.
    ///
    /// # Errors
    /// As [`retain`](Self::retain).
    pub fn compact(&self, now_ms: u64) -> Result<u64> {
        let shared = &*self.shared;
        let mut compactor = self.compactor.lock();
        let Some(mut round) =
            compactor.begin(&shared.files, &shared.rules, now_ms, shared.config.segment_bytes)
        else {
            return Ok(0);
        };
        let mut given_back = 0;
        while let Some(task) = compactor.next(&mut round)? {
            if task.is_open {
                let mut inner = shared.inner.lock();
                let mut writer = shared.take_writer(&mut inner);
                let result = MutexGuard::unlocked(&mut inner, || writer.roll(&shared.files));
                shared.give_writer(&mut inner, writer);
                result?;
            }
            given_back += compactor.apply(&mut round, task)?;
        }
        compactor.end(round);
        Ok(given_back)
    }

    /// Removes the files whose events are all older than a time, in milliseconds since 1970; returns how many.
    ///
    /// # Errors
    /// As [`retain`](Self::retain).
    pub fn retain_since(&self, oldest_ms: u64) -> Result<u64> {
        self.remove_oldest(oldest_ms, |summary| summary.newest_ms < oldest_ms)
    }

    /// Removes files from the front for as long as they `may_go`. The one being written ends first if all its events
    /// are older than `oldest_ms`.
    fn remove_oldest(&self, oldest_ms: u64, mut may_go: impl FnMut(&Summary) -> bool) -> Result<u64> {
        let shared = &*self.shared;
        let _alone = self.compactor.lock();
        let mut inner = shared.inner.lock();
        let mut writer = shared.take_writer(&mut inner);
        let result = MutexGuard::unlocked(&mut inner, || {
            let last = shared.files.segments.read().last().map(|last| last.summary());
            if last.is_some_and(|last| last.events > 0 && last.newest_ms < oldest_ms) {
                writer.roll(&shared.files)?;
            }
            writer.remove_oldest(&shared.files, |segment| may_go(&segment.summary()))
        });
        shared.give_writer(&mut inner, writer);
        result
    }
}
