//! Small groups together: the batches of many topics by one system call.
//!
//! A ring pays when it sends to many sockets at once. Where topics have few readers each, their groups are pulled one after the other, what
//! they are to get is kept, and all of it is sent by one call. Nothing else may happen to the groups in between.

use std::mem;

use fanfare_engine::Pulled;

use super::batch::{Batch, GROUP_BYTES};
use super::group::Served;
use super::thread::Lane;

/// Groups with more members have runs of their own; with as many or fewer, a group is sent to without a look into history in between.
const SMALL_GROUP: usize = 16;
/// Sends that are gathered at most, beside those of one group more.
const SENDS: usize = 64;

/// What waits to be sent.
#[derive(Default)]
pub(super) struct Gathered {
    /// The groups, what they get, and how their pulls ended.
    groups: Vec<(u32, Batch, Pulled)>,
    /// Empty, to be used again.
    spare: Vec<Batch>,
    sends: usize,
    bytes: usize,
    /// How much each socket took.
    answers: Vec<usize>,
}

impl Lane<'_> {
    /// Pulls a small group and keeps what its members are to get. False: it is none, and nothing has happened.
    pub(super) fn gather(&mut self, index: u32) -> bool {
        let Some(group) = self.groups.slab.get_mut(index as usize) else { return false };
        let Some(feed) = &mut group.feed else { return false };
        if group.members.is_empty() || group.members.len() > SMALL_GROUP {
            return false;
        }
        let Gathered { groups, spare, sends, bytes, .. } = &mut self.gathered;
        let mut batch = spare.pop().unwrap_or_else(Batch::new);
        let pulled = feed.next(batch.refill());
        if batch.frames().is_empty() {
            spare.push(batch);
            self.go_on(index, pulled);
            return true;
        }
        batch.seal(group.key.framing);
        self.tally.batches += 1;
        if batch.is_selective() {
            self.deliver_one(index, batch, &[], pulled);
            return true;
        }
        *sends += group.members.len();
        *bytes += batch.bytes().len();
        groups.push((index, batch, pulled));
        if *sends >= SENDS || *bytes >= GROUP_BYTES {
            self.deliver_gathered();
        }
        true
    }

    /// Sends what has been gathered.
    pub(super) fn deliver_gathered(&mut self) {
        if self.gathered.groups.is_empty() {
            return;
        }
        let mut gathered = mem::take(&mut self.gathered);
        let Gathered { groups, answers, .. } = &mut gathered;
        answers.clear();
        // One alone is cheaper without.
        if let Some(ring) = self.ring.as_mut().filter(|_| groups.len() > 1) {
            let (slab, conns) = (&self.groups.slab, &self.conns);
            let sends = groups.iter().flat_map(|(index, batch, _)| {
                let members = &slab[*index as usize].members;
                members.iter().map(|&member| (conns.socket_of(member), batch.bytes()))
            });
            answers.extend_from_slice(ring.send(sends));
        }
        let mut rest = &answers[..];
        for (index, batch, pulled) in groups.drain(..) {
            let count = self.groups.slab[index as usize].members.len();
            let (answered, others) = rest.split_at(count.min(rest.len()));
            rest = others;
            self.deliver_one(index, batch, answered, pulled);
        }
        (gathered.sends, gathered.bytes) = (0, 0);
        gathered.spare.append(&mut self.gathered.spare);
        self.gathered = gathered;
    }

    fn deliver_one(&mut self, index: u32, batch: Batch, answered: &[usize], pulled: Pulled) {
        let kept = mem::replace(&mut self.batch, batch);
        self.deliver(index, answered);
        let mut batch = mem::replace(&mut self.batch, kept);
        batch.release();
        self.gathered.spare.push(batch);
        self.go_on(index, pulled);
    }

    fn go_on(&mut self, index: u32, pulled: Pulled) {
        if self.after_pull(index, pulled) == Served::More {
            self.groups.mark_ready(index);
        }
    }
}
