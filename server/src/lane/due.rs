//! What time brings: heartbeats, write deadlines, the age limit, the linger after an end, and the paced stop.

use std::time::{Duration, Instant};

use super::conn::{Conn, Goal, Key, Own, Phase, Rest, Source};
use super::thread::Lane;
use super::timer::{HORIZON, ticks};
use super::write::{Sent, send};
use crate::handoff::Framing;

/// How long an ended connection may take to be closed by its peer.
const LINGER: Duration = Duration::from_millis(500);
/// While stopping, streams are ended at this rate per lane, or faster where the deadline asks for it.
const PACE_PER_STREAM: Duration = Duration::from_micros(100);
/// How often a stopping lane looks at its pace.
pub(super) const PACE_TICK: Duration = Duration::from_millis(5);

/// A stop under way.
pub(super) struct Drain {
    begun: Instant,
    /// The last stream is ended this long after the begin.
    pace: Duration,
    /// When whatever is left is cut.
    pub(super) deadline: Instant,
    pub(super) streams: Vec<Key>,
    ended: usize,
}

impl Lane<'_> {
    /// Looks at every connection whose time has come.
    pub(super) fn fire_timers(&mut self) {
        let mut fired = std::mem::take(&mut self.fired);
        while let Some(tick) = self.wheel.fire(self.now, &mut fired) {
            for key in fired.drain(..) {
                if self.conns.get(key).is_some_and(|conn| conn.check == tick) {
                    self.look(key);
                }
            }
        }
        self.fired = fired;
    }

    /// Files the connection's next look.
    pub(super) fn file(&mut self, key: Key) {
        if let Some(conn) = self.conns.get_mut(key) {
            let due = next_look(conn, self.now, self.rules.heartbeat, self.rules.write_timeout);
            conn.check = self.wheel.file(key, due);
        }
    }

    fn look(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        if conn.expires <= self.now {
            conn.expires = u64::MAX;
            self.end(key);
        }
        let Some(conn) = self.conns.get_mut(key) else { return };
        match conn.phase {
            Phase::Closing if conn.progress + ticks(LINGER) <= self.now => return self.close(key),
            Phase::Live { .. } if beat_at(conn, self.rules.heartbeat) <= self.now => self.beat(key),
            Phase::Own(_) if conn.blocked && conn.progress + self.rules.write_timeout <= self.now => {
                self.last_try(key)
            }
            _ => {}
        }
        self.file(key);
    }

    /// The write deadline has passed without a report that the socket is writable. A kernel reports that only when a good part of
    /// its buffer is free, so a slow but living reader is found by trying.
    fn last_try(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let stuck_since = conn.progress;
        conn.blocked = false;
        self.step(key);
        if self.conns.get(key).is_some_and(|conn| conn.blocked && conn.progress == stuck_since) {
            self.tally.stalled += 1;
            self.close(key);
        }
    }

    /// A sign of life on a quiet stream. Members stand between frames, so it never falls into one.
    fn beat(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let Some(group) = self.groups.get(conn.group) else { return };
        let Some(feed) = &group.feed else { return };
        let bytes = match group.key.framing {
            Framing::Chunked => &self.rules.beat_chunked[..],
            Framing::Plain => &self.rules.beat_plain[..],
        };
        match send(&conn.socket, bytes, &mut self.tally) {
            Sent::All => conn.progress = self.now,
            Sent::Part(sent) => {
                let own = Own { rest: Rest::tail(bytes, sent), source: Source::Position(feed.position()) };
                conn.blocked = true;
                conn.progress = self.now;
                self.change(key, Phase::Own(Box::new(own)));
            }
            Sent::Dead => self.close(key),
        }
    }

    /// Ends the stream: at once where it stands between frames, else at the next boundary.
    pub(super) fn end(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        if conn.goal != Goal::Stream {
            return;
        }
        match conn.phase {
            Phase::Live { .. } => {
                conn.goal = Goal::End;
                self.finish(key);
            }
            // A runnable one ends in its next step, a blocked one once it has sent what it owes.
            Phase::Own(_) => conn.goal = Goal::End,
            Phase::Closing => {}
        }
    }

    /// Starts to end every stream. What was published before is pulled first.
    pub(super) fn begin_drain(&mut self, deadline: Instant) {
        let begun = Instant::now();
        let streams = self.conns.keys();
        let count = u32::try_from(streams.len()).unwrap_or(u32::MAX);
        let pace = (deadline.saturating_duration_since(begun) / 2).min(PACE_PER_STREAM.saturating_mul(count));
        self.drain = Some(Drain { begun, pace, deadline, streams, ended: 0 });
    }

    /// Ends as many streams as the pace asks for by now.
    pub(super) fn drain_turn(&mut self, now: Instant) {
        let Some(mut drain) = self.drain.take() else { return };
        let elapsed = now.saturating_duration_since(drain.begun);
        if self.groups.ready_len() > 0 && elapsed < drain.deadline.saturating_duration_since(drain.begun) / 2
        {
            // What was published before the stop goes out first.
            self.drain = Some(drain);
            return;
        }
        let due = if elapsed >= drain.pace {
            drain.streams.len()
        } else {
            let share = elapsed.as_nanos() * drain.streams.len() as u128 / drain.pace.as_nanos();
            usize::try_from(share).unwrap_or(usize::MAX)
        };
        for at in drain.ended..due.min(drain.streams.len()) {
            self.end(drain.streams[at]);
        }
        drain.ended = drain.ended.max(due);
        self.drain = Some(drain);
    }
}

/// When a quiet member gets a heartbeat: within the interval, spread over its last eighth so that streams which fell silent
/// together do not speak together.
fn beat_at(conn: &Conn, heartbeat: Option<u64>) -> u64 {
    heartbeat.map_or(u64::MAX, |interval| conn.progress + interval - conn.spread() % (interval / 8 + 1))
}

fn next_look(conn: &Conn, now: u64, heartbeat: Option<u64>, write_timeout: u64) -> u64 {
    let due = match conn.phase {
        Phase::Closing => return conn.progress + ticks(LINGER),
        Phase::Own(_) if conn.blocked => conn.progress + write_timeout,
        Phase::Own(_) | Phase::Live { .. } => beat_at(conn, heartbeat),
    };
    due.min(conn.expires).clamp(now + 1, now + HORIZON)
}
