//! Publishing: admit, handlers, render, commit, wake.

use super::{BatchError, Engine, PublishError, Started};
use crate::draft::Draft;
use crate::handler::{Chain, Held};
use crate::history::{Append, Refused};
use crate::sync::Arc;
use crate::time::Timestamp;
use crate::topic::Topic;
use crate::wire::NewFrame;

/// What publishing has done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// Position of the last event that was committed; if none was, of the hub's newest event.
    pub seq: u64,
    /// How many events were committed: 1, or what the handlers made of it, 0 if they dropped it.
    pub events: usize,
    /// The last event's own id, if it has one; otherwise its id is [`Engine::id_of`] its position.
    pub own_id: Option<Box<str>>,
}

impl Engine {
    /// Publishes one event. When this returns, every reader can see it and those that sleep are woken; nobody has
    /// necessarily got it yet. With a journal it may wait for the disk, as the journal's durability asks for.
    ///
    /// # Errors
    /// [`PublishError`]; nothing has changed then.
    pub fn publish(&self, draft: Draft<'_>, now: Timestamp) -> Result<Published, PublishError> {
        self.start_publish(draft, now)?.wait()
    }

    /// As [`publish`](Self::publish), but does not wait for the disk to answer: the publish is started, and whoever likes awaits
    /// it. It waits for *room* where there is none, as [`has_room`](Self::has_room) says.
    ///
    /// # Errors
    /// [`PublishError`]; nothing has changed then.
    pub fn start_publish(
        &self,
        draft: Draft<'_>,
        now: Timestamp,
    ) -> Result<Started<Published>, PublishError> {
        let core = &*self.0;
        let now = core.at(now);
        let result = self.admit(&draft).and_then(|()| {
            let Some(chain) = core.chain_for(&draft) else { return self.commit_one(&draft, now) };
            let published = self.through_handlers(&chain, vec![draft], now).map_err(|e| e.error)?;
            Ok(published.map(|mut each| each.remove(0)))
        });
        if result.is_err() {
            core.counters.refused(1);
        }
        result
    }

    /// Publishes several events in one step: all of them or none, with nothing of others in between.
    ///
    /// # Errors
    /// [`BatchError`] names the first event that was refused; nothing has changed then.
    pub fn publish_batch(
        &self,
        drafts: Vec<Draft<'_>>,
        now: Timestamp,
    ) -> Result<Vec<Published>, BatchError> {
        self.start_publish_batch(drafts, now)?.wait().map_err(|error| BatchError { index: 0, error })
    }

    /// As [`publish_batch`](Self::publish_batch), in the manner of [`start_publish`](Self::start_publish).
    ///
    /// # Errors
    /// As [`publish_batch`](Self::publish_batch).
    pub fn start_publish_batch(
        &self,
        drafts: Vec<Draft<'_>>,
        now: Timestamp,
    ) -> Result<Started<Vec<Published>>, BatchError> {
        let core = &*self.0;
        let (now, count) = (core.at(now), drafts.len() as u64);
        let admitted = drafts
            .iter()
            .enumerate()
            .try_for_each(|(index, draft)| self.admit(draft).map_err(|error| BatchError { index, error }));
        let result = admitted.and_then(|()| self.through_handlers(&core.chain(), drafts, now));
        if result.is_err() {
            core.counters.refused(count);
        }
        result
    }

    /// Whether so many events could be published now without waiting for room on the way to the disk. Others may take it
    /// meanwhile; without a journal there is always room.
    #[must_use]
    pub fn has_room(&self, events: usize) -> bool {
        self.0.journal.as_ref().is_none_or(|journal| journal.has_room(events))
    }

    pub(super) fn admit(&self, draft: &Draft<'_>) -> Result<(), PublishError> {
        draft.check(&self.0.config.epoch)?;
        let (limit, size) = (self.0.config.limits.event_bytes, draft.data.len() as u64);
        if size > limit { Err(PublishError::TooLarge { limit, size }) } else { Ok(()) }
    }

    pub(super) fn open(&self, name: &str, now: Timestamp) -> Result<Arc<Topic>, PublishError> {
        let core = &*self.0;
        let limit = core.config.limits.topics;
        core.directory.open(name, &core.log, now).map_err(|_| PublishError::TopicLimit { limit })
    }

    /// The short way: one event, no handler.
    fn commit_one(&self, draft: &Draft<'_>, now: Timestamp) -> Result<Started<Published>, PublishError> {
        let core = &*self.0;
        let mut topic = self.open(&draft.topic, now)?;
        let frame = NewFrame::render(Arc::clone(&topic.name), draft, now);
        let bytes = frame.len();
        let mut append = [Append { topic: topic.key, frame: Some(frame) }];
        let done = loop {
            match core.log.commit(&mut append, &[draft], &[], now) {
                Ok(done) => break done,
                Err(Refused::Closed) => return Err(PublishError::TopicClosed),
                Err(Refused::NotStored(reason)) => return Err(PublishError::NotStored { reason }),
                Err(Refused::Freed) => {
                    topic = self.open(&draft.topic, now)?;
                    append[0].topic = topic.key;
                }
            }
        };
        let published = Published { seq: done.first, events: 1, own_id: draft.id.as_deref().map(Box::from) };
        if let Some(waits) = done.waits {
            return Ok(Started::waiting(published, &self.0, waits, vec![topic], bytes, 1));
        }
        core.counters.published_bytes(bytes);
        topic.interests.notify();
        Ok(Started::done(published))
    }

    /// The long way: runs each draft through the chain and commits what comes out in one step.
    fn through_handlers(
        &self,
        chain: &Chain,
        drafts: Vec<Draft<'_>>,
        now: Timestamp,
    ) -> Result<Started<Vec<Published>>, BatchError> {
        let core = &*self.0;
        let mut counts = vec![0; drafts.len()];
        let mut held = Held::default();
        let events = chain
            .run(drafts, now, &mut held)
            .map_err(|(index, error)| BatchError { index, error: PublishError::Handler(error) })?;
        for (index, event) in &events {
            // What a handler makes keeps the same rules.
            self.admit(event).map_err(|error| BatchError { index: *index, error })?;
            counts[*index] += 1;
        }
        let started = self.commit_many(&events, held, counts.len() as u64, now)?;
        core.counters.dropped(counts.iter().filter(|count| **count == 0).count() as u64);
        let mut rest = events.iter();
        let of = |(next, count): (u64, usize)| {
            let last = rest.by_ref().take(count).last();
            let own_id = last.and_then(|(_, event)| event.id.as_deref()).map(Box::from);
            Published { seq: next - 1, events: count, own_id }
        };
        Ok(started.map(|first| {
            let ends = counts.into_iter().scan(first, |next, count| {
                *next += count as u64;
                Some((*next, count))
            });
            ends.map(of).collect()
        }))
    }

    /// Commits `events`, each with the index of the draft it came from, and what handlers have changed in their state; gives the
    /// position of the first. `asked`: how many drafts that were.
    pub(super) fn commit_many(
        &self,
        events: &[(usize, Draft<'_>)],
        held: Held<'_>,
        asked: u64,
        now: Timestamp,
    ) -> Result<Started<u64>, BatchError> {
        let core = &*self.0;
        let not_stored = |error| BatchError { index: events.first().map_or(0, |(index, _)| *index), error };
        let mut topics = self.open_all(events, now)?;
        let mut bytes = 0;
        let mut appends: Vec<Append> = events
            .iter()
            .zip(&topics)
            .map(|((_, event), topic)| {
                let frame = NewFrame::render(Arc::clone(&topic.name), event, now);
                bytes += frame.len();
                Append { topic: topic.key, frame: Some(frame) }
            })
            .collect();
        let (drafts, states): (Vec<&Draft<'_>>, _) = match &core.journal {
            None => (Vec::new(), Vec::new()),
            Some(_) => (events.iter().map(|(_, event)| event).collect(), held.changes()),
        };
        let done = loop {
            match core.log.commit(&mut appends, &drafts, &states, now) {
                Ok(done) => break done,
                Err(Refused::Closed) => {
                    let closed = topics.iter().position(|topic| topic.ring.is_closed()).unwrap_or_default();
                    return Err(BatchError { index: events[closed].0, error: PublishError::TopicClosed });
                }
                Err(Refused::NotStored(reason)) => {
                    return Err(not_stored(PublishError::NotStored { reason }));
                }
                Err(Refused::Freed) => {
                    topics = self.open_all(events, now)?;
                    for (append, topic) in appends.iter_mut().zip(&topics) {
                        append.topic = topic.key;
                    }
                }
            }
        };
        // The order is fixed: the next event of these topics need not wait for the disk with this one.
        held.commit();
        topics.sort_unstable_by_key(|topic| topic.key);
        topics.dedup_by_key(|topic| topic.key);
        if let Some(waits) = done.waits {
            return Ok(Started::waiting(done.first, &self.0, waits, topics, bytes, asked));
        }
        core.counters.published_bytes(bytes);
        for topic in &topics {
            topic.interests.notify();
        }
        Ok(Started::done(done.first))
    }

    fn open_all(&self, events: &[(usize, Draft<'_>)], now: Timestamp) -> Result<Vec<Arc<Topic>>, BatchError> {
        // None is opened if not all can be.
        if let Some(at) = self.0.directory.without_room(events.iter().map(|(_, event)| &*event.topic)) {
            let limit = self.0.config.limits.topics;
            return Err(BatchError { index: events[at].0, error: PublishError::TopicLimit { limit } });
        }
        let mut topics: Vec<Arc<Topic>> = Vec::with_capacity(events.len());
        for (index, event) in events {
            let topic = match topics.last() {
                Some(last) if *last.name == *event.topic => Arc::clone(last),
                _ => self.open(&event.topic, now).map_err(|error| BatchError { index: *index, error })?,
            };
            topics.push(topic);
        }
        Ok(topics)
    }
}
