//! A connection in a lane: its socket, its place among the readers, and the few bytes it may owe.

use std::mem;
use std::net::Shutdown;

use fanfare_engine::{Code, Subscription, WeakFrame};
use mio::Token;
use mio::net::TcpStream;
use slab::Slab;

use super::batch::{Batch, framed};
use super::write::Delivered;
use crate::handoff::{Framing, Permit};
use crate::shared::StreamPermit;

/// What is left of a frame is copied up to this size, so that a cut event of that size can always be finished and its reader gets its policy.
/// Of a larger rest only a weak reference is kept: a stalled reader must not hold more of what history has let go. Below 64 KiB, which is
/// what a stalled reader may cost in all.
const COPY_REST: usize = 56 << 10;
/// Bits of a token that hold the index; the others hold the generation.
const INDEX_BITS: u32 = usize::BITS / 2;
const INDEX_MASK: usize = (1 << INDEX_BITS) - 1;

/// Names a connection for as long as it lives; after that it names nothing, also when its slot is used again.
///
/// ```text
///   token (usize):  [ generation : half the bits | index : half the bits ]
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    pub(super) fn new(index: usize, generation: u32) -> Key {
        Key { index: index as u32, generation }
    }

    pub(super) fn index(self) -> usize {
        self.index as usize
    }

    pub(super) fn token(self) -> Token {
        Token((self.generation as usize) << INDEX_BITS | self.index as usize)
    }

    pub(super) fn from_token(token: Token) -> Key {
        Key { index: (token.0 & INDEX_MASK) as u32, generation: (token.0 >> INDEX_BITS) as u32 }
    }
}

/// One socket and where it stands. See the diagram in the module above.
pub(super) struct Conn {
    pub(super) socket: TcpStream,
    generation: u32,
    /// Index of its group, which lives at least as long.
    pub(super) group: u32,
    /// Events published with `except` equal to this are not for it.
    pub(super) client: Option<Box<str>>,
    pub(super) phase: Phase,
    /// The tick at which the socket last accepted bytes, or at which it became blocked.
    pub(super) progress: u64,
    /// The tick of its valid entry in the wheel.
    pub(super) check: u64,
    /// The tick at which the stream is to be ended; `u64::MAX` = never.
    pub(super) expires: u64,
    pub(super) goal: Goal,
    /// The socket took no more bytes: only its becoming writable goes on. Never set while live.
    pub(super) blocked: bool,
    /// It stands in the lane's list of connections to step.
    pub(super) queued: bool,
    /// It stands in the lane's list of connections with more to read.
    pub(super) reading: bool,
    _open: StreamPermit,
    /// Declared behind the socket, so dropped after it.
    permit: Option<Permit>,
}

/// Where a connection's next bytes come from.
pub(super) enum Phase {
    /// Everything its group has pulled is written: it gets the group's next batch. `slot` is its place in the member list.
    Live { slot: u32 },
    /// It reads history by itself: replaying after it came, or behind after its socket was full.
    Own(Box<Own>),
    /// The last bytes are out and the write side is shut; it waits for the peer to close.
    Closing,
}

/// What a connection is to do at the next boundary between frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// Go on.
    Stream,
    /// Say the end of the stream.
    End,
    /// The end of the stream is among the bytes it owes; then shut the socket.
    Shut,
}

/// The rare state: a connection that does not ride with its group.
pub(super) struct Own {
    /// Bytes that come before anything else.
    pub(super) rest: Rest,
    pub(super) source: Source,
}

/// Bytes of which a part is sent already.
pub(super) enum Rest {
    Nothing,
    /// A copy, and what is delivered with its last byte.
    Bytes {
        bytes: Box<[u8]>,
        sent: usize,
        delivers: Delivered,
    },
    /// A frame that history holds, or has let go.
    Frame {
        frame: WeakFrame,
        sent: usize,
    },
}

/// A cursor, open or as a number.
pub(super) enum Source {
    Open(Subscription),
    /// To be opened after this position once the socket takes bytes again.
    Position(u64),
    /// Nothing follows.
    Nowhere,
}

impl Rest {
    /// The tail of `bytes` from `sent`.
    pub(super) fn tail(bytes: &[u8], sent: usize) -> Rest {
        Rest::Bytes { bytes: bytes[sent..].into(), sent: 0, delivers: Delivered::default() }
    }
}

impl Own {
    /// What is left to do for a socket that took `sent` bytes of `batch`, which was pulled by a cursor that stands at `after`
    /// now.
    pub(super) fn cut(batch: &Batch, sent: usize, framing: Framing, after: u64) -> Own {
        let cut = batch.cut(sent);
        let frames = batch.frames();
        let frame = &frames[cut.frame];
        // A gap notice is in no history: once pulled it must be kept, also when none of it is sent.
        if cut.offset == 0 && !frame.is_gap() {
            // Right before the frame, not where the pull began: history may have let go what lies between without this
            // reader having missed anything.
            return Own { rest: Rest::Nothing, source: Source::Position(frame.seq().saturating_sub(1)) };
        }
        let bytes = framed(frame, framing);
        let rest = if bytes.len() - cut.offset <= COPY_REST || frame.is_gap() {
            Rest::Bytes { bytes: bytes[cut.offset..].into(), sent: 0, delivers: Delivered::of(frame) }
        } else {
            Rest::Frame { frame: frame.downgrade(), sent: cut.offset }
        };
        // Behind the last frame the cursor may have passed events that the filter left out.
        let position = if cut.frame + 1 == frames.len() { after } else { frame.seq() };
        Own { rest, source: Source::Position(position) }
    }
}

/// The lane's connections under generational keys.
pub(super) struct Conns {
    slab: Slab<Conn>,
    generation: u32,
}

/// What a new connection starts with.
pub(super) struct NewConn {
    pub(super) socket: TcpStream,
    pub(super) group: u32,
    pub(super) client: Option<Box<str>>,
    pub(super) own: Own,
    pub(super) now: u64,
    pub(super) expires: u64,
    pub(super) open: StreamPermit,
    pub(super) permit: Option<Permit>,
}

impl Conns {
    pub(super) fn new() -> Conns {
        Conns { slab: Slab::new(), generation: 0 }
    }

    /// The key that the next [`insert`](Self::insert) will use; `None` when tokens cannot count further.
    pub(super) fn next_key(&self) -> Option<Key> {
        let index = self.slab.vacant_key();
        // The last index with the last generation would be the waker's token.
        (index < INDEX_MASK).then(|| Key::new(index, self.generation))
    }

    pub(super) fn insert(&mut self, new: NewConn) -> Key {
        let generation = self.generation;
        self.generation = (generation + 1) & INDEX_MASK as u32;
        let index = self.slab.insert(Conn {
            socket: new.socket,
            generation,
            group: new.group,
            client: new.client,
            phase: Phase::Own(Box::new(new.own)),
            progress: new.now,
            check: u64::MAX,
            expires: new.expires,
            goal: Goal::Stream,
            blocked: false,
            queued: false,
            reading: false,
            _open: new.open,
            permit: new.permit,
        });
        Key::new(index, generation)
    }

    pub(super) fn get(&self, key: Key) -> Option<&Conn> {
        self.slab.get(key.index()).filter(|conn| conn.generation == key.generation)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Conn> {
        self.slab.get_mut(key.index()).filter(|conn| conn.generation == key.generation)
    }

    /// A member of a group: member lists hold only connections that live.
    pub(super) fn member_mut(&mut self, index: u32) -> (Key, &mut Conn) {
        let conn = &mut self.slab[index as usize];
        (Key { index, generation: conn.generation }, conn)
    }

    /// The socket of a member of a group.
    pub(super) fn socket_of(&self, member: u32) -> &TcpStream {
        &self.slab[member as usize].socket
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Conn> {
        self.get(key)?;
        self.slab.try_remove(key.index())
    }

    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    pub(super) fn keys_of(&self, client: &str) -> Vec<Key> {
        let of = |(_, conn): &(usize, &Conn)| conn.client.as_deref() == Some(client);
        self.slab.iter().filter(of).map(|(index, conn)| Key::new(index, conn.generation)).collect()
    }

    pub(super) fn keys(&self) -> Vec<Key> {
        self.slab.iter().map(|(index, conn)| Key::new(index, conn.generation)).collect()
    }
}

impl Conn {
    /// A number that differs from connection to connection, to spread what would otherwise happen at one moment.
    pub(super) fn spread(&self) -> u64 {
        u64::from(self.generation.wrapping_mul(0x9e37_79b9)) >> 8
    }

    /// Leaves whatever it was doing and goes its own way.
    pub(super) fn go_own(&mut self, own: Own) {
        self.phase = Phase::Own(Box::new(own));
    }

    /// Why its stream is about to be over, for a host that wants to be told.
    pub(super) fn ends_because(&mut self, why: Code) {
        if let Some(Permit::Host(guard)) = &mut self.permit {
            guard.because(why);
        }
    }

    /// Takes the own cursor out, which leaves `Closing` behind for the caller to overwrite or keep.
    pub(super) fn take_phase(&mut self) -> Phase {
        mem::replace(&mut self.phase, Phase::Closing)
    }
}

impl Drop for Conn {
    /// However the lane lets go of it, the connection ends: a duplicate that the host kept would hold it open.
    fn drop(&mut self) {
        if self.permit.as_ref().is_some_and(Permit::is_host) {
            // It fails only where the connection is gone already.
            let _ = self.socket.shutdown(Shutdown::Both);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_the_way_through_a_token() {
        for key in [Key::new(0, 0), Key::new(7, 9), Key::new(0xffff, 0xffff)] {
            assert_eq!(Key::from_token(key.token()), key);
        }
    }

    #[test]
    fn a_connection_is_small() {
        assert!(size_of::<Conn>() <= 152, "{}", size_of::<Conn>());
    }
}
