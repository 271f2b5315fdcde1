//! An event as bytes, for a host whose plugins take bytes and give bytes: the lengths of topic, kind, id and data as
//! little-endian numbers of 32 bits, all ones for what is not there, and then the texts. It is the least that such a host
//! can be given; text in JSON, which is usual there, would take longer on both sides.
//!
//! The answer is a tag, as the contract of handlers numbers outcomes, and the text that goes with it.

/// The answer of an event that passes.
pub const PASS: u8 = 0;
/// The tag of new data.
pub const REPLACE: u8 = 2;
/// The tag of a refusal.
pub const REJECT: u8 = 4;

/// Topic, kind, id and data; `None` when the bytes are no event.
pub fn unpack(bytes: &[u8]) -> Option<(&str, Option<&str>, Option<&str>, &str)> {
    let (lengths, mut rest) = bytes.split_at_checked(16)?;
    let mut fields = [None; 4];
    for (field, length) in fields.iter_mut().zip(lengths.chunks_exact(4)) {
        let length = u32::from_le_bytes(length.try_into().ok()?);
        if length != u32::MAX {
            let (text, behind) = rest.split_at_checked(length as usize)?;
            *field = Some(std::str::from_utf8(text).ok()?);
            rest = behind;
        }
    }
    Some((fields[0]?, fields[1], fields[2], fields[3]?))
}

/// A tag with a text.
pub fn answer(tag: u8, text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + text.len());
    bytes.push(tag);
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// An event as the guide of Extism's would have it: in JSON, as a type that serde knows.
#[derive(serde::Deserialize)]
pub struct Event {
    pub topic: String,
    pub kind: Option<String>,
    pub id: Option<String>,
    pub data: String,
}

/// The answer to it.
#[derive(serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    Pass,
    Replace(String),
    Reject(&'static str),
}
