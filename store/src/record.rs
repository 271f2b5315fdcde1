//! Records: what the log is made of.
//!
//! A record is 28 bytes of head, little-endian, and its body:
//!
//! ```text
//! mark u16 | kind u8 | flags u8 | body length u32 | position u64 | time u64 (ms since 1970) | checksum u32 | body
//! ```
//! The checksum is CRC-32 over head (without itself) and body, begun with the store's random salt: bytes of another
//! store, or a record that a publisher wrote into its data, do not pass for one of this store's records. Each record
//! has its own, so one event can be read without its neighbours. A transaction is a run of records of which the last,
//! and only it, has the flag `LAST`.

use std::borrow::Cow;

use fanfare_engine::{
    Draft, MAX_KEY_BYTES, MAX_RETRY_MS, check_client, check_event_type, check_topic, is_valid_id,
};

use crate::error::{Error, Result};

/// Bytes of a record's head.
pub(crate) const HEAD: usize = 28;
/// The largest body: an event of 64 MiB (the most `limits.event_bytes` takes) and its names.
pub(crate) const MAX_BODY: usize = (64 << 20) + 4096;
/// First bytes of every record.
pub(crate) const MARK: u16 = 0xfa4e;
/// The record ends its transaction.
pub(crate) const LAST: u8 = 1;
/// The longest key of a handler's state, in bytes.
pub const MAX_STATE_KEY_BYTES: usize = 1024;

/// An event as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its position in the hub's sequence.
    pub position: u64,
    /// When it was published, in milliseconds since 1970.
    pub at_ms: u64,
    /// What its publisher wrote.
    pub draft: Draft<'static>,
}

/// A change of handlers' state or of a topic, committed with the events that caused it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Sets a key of a table.
    Put {
        /// The table, one for each handler: 1 to 255 bytes.
        table: String,
        /// The key: up to 1,024 bytes.
        key: String,
        /// The value.
        value: String,
        /// When it is gone, in milliseconds since 1970; 0 = never.
        until_ms: u64,
    },
    /// Removes a key of a table.
    Delete {
        /// The table.
        table: String,
        /// The key.
        key: String,
    },
    /// Says what becomes of a topic.
    Topic {
        /// Its name.
        topic: String,
        /// Whether it takes no more events; `None`: as it was, also by what still waits to be written.
        closed: Option<bool>,
        /// Its events up to this position are deleted; more, if that was said before.
        deleted_through: u64,
    },
}

/// A record's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Event(Draft<'static>),
    Change(Change),
}

/// A record's head, checked or not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) len: usize,
    pub(crate) position: u64,
    pub(crate) at_ms: u64,
    checksum: u32,
}

pub(crate) const EVENT: u8 = 1;
const PUT: u8 = 2;
const DELETE: u8 = 3;
const TOPIC: u8 = 4;
/// Instead of whether a topic is closed.
const AS_IT_WAS: u8 = 2;
/// In a file that was written anew: events of a topic have gone, this one's position among them.
pub(crate) const GONE: u8 = 5;
/// The end of such a file.
pub(crate) const END: u8 = 6;

impl Change {
    /// Whether it is one of handlers' state.
    pub(crate) fn is_of_state(&self) -> bool {
        matches!(self, Self::Put { .. } | Self::Delete { .. })
    }
}

impl Head {
    /// Reads a head; `None` if it cannot be one.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut rest = Rest(bytes.get(..HEAD)?);
        let mark = u16::from_le_bytes(rest.array()?);
        let [kind] = rest.array()?;
        let [flags] = rest.array()?;
        let head = Self {
            kind,
            flags,
            len: u32::from_le_bytes(rest.array()?) as usize,
            position: u64::from_le_bytes(rest.array()?),
            at_ms: u64::from_le_bytes(rest.array()?),
            checksum: u32::from_le_bytes(rest.array()?),
        };
        let good = mark == MARK && (EVENT..=END).contains(&kind) && flags <= LAST && head.len <= MAX_BODY;
        good.then_some(head)
    }

    /// Whether `record` (head and body) is what was written.
    pub(crate) fn holds(&self, record: &[u8], salt: u32) -> bool {
        record.len() == HEAD + self.len && checksum(record, salt) == self.checksum
    }
}

fn checksum(record: &[u8], salt: u32) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(salt);
    hasher.update(&record[..HEAD - 4]);
    hasher.update(&record[HEAD..]);
    hasher.finalize()
}

/// Appends a record to `out`.
pub(crate) fn write_event(
    out: &mut Vec<u8>,
    draft: &Draft<'_>,
    last: bool,
    position: u64,
    at_ms: u64,
    salt: u32,
) {
    record(out, EVENT, last, position, at_ms, salt, |out| {
        let some = [&draft.event, &draft.id, &draft.except, &draft.key];
        let mut present = u8::from(draft.retry.is_some()) << 4;
        for (bit, field) in some.iter().enumerate() {
            present |= u8::from(field.is_some()) << bit;
        }
        out.push(present);
        short(out, &draft.topic);
        for field in some.into_iter().flatten() {
            short(out, field);
        }
        if let Some(retry) = draft.retry {
            out.extend(retry.to_le_bytes());
        }
        out.extend(draft.data.as_bytes());
    });
}

/// Appends a record to `out`.
pub(crate) fn write_change(
    out: &mut Vec<u8>,
    change: &Change,
    last: bool,
    position: u64,
    at_ms: u64,
    salt: u32,
) {
    match change {
        Change::Put { table, key, value, until_ms } => {
            record(out, PUT, last, position, at_ms, salt, |out| {
                short(out, table);
                out.extend((key.len() as u16).to_le_bytes());
                out.extend(key.as_bytes());
                out.extend(until_ms.to_le_bytes());
                out.extend(value.as_bytes());
            });
        }
        Change::Delete { table, key } => record(out, DELETE, last, position, at_ms, salt, |out| {
            short(out, table);
            out.extend(key.as_bytes());
        }),
        Change::Topic { topic, closed, deleted_through } => {
            record(out, TOPIC, last, position, at_ms, salt, |out| {
                short(out, topic);
                out.push(closed.map_or(AS_IT_WAS, u8::from));
                out.extend(deleted_through.to_le_bytes());
            });
        }
    }
}

/// Appends a record whose body is made already, a transaction of its own.
pub(crate) fn write_again(out: &mut Vec<u8>, head: Head, body: &[u8], salt: u32) {
    record(out, head.kind, true, head.position, head.at_ms, salt, |out| out.extend(body));
}

/// Appends the mark of events that are gone. Its body reads as an event's.
pub(crate) fn write_gone(out: &mut Vec<u8>, topic: &str, position: u64, at_ms: u64, salt: u32) {
    record(out, GONE, true, position, at_ms, salt, |out| {
        out.push(0);
        short(out, topic);
    });
}

/// Appends the end of a file that was written anew: what its first position was, its last and its newest time.
pub(crate) fn write_end(out: &mut Vec<u8>, first: u64, last: u64, newest_ms: u64, salt: u32) {
    record(out, END, true, last, newest_ms, salt, |out| out.extend(first.to_le_bytes()));
}

fn record(
    out: &mut Vec<u8>,
    kind: u8,
    last: bool,
    position: u64,
    at_ms: u64,
    salt: u32,
    body: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    out.extend(MARK.to_le_bytes());
    out.extend([kind, if last { LAST } else { 0 }]);
    out.extend([0; 4]);
    out.extend(position.to_le_bytes());
    out.extend(at_ms.to_le_bytes());
    out.extend([0; 4]);
    body(out);
    let len = (out.len() - start - HEAD) as u32;
    out[start + 4..start + 8].copy_from_slice(&len.to_le_bytes());
    let sum = checksum(&out[start..], salt);
    out[start + HEAD - 4..start + HEAD].copy_from_slice(&sum.to_le_bytes());
}

fn short(out: &mut Vec<u8>, text: &str) {
    // Checked before: no such field is longer than 255 bytes.
    out.push(text.len() as u8);
    out.extend(text.as_bytes());
}

/// The topic of an event's body and its publisher's id, without reading the rest.
pub(crate) fn names_of(body: &[u8]) -> Option<(&str, Option<&str>)> {
    let mut rest = Rest(body);
    let [present] = rest.array()?;
    let topic = rest.short()?;
    if present & 1 != 0 {
        rest.short()?;
    }
    Some((topic, if present & 2 == 0 { None } else { Some(rest.short()?) }))
}

/// Reads a body whose checksum was right; `None` if it is malformed all the same.
pub(crate) fn read_body(kind: u8, body: &[u8]) -> Option<Body> {
    let mut rest = Rest(body);
    let owned = |text: &str| Some(Cow::Owned(text.to_owned()));
    Some(match kind {
        EVENT => {
            let [present] = rest.array()?;
            let topic = Cow::Owned(rest.short()?.to_owned());
            let mut field = |bit: u8| match present & (1 << bit) {
                0 => Some(None),
                _ => rest.short().map(owned),
            };
            let (event, id, except, key) = (field(0)?, field(1)?, field(2)?, field(3)?);
            let retry = if present & 16 == 0 { None } else { Some(u64::from_le_bytes(rest.array()?)) };
            let data = Cow::Owned(rest.text()?.to_owned());
            Body::Event(Draft { topic, event, id, data, retry, except, key })
        }
        PUT => {
            let table = rest.short()?.to_owned();
            let len = u16::from_le_bytes(rest.array()?) as usize;
            let key = str::from_utf8(rest.take(len)?).ok()?.to_owned();
            let until_ms = u64::from_le_bytes(rest.array()?);
            Body::Change(Change::Put { table, key, value: rest.text()?.to_owned(), until_ms })
        }
        DELETE => {
            let table = rest.short()?.to_owned();
            Body::Change(Change::Delete { table, key: rest.text()?.to_owned() })
        }
        TOPIC => {
            let topic = rest.short()?.to_owned();
            let [closed] = rest.array()?;
            let deleted_through = u64::from_le_bytes(rest.array()?);
            let closed = (closed != AS_IT_WAS).then_some(closed != 0);
            Body::Change(Change::Topic { topic, closed, deleted_through })
        }
        _ => return None,
    })
}

/// Checks that an event can be kept and read back.
pub(crate) fn check_event(draft: &Draft<'_>) -> Result<()> {
    let refused = |what: &dyn std::fmt::Display| Error::invalid(format!("the event cannot be kept: {what}"));
    check_topic(&draft.topic).map_err(|e| refused(&e))?;
    if let Some(event) = &draft.event {
        check_event_type(event).map_err(|e| refused(&e))?;
    }
    if draft.id.as_ref().is_some_and(|id| !is_valid_id(id)) {
        return Err(refused(&"id is not 1 to 128 of A-Z a-z 0-9 . _ ~ -"));
    }
    if draft.retry.is_some_and(|retry| retry > MAX_RETRY_MS) {
        return Err(refused(&"retry is more than a day"));
    }
    if let Some(client) = &draft.except {
        check_client(client).map_err(|e| refused(&e))?;
    }
    if draft.key.as_ref().is_some_and(|key| key.is_empty() || key.len() > MAX_KEY_BYTES) {
        return Err(refused(&"key is not 1 to 255 bytes"));
    }
    if draft.data.len() > MAX_BODY - 4096 {
        return Err(refused(&"data is longer than 64MiB"));
    }
    Ok(())
}

/// Checks that a change can be kept and read back.
pub(crate) fn check_change(change: &Change) -> Result<()> {
    let table_and_key = |table: &str, key: &str| {
        if table.is_empty() || table.len() > 255 || key.len() > MAX_STATE_KEY_BYTES {
            return Err(Error::invalid("a state's table is not 1 to 255 bytes or its key more than 1024"));
        }
        Ok(())
    };
    match change {
        Change::Put { table, key, value, .. } => {
            table_and_key(table, key)?;
            if value.len() > MAX_BODY - 4096 {
                return Err(Error::invalid("a state's value is longer than 64MiB"));
            }
            Ok(())
        }
        Change::Delete { table, key } => table_and_key(table, key),
        Change::Topic { topic, .. } => check_topic(topic).map_err(|e| Error::invalid(e.to_string())),
    }
}

/// What is left to read.
pub(crate) struct Rest<'a>(pub(crate) &'a [u8]);

impl<'a> Rest<'a> {
    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn short(&mut self) -> Option<&'a str> {
        let [len] = self.array()?;
        str::from_utf8(self.take(len.into())?).ok()
    }

    fn text(&mut self) -> Option<&'a str> {
        str::from_utf8(std::mem::take(&mut self.0)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_comes_back_and_every_flipped_bit_is_seen() {
        let draft = Draft {
            topic: "t".into(),
            event: Some("e".into()),
            id: Some("i-1".into()),
            data: "d\n\u{2028}".into(),
            retry: Some(5),
            except: Some("me".into()),
            key: Some("k".into()),
        };
        let mut bytes = Vec::new();
        write_event(&mut bytes, &draft, true, 7, 9, 1234);
        let head = Head::read(&bytes).expect("a head");
        assert!(head.holds(&bytes, 1234) && !head.holds(&bytes, 1235));
        assert_eq!((head.position, head.at_ms, head.flags), (7, 9, LAST));
        assert_eq!(read_body(head.kind, &bytes[HEAD..]), Some(Body::Event(draft)));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Head::read(&bad).is_none_or(|head| !head.holds(&bad, 1234)), "bit {bit}");
        }
    }

    #[test]
    fn changes_come_back() {
        let put = Change::Put { table: "t".into(), key: "k".into(), value: "v".into(), until_ms: 3 };
        let delete = Change::Delete { table: "t".into(), key: String::new() };
        let topic = Change::Topic { topic: "x".into(), closed: Some(true), deleted_through: 4 };
        let deleted = Change::Topic { topic: "x".into(), closed: None, deleted_through: 9 };
        for change in [put, delete, topic, deleted] {
            let mut bytes = Vec::new();
            write_change(&mut bytes, &change, false, 1, 2, 3);
            let head = Head::read(&bytes).expect("a head");
            assert!(head.holds(&bytes, 3) && check_change(&change).is_ok());
            assert_eq!(read_body(head.kind, &bytes[HEAD..]), Some(Body::Change(change)));
        }
    }
}
