//! A connection that reads history by itself: after it came, and after its socket was full.
//!
//! One **step** does at most one batch: what the connection owes, then its own cursor, bounded by the group's. It rejoins the group at the
//! one moment when both stand at the same place. The lane is one thread, so nothing moves between the comparison and the joining:
//!
//! * The own cursor never passes the group's ([`pull_through`](fanfare_engine::Subscription::pull_through)), so when it has nothing left up to there, the next
//!   event for the connection is the next event for the group: it joins. No hole, nothing twice.
//! * A cursor that *starts* behind the group's position (a new stream opened after the lane last looked) first lets the group catch up.
//!   If the group is then idle and still not past the cursor's start, there is no event of these topics between the two,
//!   because everything up to that start was in history before the stream came here: it joins as well.
//! * A group without a cursor takes the first one that is idle.

use fanfare_engine::{Code, Pulled, Start, SubscribeError, SubscribeOptions};
use mio::Token;

use super::batch::BATCH_BYTES;
use super::conn::{Goal, Key, Own, Phase, Rest, Source};
use super::feed::Feed;
use super::group::Served;
use super::thread::Lane;
use super::write::{Flushed, LAST_CHUNK, Sent, send};
use crate::handoff::{Framing, GroupKey};

/// Connections stepped in one turn of the lane.
const STEPS: usize = 64;

/// Where the own cursor stands after its pull was written.
enum Standing {
    Pulled(Pulled),
    Blocked,
    Dead,
}

impl Lane<'_> {
    /// One step for some of the connections that have their own work.
    pub(super) fn step_runnable(&mut self) {
        for _ in 0..self.runnable.len().min(STEPS) {
            let Some(key) = self.runnable.pop_front() else { return };
            if let Some(conn) = self.conns.get_mut(key) {
                conn.queued = false;
                self.step(key);
            }
        }
    }

    fn run_later(&mut self, key: Key) {
        if let Some(conn) = self.conns.get_mut(key)
            && !conn.queued
        {
            conn.queued = true;
            self.runnable.push_back(key);
        }
    }

    /// Goes on with a connection that is not blocked: what it owes, then its goal, then its own cursor.
    pub(super) fn step(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let Phase::Own(own) = &mut conn.phase else { return };
        if conn.blocked {
            return;
        }
        let Some(group) = self.groups.get(conn.group) else { return };
        let owed = !matches!(own.rest, Rest::Nothing);
        match own.rest.flush(&conn.socket, group.key.framing, &mut self.tally) {
            Flushed::Done if owed => conn.progress = self.now,
            Flushed::Done => {}
            Flushed::Blocked(progress) => return self.block(key, progress),
            Flushed::Dead => return self.close(key),
            Flushed::Gone => {
                self.tally.lapped += 1;
                conn.ends_because(Code::Lapped);
                return self.close(key);
            }
        }
        match conn.goal {
            Goal::Stream => self.read_on(key),
            Goal::End => self.finish(key),
            Goal::Shut => self.shut(key),
        }
    }

    /// One batch from the connection's own cursor, opened if need be.
    fn read_on(&mut self, key: Key) {
        let Some(conn) = self.conns.get(key) else { return };
        let Phase::Own(own) = &conn.phase else { return };
        let Some(group) = self.groups.get(conn.group) else { return };
        if let Source::Position(position) = own.source {
            // Nothing came since the group's last batch, of which this connection has just sent the end.
            if group.feed.as_ref().is_some_and(|feed| feed.position() == position) {
                return self.join(key);
            }
            let options = position_options(&group.key, position);
            match self.engine.subscribe_again(&self.link.watcher, &options, self.shared.clock.now()) {
                Ok(cursor) => {
                    let own = Own { rest: Rest::Nothing, source: Source::Open(cursor) };
                    self.change(key, Phase::Own(Box::new(own)));
                }
                Err(SubscribeError::Closed) => return self.finish_because(key, Code::TopicClosed),
                Err(error) => {
                    tracing::warn!(%error, "a reader that fell behind cannot go on and is cut");
                    return self.close(key);
                }
            }
        }
        match self.pull_own(key) {
            Standing::Pulled(Pulled::More) => self.run_later(key),
            Standing::Pulled(Pulled::Idle) if self.waits(key) => {}
            Standing::Pulled(Pulled::Idle) => self.join_or_wait(key),
            Standing::Pulled(Pulled::Ended) => self.finish_because(key, Code::TopicClosed),
            Standing::Pulled(Pulled::Lapped) => {
                self.tally.lapped += 1;
                self.finish_because(key, Code::Lapped);
            }
            Standing::Blocked => {}
            Standing::Dead => self.close(key),
        }
    }

    /// Ends a stream at a boundary between frames, and keeps why.
    fn finish_because(&mut self, key: Key, why: Code) {
        if let Some(conn) = self.conns.get_mut(key) {
            conn.ends_because(why);
        }
        self.finish(key);
    }

    /// Whether the own cursor waits for a page of stored events. The lane is told when it has come.
    fn waits(&self, key: Key) -> bool {
        match self.conns.get(key).map(|conn| &conn.phase) {
            Some(Phase::Own(own)) => {
                matches!(&own.source, Source::Open(cursor) if cursor.wait_as(key.token().0 as u64))
            }
            _ => false,
        }
    }

    /// Looks again at the connections whose page has come; those that are gone by now are passed over.
    pub(super) fn run_arrived(&mut self) {
        let mut arrived = std::mem::take(&mut self.arrived);
        for token in arrived.drain(..) {
            self.run_later(Key::from_token(Token(token as usize)));
        }
        self.arrived = arrived;
    }

    /// Pulls one batch by the own cursor, not past the group's, and writes it.
    fn pull_own(&mut self, key: Key) -> Standing {
        let Some(conn) = self.conns.get_mut(key) else { return Standing::Dead };
        let Some(group) = self.groups.get(conn.group) else { return Standing::Dead };
        let Phase::Own(own) = &conn.phase else { return Standing::Dead };
        let Source::Open(cursor) = &own.source else { return Standing::Dead };
        let out = self.batch.refill();
        let pulled = match &group.feed {
            Some(feed) => cursor.pull_through(out, BATCH_BYTES, feed.position()),
            None => cursor.pull(out, BATCH_BYTES),
        };
        let after = cursor.cursor();
        if self.batch.frames().is_empty() {
            return Standing::Pulled(pulled);
        }
        let framing = group.key.framing;
        self.batch.seal(framing);
        self.tally.batches += 1;
        let mut batch = &self.batch;
        if let Some(client) = conn.client.as_deref()
            && batch.withholds_from(Some(client))
        {
            self.selected.refill_for(client, &self.batch);
            batch = &self.selected;
        }
        match send(&conn.socket, batch.bytes(), &mut self.tally) {
            Sent::All => {
                conn.progress = self.now;
                self.tally.delivered += batch.whole();
                Standing::Pulled(pulled)
            }
            Sent::Part(sent) => {
                self.tally.delivered += batch.part(sent);
                let own = Own::cut(batch, sent, framing, after);
                self.change(key, Phase::Own(Box::new(own)));
                self.block(key, sent > 0);
                Standing::Blocked
            }
            Sent::Dead => Standing::Dead,
        }
    }

    /// The own cursor has nothing left up to the group's: become a member, now or once the group has looked.
    fn join_or_wait(&mut self, key: Key) {
        let Some(conn) = self.conns.get(key) else { return };
        let index = conn.group;
        let Phase::Own(own) = &conn.phase else { return };
        let Source::Open(cursor) = &own.source else { return };
        let start = cursor.cursor();
        let position = |lane: &Lane<'_>| {
            let group = lane.groups.get(index)?;
            group.feed.as_ref().map(Feed::position)
        };
        match position(self) {
            None => return self.donate(key),
            Some(shared) if start <= shared => return self.join(key),
            Some(_) => {}
        }
        let served = self.serve(index);
        if served == Served::Idle && position(self).is_some_and(|shared| shared <= start) {
            return self.join(key);
        }
        if served == Served::More {
            self.groups.mark_ready(index);
        }
        self.run_later(key);
    }

    /// Rides with the group from now on; an own cursor is dropped.
    fn join(&mut self, key: Key) {
        let Some(conn) = self.conns.get(key) else { return };
        let slot = self.groups.join(conn.group, key);
        self.change(key, Phase::Live { slot });
    }

    /// Becomes the first member, and its cursor the group's.
    fn donate(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let index = conn.group;
        let Phase::Own(own) = conn.take_phase() else { return };
        let slot = self.groups.join(index, key);
        self.change(key, Phase::Live { slot });
        if let Source::Open(cursor) = own.source {
            self.groups.install(index, cursor);
        }
    }

    /// Waits for the socket to become writable; the wheel looks when the write deadline has passed.
    fn block(&mut self, key: Key, progress: bool) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.blocked = true;
        if progress {
            conn.progress = self.now;
        }
        let due = conn.progress + self.rules.write_timeout;
        if due < conn.check {
            conn.check = self.wheel.file(key, due);
        }
    }

    /// Says the end of the stream and shuts the socket. Only between frames.
    pub(super) fn finish(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let framing = self.groups.get(conn.group).map_or(Framing::Plain, |group| group.key.framing);
        let sent = match framing {
            Framing::Chunked => send(&conn.socket, LAST_CHUNK, &mut self.tally),
            Framing::Plain => Sent::All,
        };
        match sent {
            Sent::All => self.shut(key),
            Sent::Part(sent) => {
                conn.goal = Goal::Shut;
                let own = Own { rest: Rest::tail(LAST_CHUNK, sent), source: Source::Nowhere };
                self.change(key, Phase::Own(Box::new(own)));
                self.block(key, true);
            }
            Sent::Dead => self.close(key),
        }
    }

    /// Shuts the write side and waits a moment for the peer to close: closing at once could reset the connection and take from the peer
    /// what it has not read yet.
    fn shut(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        if conn.socket.shutdown(std::net::Shutdown::Write).is_err() {
            return self.close(key);
        }
        conn.progress = self.now;
        conn.blocked = false;
        self.change(key, Phase::Closing);
        self.file(key);
    }
}

/// A cursor exactly after `position`, with the filters of `key`.
fn position_options(key: &GroupKey, position: u64) -> SubscribeOptions<'_> {
    SubscribeOptions {
        topics: key.topics.iter().map(|topic| (&**topic).into()).collect(),
        start: Start::Position(position),
        client: None,
        events: key.events.iter().map(|event| (&**event).into()).collect(),
        lag: key.lag,
    }
}
