//! The text format read a second time, the slow way: whole input, characters instead of bytes.
//!
//! This is the oracle of the parser's fuzz target and property tests. It follows the wording of
//! WHATWG HTML 9.2.5 and 9.2.6 step by step and shares nothing with the real parser but the types
//! of the answer: it decodes first, then cuts into lines, then interprets.

use fanfare_engine::wire::parse::{EventTooLarge, Item, ParsedEvent};

/// What a client knows after reading a whole stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Everything the stream said, in order.
    pub items: Vec<Item>,
    /// The id to reconnect with.
    pub last_event_id: String,
    /// The reconnection time in milliseconds, if one was set.
    pub retry: Option<u64>,
}

/// Reads `stream` without any limit.
pub fn read(stream: &[u8]) -> Reading {
    interpret(&utf8_decode(stream), None)
}

/// Reads `stream`, dropping events above `limit` bytes. The limit counts bytes as they arrived, so
/// the oracle, which counts decoded text, is exact for valid UTF-8 only.
pub fn read_limited(stream: &str, limit: usize) -> Reading {
    interpret(stream, Some(limit))
}

fn interpret(text: &str, limit: Option<usize>) -> Reading {
    let mut reading = Reading::default();
    let mut data = String::new();
    let mut event_type = String::new();
    let mut id_of_block: Option<String> = None;
    let mut skipping = false;

    let (lines, pending) = lines(text);
    for (number, line) in lines.into_iter().enumerate() {
        let mut too_large = limit.is_some_and(|limit| line.len() > limit + 16);
        let line = match line.strip_prefix('\u{FEFF}') {
            Some(rest) if number == 0 => rest,
            _ => line.as_str(),
        };
        if skipping {
            skipping = !line.is_empty();
            continue;
        }
        if line.is_empty() {
            let id_set = id_of_block.is_some();
            if let Some(id) = id_of_block.take() {
                reading.last_event_id = id;
            }
            if data.is_empty() {
                if id_set {
                    reading.items.push(Item::Id(reading.last_event_id.clone()));
                }
            } else {
                let event = if event_type.is_empty() { "message".into() } else { event_type.clone() };
                reading.items.push(Item::Event(ParsedEvent {
                    event,
                    data: data[..data.len() - 1].to_owned(),
                    last_event_id: reading.last_event_id.clone(),
                }));
            }
            data.clear();
            event_type.clear();
            continue;
        }
        if !too_large {
            let (field, value) = match line.find(':') {
                Some(0) => {
                    reading.items.push(Item::Comment(line[1..].to_owned()));
                    continue;
                }
                Some(colon) => {
                    let value = &line[colon + 1..];
                    (&line[..colon], value.strip_prefix(' ').unwrap_or(value))
                }
                None => (line, ""),
            };
            match field {
                "event" => event_type = value.to_owned(),
                "data" => {
                    data += value;
                    data += "\n";
                }
                "id" if !value.contains('\0') => id_of_block = Some(value.to_owned()),
                "retry" => {
                    let only_digits = !value.is_empty() && value.chars().all(|c| c.is_ascii_digit());
                    if let (true, Ok(time)) = (only_digits, value.parse::<u64>()) {
                        reading.retry = Some(time);
                        reading.items.push(Item::Retry(time));
                    }
                }
                _ => {}
            }
            let size = data.strip_suffix('\n').unwrap_or(&data).len()
                + event_type.len()
                + id_of_block.as_deref().unwrap_or("").len();
            too_large = limit.is_some_and(|limit| size > limit);
        }
        if let (true, Some(limit)) = (too_large, limit) {
            reading.items.push(Item::TooLarge(EventTooLarge { limit }));
            data.clear();
            event_type.clear();
            id_of_block = None;
            skipping = true;
        }
    }
    // What is pending is discarded, but a line that is already too long has been told.
    if let Some(limit) = limit
        && !skipping
        && pending.len() > limit + 16
    {
        reading.items.push(Item::TooLarge(EventTooLarge { limit }));
    }
    reading
}

/// The lines that have ended, and what follows the last line end.
fn lines(text: &str) -> (Vec<String>, String) {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let pending = lines.pop().unwrap_or_default();
    (lines, pending)
}

/// The decoder of the Encoding Standard, section 8.1.1, byte by byte.
fn utf8_decode(bytes: &[u8]) -> String {
    let mut text = String::new();
    let (mut code_point, mut needed, mut seen) = (0u32, 0, 0);
    let (mut lower, mut upper) = (0x80, 0xBF);
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        at += 1;
        if needed == 0 {
            match byte {
                0x00..=0x7F => text.push(char::from(byte)),
                0xC2..=0xDF => (needed, code_point) = (1, u32::from(byte & 0x1F)),
                0xE0..=0xEF => {
                    if byte == 0xE0 {
                        lower = 0xA0;
                    }
                    if byte == 0xED {
                        upper = 0x9F;
                    }
                    (needed, code_point) = (2, u32::from(byte & 0x0F));
                }
                0xF0..=0xF4 => {
                    if byte == 0xF0 {
                        lower = 0x90;
                    }
                    if byte == 0xF4 {
                        upper = 0x8F;
                    }
                    (needed, code_point) = (3, u32::from(byte & 0x07));
                }
                _ => text.push('\u{FFFD}'),
            }
            continue;
        }
        if !(lower..=upper).contains(&byte) {
            (code_point, needed, seen, lower, upper) = (0, 0, 0, 0x80, 0xBF);
            // The byte is read again: it may start a character of its own.
            at -= 1;
            text.push('\u{FFFD}');
            continue;
        }
        (lower, upper) = (0x80, 0xBF);
        code_point = (code_point << 6) | u32::from(byte & 0x3F);
        seen += 1;
        if seen == needed {
            text.push(char::from_u32(code_point).expect("the bounds above admit scalar values only"));
            (code_point, needed, seen) = (0, 0, 0);
        }
    }
    if needed != 0 {
        text.push('\u{FFFD}');
    }
    text
}
