//! The frame: an admitted event, rendered once, shared by all who write it.
//!
//! ```text
//!  buf:  [ free | 1f4\r\n | event: chat\n data: hi\n | id: k3f9x2ab-42\n \n | \r\n ]
//!               ^chunk     ^wire                                          ^wire end  ^chunk end
//! ```
//! The fields but the id are written before the event has a position. When it has one, the id line and the end go behind
//! them and the HTTP/1.1 chunk header (RFC 9112 section 7.1) goes right-aligned into the free space in front: room for
//! all of it is there, and that is all that happens to the bytes inside the critical section.
//!
//! The id comes last because some readers take it as soon as its line is complete instead of at the blank line: cut between
//! the two, such a reader would resume behind an event that it never got. Now there is one byte between.

use core::fmt;
use core::ops::Range;
use std::borrow::Cow;
use std::sync::Weak;

use crate::draft::Draft;
use crate::id::{Epoch, MAX_EPOCH_BYTES};
use crate::sync::Arc;
use crate::time::Timestamp;
use crate::wire::encode;

/// Room for the longest chunk header, `ffffffff` CR LF.
const CHUNK_HEAD: usize = 10;
/// Room for the longest generated id line, `id: ` epoch `-` 20 digits LF.
const ID_LINE: usize = 4 + MAX_EPOCH_BYTES + 1 + 20 + 1;
/// The blank line that ends the block, and the end of the chunk.
const END: &[u8] = b"\n\r\n";
/// What a frame costs beside its bytes: the shared header, its reference counts and its slot in the ring.
const OVERHEAD: u64 = 144;
/// What a publisher's own id costs beside a copy of its bytes: its entry in the index of ids.
const ID_OVERHEAD: u64 = 64;

/// One event as bytes. Cloning copies a pointer; the bytes are never written again.
#[derive(Clone)]
pub struct Frame(Arc<Inner>);

/// A frame that may be gone: holding it keeps no bytes alive.
#[derive(Clone)]
pub struct WeakFrame(Held);

#[derive(Clone)]
enum Held {
    Weak(Weak<Inner>),
    /// Read back from the journal: no ring holds it, so who writes it does.
    Stored(Frame),
}

struct Inner {
    /// Position in the hub's sequence.
    seq: u64,
    /// When it was published, by the publisher's clock.
    at: Timestamp,
    topic: Arc<str>,
    buf: Vec<u8>,
    chunk_start: u32,
    /// Where the bytes stand in `buf`; positions in `buf` fit u32 because events are limited far below 4 GiB.
    id: Range<u32>,
    event: Range<u32>,
    data: Range<u32>,
    /// Whether `data` spans several `data` lines.
    many_lines: bool,
    gap: bool,
    stored: bool,
    own_id: bool,
    apart: Option<Box<Apart>>,
}

/// What few events have.
struct Apart {
    except: Option<Box<str>>,
    key: Option<Box<str>>,
}

/// A rendered event that has no position yet.
pub(crate) struct NewFrame(Arc<Inner>);

impl NewFrame {
    /// Renders everything that does not depend on the position.
    pub(crate) fn render(topic: Arc<str>, draft: &Draft<'_>, at: Timestamp) -> Self {
        let fields = draft.event.as_ref().map_or(0, |event| event.len() + 8) + draft.retry.map_or(0, |_| 28);
        let id_line = draft.id.as_ref().map_or(ID_LINE, |id| id.len() + 5);
        let line_ends = encode::line_ends(&draft.data);
        let lines = encode::data_bytes(draft.data.len(), line_ends);
        let mut buf = Vec::with_capacity(CHUNK_HEAD + fields + lines + id_line + END.len());
        buf.resize(CHUNK_HEAD, 0);
        let mut event = 0..0;
        if let Some(name) = &draft.event {
            encode::field(&mut buf, "event", name);
            event = last_value(&buf, name.len());
        }
        if let Some(ms) = draft.retry {
            encode::retry(&mut buf, ms);
        }
        let data_start = position(buf.len());
        let many_lines = line_ends > 0;
        if many_lines {
            encode::data(&mut buf, &draft.data);
        } else {
            // Without looking for line ends once more.
            encode::field(&mut buf, "data", &draft.data);
        }
        let data = data_start..position(buf.len());
        let mut id = 0..0;
        if let Some(own) = &draft.id {
            encode::field(&mut buf, "id", own);
            id = last_value(&buf, own.len());
        }
        Self(Arc::new(Inner {
            seq: 0,
            at,
            topic,
            buf,
            chunk_start: 0,
            id,
            event,
            data,
            many_lines,
            gap: false,
            stored: false,
            own_id: draft.id.is_some(),
            apart: (draft.except.is_some() || draft.key.is_some()).then(|| {
                let [except, key] = [&draft.except, &draft.key].map(|text| text.as_deref().map(Box::from));
                Box::new(Apart { except, key })
            }),
        }))
    }

    /// Bytes of the block without a generated id line and the end.
    pub(crate) fn len(&self) -> u64 {
        (self.0.buf.len() - CHUNK_HEAD) as u64
    }

    /// Gives the frame its position: writes the id line, unless the publisher brought an id, the end and the chunk header.
    pub(crate) fn seal(mut self, epoch: &Epoch, seq: u64) -> Frame {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.seq = seq;
            if !inner.own_id {
                let mut digits = itoa::Buffer::new();
                let digits = digits.format(seq);
                inner.buf.extend_from_slice(b"id: ");
                let start = inner.buf.len();
                inner.buf.extend_from_slice(epoch.as_str().as_bytes());
                inner.buf.push(b'-');
                inner.buf.extend_from_slice(digits.as_bytes());
                inner.id = position(start)..position(inner.buf.len());
                inner.buf.push(b'\n');
            }
            inner.buf.extend_from_slice(END);
            inner.seal_chunk();
        }
        Frame(self.0)
    }
}

impl Frame {
    /// Says that it was read back from the journal.
    pub(crate) fn stored(mut self) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.stored = true;
        }
        self
    }
}

/// Where a value of `len` bytes stands that [`encode::field`] has just written.
fn last_value(buf: &[u8], len: usize) -> Range<u32> {
    position(buf.len() - 1 - len)..position(buf.len() - 1)
}

/// A position in a buffer; buffers are limited far below 4 GiB by `limits.event_bytes`.
fn position(at: usize) -> u32 {
    u32::try_from(at).expect("limits.event_bytes keeps a frame below 4 GiB")
}

impl Inner {
    /// Writes the chunk header in front of the finished wire bytes.
    fn seal_chunk(&mut self) {
        let mut hex = [0; CHUNK_HEAD];
        let mut at = CHUNK_HEAD - 2;
        hex[at..].copy_from_slice(b"\r\n");
        let mut rest = self.wire().len();
        while rest > 0 {
            at -= 1;
            hex[at] = b"0123456789abcdef"[rest & 15];
            rest >>= 4;
        }
        self.buf[at..CHUNK_HEAD].copy_from_slice(&hex[at..]);
        self.chunk_start = position(at);
    }

    fn wire(&self) -> &[u8] {
        &self.buf[CHUNK_HEAD..self.buf.len() - 2]
    }

    fn text(&self, range: &Range<u32>) -> &str {
        // Every range was measured around text that came in as `str`.
        std::str::from_utf8(&self.buf[range.start as usize..range.end as usize]).unwrap_or_default()
    }
}

impl Frame {
    /// The notice that events are missing: `fanfare.gap` with what was asked for and what there is.
    ///
    /// Its id is the position before the oldest event that follows, so a reader that is cut right after the notice
    /// gets the same events when it resumes. It is told again only if it reads several topics and one of them has
    /// lost events that lie behind that position.
    pub(crate) fn gap(gap: &Gap<'_>) -> Self {
        let mut json = String::with_capacity(96);
        json.push_str("{\"requested\":");
        encode::json_string(&mut json, gap.requested);
        for (name, id) in [(",\"oldest\":", &gap.oldest), (",\"newest\":", &gap.newest)] {
            json.push_str(name);
            match id {
                Some(id) => encode::json_string(&mut json, id),
                None => json.push_str("null"),
            }
        }
        json.push('}');
        let draft = Draft::new("", json).with_event("fanfare.gap");
        let mut frame =
            NewFrame::render(gap.topic.clone(), &draft, Timestamp::default()).seal(gap.epoch, gap.before);
        if let Some(inner) = Arc::get_mut(&mut frame.0) {
            inner.gap = true;
        }
        frame
    }

    /// The event's position in the hub's sequence. For a gap notice: the position from which reading goes on.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.0.seq
    }

    /// The SSE block, blank line included: what an HTTP/2 or HTTP/1.0 stream carries.
    #[must_use]
    pub fn wire(&self) -> &[u8] {
        self.0.wire()
    }

    /// The same block as one HTTP/1.1 chunk (RFC 9112 section 7.1).
    #[must_use]
    pub fn chunk(&self) -> &[u8] {
        &self.0.buf[self.0.chunk_start as usize..]
    }

    /// The topic it was published to; for a gap notice, the first topic of the subscription.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.0.topic
    }

    /// The event's id: the publisher's own, or `epoch-sequence`.
    #[must_use]
    pub fn id(&self) -> &str {
        self.0.text(&self.0.id)
    }

    /// The event type; `None` is what browsers call `message`.
    #[must_use]
    pub fn event(&self) -> Option<&str> {
        (!self.0.event.is_empty()).then(|| self.0.text(&self.0.event))
    }

    /// The data, line ends as LF. Borrowed when it is one line.
    #[must_use]
    pub fn data(&self) -> Cow<'_, str> {
        let Range { start, end } = self.0.data;
        if self.0.many_lines {
            Cow::Owned(encode::join_data(&self.0.buf[start as usize..end as usize]))
        } else {
            // `data: ` in front and LF behind.
            Cow::Borrowed(self.0.text(&(start + 6..end - 1)))
        }
    }

    /// The client that does not get this event.
    #[must_use]
    pub fn except(&self) -> Option<&str> {
        self.0.apart.as_ref()?.except.as_deref()
    }

    /// What this event is the latest of: its key, else its type, else `message`.
    #[must_use]
    pub fn key(&self) -> &str {
        let key = self.0.apart.as_ref().and_then(|apart| apart.key.as_deref());
        key.or_else(|| self.event()).unwrap_or("message")
    }

    /// Whether this is a gap notice and not a published event.
    #[must_use]
    pub fn is_gap(&self) -> bool {
        self.0.gap
    }

    /// When it was published, by the publisher's clock.
    #[must_use]
    pub fn published_at(&self) -> Timestamp {
        self.0.at
    }

    /// A reference that does not keep the bytes: once history has let the event go and nobody writes it, it is gone. An
    /// event that was read back from a journal is in no ring, and kept.
    #[must_use]
    pub fn downgrade(&self) -> WeakFrame {
        WeakFrame(if self.0.stored {
            Held::Stored(self.clone())
        } else {
            Held::Weak(Arc::downgrade(&self.0))
        })
    }

    /// The publisher's own id.
    pub(crate) fn own_id(&self) -> Option<&str> {
        self.0.own_id.then(|| self.id())
    }

    /// Memory that the frame holds, in bytes, its bookkeeping included.
    pub(crate) fn cost(&self) -> u64 {
        let id = self.own_id().map_or(0, |id| id.len() as u64 + ID_OVERHEAD);
        let text = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len() as u64);
        let apart = self
            .0
            .apart
            .as_ref()
            .map_or(0, |apart| size_of::<Apart>() as u64 + text(&apart.except) + text(&apart.key));
        self.0.buf.capacity() as u64 + OVERHEAD + id + apart
    }
}

impl WeakFrame {
    /// The frame, if it is still held by history or a writer.
    #[must_use]
    pub fn upgrade(&self) -> Option<Frame> {
        match &self.0 {
            Held::Weak(frame) => frame.upgrade().map(Frame),
            Held::Stored(frame) => Some(frame.clone()),
        }
    }
}

impl fmt::Debug for WeakFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakFrame")
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("seq", &self.seq())
            .field("topic", &self.topic())
            .field("id", &self.id())
            .finish()
    }
}

/// What a gap notice says.
pub(crate) struct Gap<'a> {
    pub(crate) topic: &'a Arc<str>,
    pub(crate) epoch: &'a Epoch,
    /// The id that could not be honoured.
    pub(crate) requested: &'a str,
    /// Ids of the oldest and newest retained event.
    pub(crate) oldest: Option<String>,
    pub(crate) newest: Option<String>,
    /// The position right before what follows the notice.
    pub(crate) before: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(draft: &Draft<'_>) -> Frame {
        NewFrame::render(Arc::from("chat"), draft, Timestamp(1)).seal(&Epoch::parse("abc").unwrap(), 42)
    }

    fn chunked(wire: &[u8]) -> Vec<u8> {
        [format!("{:x}\r\n", wire.len()).as_bytes(), wire, b"\r\n"].concat()
    }

    #[test]
    fn a_frame_is_one_block_and_one_chunk() {
        let frame = frame(&Draft::new("chat", "hi\nyou").with_event("greet"));
        assert_eq!(
            std::str::from_utf8(frame.wire()).unwrap(),
            "event: greet\ndata: hi\ndata: you\nid: abc-42\n\n"
        );
        assert_eq!(frame.chunk(), chunked(frame.wire()));
        assert_eq!((frame.id(), frame.event(), &*frame.data()), ("abc-42", Some("greet"), "hi\nyou"));
    }

    #[test]
    fn an_own_id_is_kept() {
        let frame = frame(&Draft { retry: Some(1500), ..Draft::new("chat", "").with_id("mine") });
        assert_eq!(frame.wire(), b"retry: 1500\ndata: \nid: mine\n\n");
        assert_eq!((frame.id(), &*frame.data(), frame.key()), ("mine", "", "message"));
        assert_eq!(frame.chunk(), chunked(frame.wire()));
    }

    #[test]
    fn the_longest_positions_fit() {
        let draft = Draft::new("t", "x".repeat(1 << 20));
        let frame = NewFrame::render(Arc::from("t"), &draft, Timestamp(1))
            .seal(&Epoch::parse("abcdefghijklmnop").unwrap(), u64::MAX);
        assert_eq!(frame.id(), "abcdefghijklmnop-18446744073709551615");
        assert_eq!(frame.data().len(), 1 << 20);
        assert_eq!(frame.chunk(), chunked(frame.wire()));
    }
}
