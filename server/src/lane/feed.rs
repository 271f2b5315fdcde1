//! A group's cursor, and what it has read ahead.
//!
//! Sending one batch to thousands of sockets takes milliseconds; in that time a publisher in the same process can put thousands of events
//! into a ring that keeps a thousand, and history would pass all of these readers although none of them is slow. So while the lane sends, it looks
//! into history every few sends and takes hold of what is new, within a bound that counts as the members' own memory.
//!
//! ```text
//!   events:   ... | delivered | held ahead | in history ...
//!                             ^ position    ^ the cursor
//! ```

use fanfare_engine::{Frame, Pulled, Subscription, TopicKey};

use super::batch::{BATCH_BYTES, GROUP_BYTES};

/// Bytes that may be held ahead for each member.
const AHEAD_PER_MEMBER: usize = 64 << 10;
/// Bytes that may be held ahead for one group at most.
const AHEAD_LIMIT: usize = 8 << 20;

/// Where a group's batches come from.
pub(super) struct Feed {
    cursor: Subscription,
    /// Everything up to here has been handed out.
    position: u64,
    ahead: Vec<Frame>,
    ahead_bytes: usize,
}

impl Feed {
    pub(super) fn new(cursor: Subscription) -> Feed {
        Feed { position: cursor.cursor(), cursor, ahead: Vec::new(), ahead_bytes: 0 }
    }

    /// The position up to which the group has been served.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn topic_keys(&self, out: &mut Vec<TopicKey>) {
        self.cursor.topic_keys(out);
    }

    pub(super) fn set_readers(&self, readers: usize) {
        self.cursor.set_readers(readers);
    }

    /// Whether something is held that has not been handed out.
    pub(super) fn is_ahead(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// Hands out the next batch: what is held first, then what is in history. `Idle`, `Ended` and `Lapped` are said of what is behind
    /// the batch.
    pub(super) fn next(&mut self, out: &mut Vec<Frame>) -> Pulled {
        if self.ahead.is_empty() {
            let pulled = self.cursor.pull(out, GROUP_BYTES);
            self.position = self.cursor.cursor();
            return pulled;
        }
        let (mut count, mut bytes) = (0, 0);
        // A notice stays with the event behind it: with several topics its position alone does not say that it was given.
        let mut open = true;
        for frame in &self.ahead {
            if bytes >= GROUP_BYTES && !open {
                break;
            }
            open = frame.is_gap();
            bytes += frame.chunk().len();
            count += 1;
        }
        out.extend(self.ahead.drain(..count));
        self.ahead_bytes -= bytes;
        if self.ahead.is_empty() {
            self.ahead = Vec::new();
            self.position = self.cursor.cursor();
        } else if let Some(last) = out.last() {
            self.position = last.seq();
        }
        Pulled::More
    }

    /// Takes hold of what has been published since, within what `members` of them allow. Whether there was anything.
    pub(super) fn look_ahead(&mut self, members: usize) -> bool {
        let held = self.ahead.len();
        let limit = AHEAD_LIMIT.min(members.saturating_mul(AHEAD_PER_MEMBER));
        while self.ahead_bytes < limit {
            let before = self.ahead.len();
            let pulled = self.cursor.pull(&mut self.ahead, BATCH_BYTES);
            self.ahead_bytes += self.ahead[before..].iter().map(|frame| frame.chunk().len()).sum::<usize>();
            // The end and the lap are said again when everything held has been handed out.
            if pulled != Pulled::More {
                break;
            }
        }
        self.ahead.len() > held
    }
}

#[cfg(test)]
mod tests {
    use fanfare_engine::{Config, Draft, Engine, Epoch, SubscribeOptions, Timestamp};

    use super::*;

    /// An engine that keeps 100 events, and a feed of its topic.
    fn feed() -> (Engine, Feed) {
        let mut config = Config::new(Epoch::from_seed(1));
        config.history.events = 100;
        let engine = Engine::new(config).expect("valid");
        let options = SubscribeOptions { topics: vec!["t".into()], ..Default::default() };
        let cursor = engine.subscribe(&engine.watcher(), &options, Timestamp(0)).expect("valid");
        (engine, Feed::new(cursor))
    }

    fn publish(engine: &Engine, n: u64, bytes: usize) {
        for _ in 0..n {
            engine.publish(Draft::new("t", "x".repeat(bytes)), Timestamp(0)).expect("valid");
        }
    }

    /// Everything up to the next pause: positions, and what was said last.
    fn drain(feed: &mut Feed) -> (Vec<u64>, Pulled) {
        let mut all = Vec::new();
        loop {
            let mut out = Vec::new();
            let pulled = feed.next(&mut out);
            all.extend(out.iter().map(Frame::seq));
            if let Some(last) = out.last() {
                assert!(feed.position() >= last.seq(), "what was handed out is behind the position");
            }
            if pulled != Pulled::More {
                return (all, pulled);
            }
        }
    }

    #[test]
    fn what_is_held_ahead_outlives_history() {
        let (engine, mut feed) = feed();
        for _ in 0..5 {
            publish(&engine, 90, 10);
            feed.look_ahead(1_000);
        }
        assert!(feed.is_ahead());
        assert_eq!(feed.position(), 0, "nothing was handed out");
        assert_eq!(drain(&mut feed), ((1..=450).collect(), Pulled::Idle));
        assert_eq!((feed.is_ahead(), feed.ahead_bytes, feed.position()), (false, 0, 450));
    }

    #[test]
    fn the_position_is_that_of_the_last_frame_while_more_is_held() {
        let (engine, mut feed) = feed();
        publish(&engine, 3, 80_000);
        feed.look_ahead(1_000);
        let mut out = Vec::new();
        assert_eq!((feed.next(&mut out), out.len(), feed.position()), (Pulled::More, 2, 2));
        assert_eq!((feed.next(&mut out), out.len(), feed.position()), (Pulled::More, 3, 3));
        assert_eq!(feed.ahead_bytes, 0);
    }

    #[test]
    fn a_batch_of_a_group_has_a_bound() {
        let (engine, mut feed) = feed();
        publish(&engine, 100, 4_000);
        for expected in [1, 2, 3, 4] {
            let mut out = Vec::new();
            let pulled = feed.next(&mut out);
            let bytes: usize = out.iter().map(|frame| frame.chunk().len()).sum();
            assert_eq!(pulled, if expected == 4 { Pulled::Idle } else { Pulled::More });
            let full = (GROUP_BYTES..GROUP_BYTES + 5_000).contains(&bytes);
            assert_eq!(full, expected < 4, "batch {expected} has {bytes} bytes");
        }
    }

    #[test]
    fn members_pay_for_what_is_held() {
        let (engine, mut feed) = feed();
        publish(&engine, 100, 10_000);
        feed.look_ahead(2);
        assert!(feed.ahead_bytes <= 2 * AHEAD_PER_MEMBER + BATCH_BYTES, "{} bytes", feed.ahead_bytes);
        // What was not taken hold of in time is lost, and that is said behind what was.
        publish(&engine, 100, 10);
        let (got, pulled) = drain(&mut feed);
        assert_eq!(pulled, Pulled::Lapped);
        assert_eq!(got, (1..=got.len() as u64).collect::<Vec<_>>());
        assert!(got.len() >= 13, "{} events", got.len());
    }

    #[test]
    fn the_end_is_said_behind_what_is_held() {
        let (engine, mut feed) = feed();
        publish(&engine, 5, 10);
        engine.close_topic("t", Timestamp(0)).expect("valid");
        feed.look_ahead(10);
        assert_eq!(drain(&mut feed), ((1..=5).collect(), Pulled::Ended));
    }
}
