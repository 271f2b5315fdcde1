//! Writing: what a socket takes, what it leaves, and the count of it.

use std::io::{self, Read, Write};
use std::ops::AddAssign;

use fanfare_engine::Frame;
use mio::net::TcpStream;

use super::batch::framed;
use super::conn::Rest;
use super::handle::LaneCounters;
use crate::handoff::Framing;
use crate::shared::Shared;

/// The end of a chunked body (RFC 9112, 7.1).
pub(super) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
/// Reads of one connection in one turn of the lane; a peer that floods us waits for its next turn.
const READS: usize = 16;

/// What became of an attempt to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    All,
    /// The socket is full after this many bytes, possibly none. It will report when it is writable.
    Part(usize),
    /// The connection is broken.
    Dead,
}

/// Events, gap notices and their bytes without framing, written completely.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Delivered {
    pub(super) frames: u64,
    pub(super) gaps: u64,
    pub(super) bytes: u64,
}

impl Delivered {
    pub(super) fn of(frame: &Frame) -> Delivered {
        let gaps = u64::from(frame.is_gap());
        Delivered { frames: 1 - gaps, gaps, bytes: frame.wire().len() as u64 }
    }
}

impl AddAssign for Delivered {
    fn add_assign(&mut self, other: Delivered) {
        self.frames += other.frames;
        self.gaps += other.gaps;
        self.bytes += other.bytes;
    }
}

/// What one turn of the lane did. Added to the shared counters once per turn, so that a send costs no atomic step.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) delivered: Delivered,
    pub(super) batches: u64,
    pub(super) writes: u64,
    pub(super) partial: u64,
    pub(super) lapped: u64,
    pub(super) stalled: u64,
}

impl Tally {
    /// Adds everything to the shared counters and starts again at zero.
    pub(super) fn publish(&mut self, lane: &LaneCounters, shared: &Shared) {
        if self.writes == 0 && self.lapped == 0 && self.stalled == 0 {
            return;
        }
        let Tally { delivered, batches, writes, partial, lapped, stalled } = std::mem::take(self);
        let all = &shared.counters;
        for (counter, n) in [
            (&lane.batches, batches),
            (&lane.writes, writes),
            (&lane.partial, partial),
            (&all.frames, delivered.frames),
            (&all.bytes, delivered.bytes),
            (&all.gaps, delivered.gaps),
            (&all.lapped, lapped),
            (&all.stalled, stalled),
        ] {
            if n > 0 {
                counter.add(n);
            }
        }
    }
}

/// Sends until everything is sent or the socket says that it is full.
///
/// Going on after a short write costs a system call on the rare path only, and is what arms the next report of
/// writability on every platform.
pub(super) fn send(mut socket: &TcpStream, bytes: &[u8], tally: &mut Tally) -> Sent {
    let mut sent = 0;
    while sent < bytes.len() {
        tally.writes += 1;
        match socket.write(&bytes[sent..]) {
            Ok(0) => return Sent::Dead,
            Ok(n) => sent += n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tally.partial += 1;
                return Sent::Part(sent);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Sent::Dead,
        }
    }
    Sent::All
}

/// Goes on where a ring has sent `taken` of `bytes` for us. Whether the socket is full, the connection broken or only the ring at fault is
/// for `send` to say.
pub(super) fn send_on(socket: &TcpStream, bytes: &[u8], taken: usize, tally: &mut Tally) -> Sent {
    tally.writes += 1;
    match bytes.get(taken..) {
        None | Some([]) => Sent::All,
        Some(rest) => match send(socket, rest, tally) {
            Sent::Part(more) => Sent::Part(taken + more),
            other => other,
        },
    }
}

/// What became of the bytes that a connection owes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flushed {
    /// It owes nothing.
    Done,
    /// The socket is full; `true` if it took at least one byte.
    Blocked(bool),
    Dead,
    /// History let the frame go in the middle: the event can never be finished.
    Gone,
}

impl Rest {
    /// Sends as much of the rest as the socket takes.
    pub(super) fn flush(&mut self, socket: &TcpStream, framing: Framing, tally: &mut Tally) -> Flushed {
        let (outcome, delivers) = match self {
            Rest::Nothing => return Flushed::Done,
            Rest::Bytes { bytes, sent, delivers } => {
                let outcome = send(socket, &bytes[*sent..], tally);
                if let Sent::Part(n) = outcome {
                    *sent += n;
                }
                (outcome, *delivers)
            }
            Rest::Frame { frame, sent } => {
                let Some(frame) = frame.upgrade() else { return Flushed::Gone };
                let outcome = send(socket, &framed(&frame, framing)[*sent..], tally);
                if let Sent::Part(n) = outcome {
                    *sent += n;
                }
                (outcome, Delivered::of(&frame))
            }
        };
        match outcome {
            Sent::All => {
                *self = Rest::Nothing;
                tally.delivered += delivers;
                Flushed::Done
            }
            Sent::Part(n) => Flushed::Blocked(n > 0),
            Sent::Dead => Flushed::Dead,
        }
    }
}

/// What the peer had to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing more right now.
    Quiet,
    /// There is more; it is looked at in the next turn.
    More,
    /// It closed, wholly or its sending half, or the connection broke.
    Closed,
}

/// Reads and forgets what the peer sends.
pub(super) fn discard(mut socket: &TcpStream, scratch: &mut [u8]) -> Heard {
    for _ in 0..READS {
        match socket.read(scratch) {
            Ok(0) => return Heard::Closed,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Heard::Quiet,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Heard::Closed,
        }
    }
    Heard::More
}
