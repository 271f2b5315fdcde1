//! A batch: the frames of one pull as one run of bytes, built once for all sockets that get it.
//!
//! One frame is sent from where it lies, without a copy. Several are joined into a buffer that the lane uses again and
//! again. Where a socket accepted only a part, [`Batch::cut`] says which frame that fell into, so that the
//! connection needs to keep a position instead of bytes.

use fanfare_engine::Frame;

use super::write::Delivered;
use crate::handoff::Framing;

/// Bytes pulled at a time for one connection, unless one frame alone is larger.
pub(super) const BATCH_BYTES: usize = 64 << 10;
/// Bytes pulled at a time for a group. More than for one connection, because all members share them and every send has a price of its own.
pub(super) const GROUP_BYTES: usize = 128 << 10;
/// A buffer that grew beyond this gives its memory back.
const KEEP_BYTES: usize = 2 * GROUP_BYTES;

/// What one of many keeps, in bytes and frames.
const KEEP_SMALL: usize = 4 << 10;
const KEEP_FRAMES: usize = 16;

/// Frames in order, and their bytes as they go on the wire.
pub(super) struct Batch {
    framing: Framing,
    frames: Vec<Frame>,
    /// Where each frame ends in the joined bytes.
    ends: Vec<usize>,
    /// The joined bytes; unused for a single frame.
    joined: Vec<u8>,
    /// What a socket has got that took all of it.
    whole: Delivered,
    /// Whether a frame is withheld from some client.
    selective: bool,
}

/// Where a partly sent batch was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// The first frame that is not sent completely.
    pub(super) frame: usize,
    /// Bytes of it that are sent.
    pub(super) offset: usize,
}

impl Batch {
    pub(super) fn new() -> Batch {
        Batch {
            framing: Framing::Chunked,
            frames: Vec::new(),
            ends: Vec::new(),
            joined: Vec::new(),
            whole: Delivered::default(),
            selective: false,
        }
    }

    /// Forgets the last batch and hands out the frame list, to be filled by a pull and then [`seal`](Self::seal)ed.
    pub(super) fn refill(&mut self) -> &mut Vec<Frame> {
        self.clear();
        &mut self.frames
    }

    /// Lets go of the frames, so that history alone decides how long they live.
    pub(super) fn clear(&mut self) {
        self.frames.clear();
        self.ends.clear();
        self.joined.clear();
        self.joined.shrink_to(KEEP_BYTES);
    }

    /// As [`clear`](Self::clear), keeping little memory.
    pub(super) fn release(&mut self) {
        self.clear();
        self.frames.shrink_to(KEEP_FRAMES);
        self.ends.shrink_to(KEEP_FRAMES);
        self.joined.shrink_to(KEEP_SMALL);
    }

    /// Joins the frames for `framing`.
    pub(super) fn seal(&mut self, framing: Framing) {
        self.framing = framing;
        (self.whole, self.selective) = (Delivered::default(), false);
        self.ends.clear();
        self.joined.clear();
        let mut end = 0;
        let many = self.frames.len() > 1;
        for frame in &self.frames {
            let bytes = framed(frame, framing);
            if many {
                self.joined.extend_from_slice(bytes);
            }
            end += bytes.len();
            self.ends.push(end);
            self.whole += Delivered::of(frame);
            self.selective |= frame.except().is_some();
        }
    }

    /// Fills this batch with those frames of `other` that are for `client`.
    pub(super) fn refill_for(&mut self, client: &str, other: &Batch) {
        self.clear();
        self.frames.extend(other.frames.iter().filter(|frame| frame.except() != Some(client)).cloned());
        self.seal(other.framing);
    }

    /// Whether a frame is withheld from some client.
    pub(super) fn is_selective(&self) -> bool {
        self.selective
    }

    /// Whether a frame is withheld from `client`.
    pub(super) fn withholds_from(&self, client: Option<&str>) -> bool {
        self.selective && client.is_some() && self.frames.iter().any(|frame| frame.except() == client)
    }

    /// What to send.
    pub(super) fn bytes(&self) -> &[u8] {
        match &self.frames[..] {
            [frame] => framed(frame, self.framing),
            _ => &self.joined,
        }
    }

    pub(super) fn framing(&self) -> Framing {
        self.framing
    }

    pub(super) fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// What a socket has got that took all of it.
    pub(super) fn whole(&self) -> Delivered {
        self.whole
    }

    /// What a socket has got completely that took `sent` bytes, fewer than all.
    pub(super) fn part(&self, sent: usize) -> Delivered {
        let mut part = Delivered::default();
        for frame in &self.frames[..self.cut(sent).frame] {
            part += Delivered::of(frame);
        }
        part
    }

    /// Where the batch is cut after `sent` bytes, which must be fewer than all.
    pub(super) fn cut(&self, sent: usize) -> Cut {
        let frame = self.ends.partition_point(|&end| end <= sent);
        let start = frame.checked_sub(1).map_or(0, |before| self.ends[before]);
        Cut { frame, offset: sent - start }
    }
}

/// A frame's bytes as they go on the wire.
pub(super) fn framed(frame: &Frame, framing: Framing) -> &[u8] {
    match framing {
        Framing::Chunked => frame.chunk(),
        Framing::Plain => frame.wire(),
    }
}
