//! Groups: connections that receive identical bytes share one cursor and one batch.
//!
//! Every connection belongs to exactly one group, by its [`GroupKey`], for its whole life. A group has a **cursor** once its first
//! connection has caught up and given its own to the group; its **members** are the connections that have been sent
//! everything the cursor has passed. Replaying and blocked connections belong to the group without being members.
//!
//! Invariants:
//! 1. A group with members has a cursor.
//! 2. `members[i]` is a connection in phase `Live { slot: i }`, and the other way round.
//! 3. A group exists exactly as long as it has connections; its cursor may not outlive it.
//! 4. The topics of a group's cursor lead to the group in `by_topic`; groups without a cursor are not there.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use fanfare_engine::{Code, Pulled, Subscription, TopicKey};
use slab::Slab;

use super::conn::{Conns, Key, Own, Phase};
use super::feed::Feed;
use super::thread::Lane;
use super::write::{Sent, send, send_on};
use crate::handoff::GroupKey;

/// Batches for one group before others get their turn.
const TURN_BATCHES: usize = 2;
/// With more members than this, one batch is a turn.
const LARGE_GROUP: usize = 256;

/// How many sends may pass before the lane looks whether history moves on.
const LOOK_AHEAD_EVERY: usize = 16;
/// With a ring and as long as history stands still, each run of sends is twice as long as the one before, up to this.
const LONGEST_RUN: usize = 64;

/// Connections with equal keys.
pub(super) struct Group {
    pub(super) key: Arc<GroupKey>,
    /// Where the members' batches come from.
    pub(super) feed: Option<Feed>,
    /// The cursor's topics.
    topics: Vec<TopicKey>,
    pub(super) members: Vec<u32>,
    /// All connections that belong to it, members or not.
    connections: usize,
    /// Of those, the ones without a cursor of their own; the engine counts the others itself.
    fed: usize,
    /// It stands in the ready list.
    queued: bool,
}

/// The lane's groups, and who among them has something to pull.
pub(super) struct Groups {
    pub(super) slab: Slab<Group>,
    by_key: HashMap<Arc<GroupKey>, u32>,
    by_topic: HashMap<TopicKey, Vec<u32>>,
    /// Groups with something to pull. May name a group that is gone; looking costs nothing.
    ready: VecDeque<u32>,
}

impl Groups {
    pub(super) fn new() -> Groups {
        Groups {
            slab: Slab::new(),
            by_key: HashMap::default(),
            by_topic: HashMap::default(),
            ready: VecDeque::new(),
        }
    }

    /// The group of `key`, made if need be, with one more connection. [`leave`](Self::leave) undoes it.
    pub(super) fn enter(&mut self, key: GroupKey) -> u32 {
        if let Some(&index) = self.by_key.get(&key) {
            self.slab[index as usize].connections += 1;
            return index;
        }
        let key = Arc::new(key);
        let index = self.slab.insert(Group {
            key: Arc::clone(&key),
            feed: None,
            topics: Vec::new(),
            members: Vec::new(),
            connections: 1,
            fed: 0,
            queued: false,
        }) as u32;
        self.by_key.insert(key, index);
        index
    }

    /// One connection less; the last one takes the group with it.
    pub(super) fn leave(&mut self, index: u32) {
        let group = &mut self.slab[index as usize];
        group.connections -= 1;
        if group.connections == 0 {
            self.drop_cursor(index);
            let group = self.slab.remove(index as usize);
            self.by_key.remove(&group.key);
        }
    }

    pub(super) fn get(&self, index: u32) -> Option<&Group> {
        self.slab.get(index as usize)
    }

    /// Gives the group its cursor and counts the donor as fed by it.
    pub(super) fn install(&mut self, index: u32, cursor: Subscription) {
        let group = &mut self.slab[index as usize];
        let feed = Feed::new(cursor);
        feed.topic_keys(&mut group.topics);
        for &topic in &group.topics {
            self.by_topic.entry(topic).or_default().push(index);
        }
        feed.set_readers(group.fed);
        group.feed = Some(feed);
        // What came between the donor's last pull and now was marked dirty when nobody listened.
        self.mark_ready(index);
    }

    /// Takes the cursor away; members must have left.
    pub(super) fn drop_cursor(&mut self, index: u32) {
        let group = &mut self.slab[index as usize];
        for topic in group.topics.drain(..) {
            if let Some(list) = self.by_topic.get_mut(&topic) {
                list.retain(|&other| other != index);
                if list.is_empty() {
                    self.by_topic.remove(&topic);
                }
            }
        }
        group.feed = None;
    }

    /// Counts a connection that has given up its own cursor.
    pub(super) fn feed(&mut self, index: u32) {
        self.count_fed(index, |fed| fed + 1);
    }

    /// Undoes [`feed`](Self::feed).
    pub(super) fn unfeed(&mut self, index: u32) {
        self.count_fed(index, |fed| fed - 1);
    }

    fn count_fed(&mut self, index: u32, change: impl FnOnce(usize) -> usize) {
        let group = &mut self.slab[index as usize];
        group.fed = change(group.fed);
        if let Some(feed) = &group.feed {
            feed.set_readers(group.fed);
        }
    }

    /// Adds a member and returns its slot.
    pub(super) fn join(&mut self, index: u32, key: Key) -> u32 {
        let members = &mut self.slab[index as usize].members;
        members.push(key.index() as u32);
        (members.len() - 1) as u32
    }

    /// Removes the member at `slot`; the last one moves there.
    pub(super) fn part(&mut self, index: u32, slot: u32, conns: &mut Conns) {
        part(&mut self.slab[index as usize].members, slot, conns);
    }

    pub(super) fn mark_topic_dirty(&mut self, topic: TopicKey) {
        let Groups { slab, by_topic, ready, .. } = self;
        for &index in by_topic.get(&topic).into_iter().flatten() {
            queue(&mut slab[index as usize], index, ready);
        }
    }

    pub(super) fn mark_ready(&mut self, index: u32) {
        if let Some(group) = self.slab.get_mut(index as usize) {
            queue(group, index, &mut self.ready);
        }
    }

    /// Whether the group holds events that its members have not got.
    fn is_ahead(&self, index: u32) -> bool {
        self.get(index).and_then(|group| group.feed.as_ref()).is_some_and(Feed::is_ahead)
    }

    pub(super) fn ready_len(&self) -> usize {
        self.ready.len()
    }

    pub(super) fn next_ready(&mut self) -> Option<u32> {
        let index = self.ready.pop_front()?;
        if let Some(group) = self.slab.get_mut(index as usize) {
            group.queued = false;
        }
        Some(index)
    }
}

fn queue(group: &mut Group, index: u32, ready: &mut VecDeque<u32>) {
    if !group.queued && group.feed.is_some() {
        group.queued = true;
        ready.push_back(index);
    }
}

fn part(members: &mut Vec<u32>, slot: u32, conns: &mut Conns) {
    members.swap_remove(slot as usize);
    if let Some(&moved) = members.get(slot as usize) {
        conns.member_mut(moved).1.phase = Phase::Live { slot };
    }
}

/// Where a group stands after its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Served {
    /// Everything published before is with its members.
    Idle,
    /// There may be more; ask again.
    More,
    /// It has no cursor (any more): its topics are closed, or history moved past it.
    Without,
}

impl Lane<'_> {
    /// One turn for each group that had something when this began.
    pub(super) fn serve_ready(&mut self) {
        for _ in 0..self.groups.ready_len() {
            let Some(group) = self.groups.next_ready() else { break };
            if self.ring.is_some() && self.gather(group) {
                continue;
            }
            if self.serve(group) == Served::More {
                self.groups.mark_ready(group);
            }
        }
        self.deliver_gathered();
    }

    /// Pulls and delivers up to a turn's worth of batches for one group.
    pub(super) fn serve(&mut self, index: u32) -> Served {
        for step in 0..TURN_BATCHES {
            let Some(group) = self.groups.slab.get_mut(index as usize) else { return Served::Without };
            let Some(feed) = &mut group.feed else { return Served::Without };
            if step > 0 && group.members.len() > LARGE_GROUP {
                return Served::More;
            }
            let pulled = feed.next(self.batch.refill());
            if !self.batch.frames().is_empty() && !group.members.is_empty() {
                self.batch.seal(group.key.framing);
                self.tally.batches += 1;
                self.deliver(index, &[]);
            }
            let served = self.after_pull(index, pulled);
            if served != Served::More {
                return served;
            }
        }
        Served::More
    }

    /// Where a group stands that has been pulled with this result, and whose members have what was pulled.
    pub(super) fn after_pull(&mut self, index: u32, pulled: Pulled) -> Served {
        match pulled {
            Pulled::More => Served::More,
            Pulled::Idle if self.groups.is_ahead(index) => Served::More,
            Pulled::Idle => Served::Idle,
            Pulled::Ended => {
                self.end_members(index, Code::TopicClosed);
                Served::Without
            }
            Pulled::Lapped => {
                self.end_members(index, Code::Lapped);
                Served::Without
            }
        }
    }

    /// Sends the batch to every member, once each. Those whose socket is full leave the group and keep a position. Members that a ring has
    /// sent to already have taken as many bytes as `answered` says: all of them, or none if it is empty.
    pub(super) fn deliver(&mut self, index: u32, answered: &[usize]) {
        let framing = self.batch.framing();
        let (mut dead, mut cut) = (std::mem::take(&mut self.dead), std::mem::take(&mut self.cut));
        let Groups { slab, .. } = &mut self.groups;
        let Group { feed: Some(feed), members, .. } = &mut slab[index as usize] else { return };
        let after = feed.position();
        let (mut next, mut run) = (0, LOOK_AHEAD_EVERY);
        while next < members.len() {
            let (first, end) = (next, members.len().min(next + run));
            next = end;
            let mut taken = match &mut self.ring {
                _ if !answered.is_empty() => &answered[first..end],
                // One alone is cheaper without; where something is withheld, members get different bytes.
                Some(ring) if end - first > 1 && !self.batch.is_selective() => {
                    let bytes = self.batch.bytes();
                    ring.send(members[first..end].iter().map(|&member| (self.conns.socket_of(member), bytes)))
                }
                _ => &[],
            }
            .iter();
            for (offset, &member) in members[first..end].iter().enumerate() {
                let (key, conn) = self.conns.member_mut(member);
                let batch = if self.batch.withholds_from(conn.client.as_deref()) {
                    self.selected.refill_for(conn.client.as_deref().unwrap_or_default(), &self.batch);
                    &self.selected
                } else {
                    &self.batch
                };
                let sent = match taken.next() {
                    Some(&taken) => send_on(&conn.socket, batch.bytes(), taken, &mut self.tally),
                    None => send(&conn.socket, batch.bytes(), &mut self.tally),
                };
                match sent {
                    Sent::All => {
                        if !batch.bytes().is_empty() {
                            conn.progress = self.now;
                        }
                        self.tally.delivered += batch.whole();
                    }
                    Sent::Part(sent) => {
                        self.tally.delivered += batch.part(sent);
                        conn.go_own(Own::cut(batch, sent, framing, after));
                        conn.blocked = true;
                        conn.progress = self.now;
                        let due = self.now + self.rules.write_timeout;
                        if due < conn.check {
                            conn.check = self.wheel.file(key, due);
                        }
                        cut.push((first + offset) as u32);
                    }
                    Sent::Dead => dead.push(key),
                }
            }
            if next < members.len() {
                let quiet = !feed.look_ahead(members.len());
                run = if quiet && self.ring.is_some() { LONGEST_RUN.min(2 * run) } else { LOOK_AHEAD_EVERY };
            }
        }
        // From the last to the first, so that what moves into a gap is never one that is to leave itself.
        for slot in cut.drain(..).rev() {
            part(members, slot, &mut self.conns);
        }
        self.cut = cut;
        for key in dead.drain(..) {
            self.close(key);
        }
        self.dead = dead;
        self.drop_broken_ring();
    }

    /// Ends every member's stream, at a boundary between frames as all members are, and lets the cursor go.
    fn end_members(&mut self, index: u32, why: Code) {
        while let Some(&member) = self.groups.get(index).and_then(|group| group.members.last()) {
            let (key, conn) = self.conns.member_mut(member);
            conn.ends_because(why);
            self.tally.lapped += u64::from(why == Code::Lapped);
            self.finish(key);
        }
        if self.groups.get(index).is_some() {
            self.groups.drop_cursor(index);
        }
    }
}
