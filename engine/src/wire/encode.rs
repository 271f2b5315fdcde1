//! Writes fields and lines; the only place where stream bytes come into being.

use memchr::{memchr, memchr2, memchr2_iter};

/// The heartbeat: one comment line and no blank line. A blank line would make some clients report an empty event.
pub const HEARTBEAT: &[u8] = b":\n";

/// Appends `name: value` and LF. The value must be free of CR and LF: see [`data`](fn@data) for text that is not.
#[inline]
pub fn field(out: &mut Vec<u8>, name: &str, value: &str) {
    debug_assert!(memchr2(b'\r', b'\n', value.as_bytes()).is_none());
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.push(b'\n');
}

/// Appends a `retry` line, in milliseconds.
pub fn retry(out: &mut Vec<u8>, ms: u64) {
    field(out, "retry", itoa::Buffer::new().format(ms));
}

/// Appends one `data` line for each line of `data`; returns how many. Lines end at LF, CRLF and lone CR.
pub fn data(out: &mut Vec<u8>, data: &str) -> usize {
    let mut rest = data;
    let mut count = 0;
    loop {
        count += 1;
        let (line, next) = split_line(rest);
        field(out, "data", line);
        match next {
            Some(next) => rest = next,
            None => return count,
        }
    }
}

/// Splits off the first line; the rest is `None` if no line end follows.
fn split_line(text: &str) -> (&str, Option<&str>) {
    match memchr2(b'\r', b'\n', text.as_bytes()) {
        None => (text, None),
        Some(at) => {
            let skip = if text.as_bytes()[at..].starts_with(b"\r\n") { 2 } else { 1 };
            (&text[..at], Some(&text[at + skip..]))
        }
    }
}

/// How many CR and LF a text has: none if it is one line.
pub(crate) fn line_ends(data: &str) -> usize {
    let bytes = data.as_bytes();
    // Most texts are one line, and the iterator is slower to find that out.
    if memchr2(b'\r', b'\n', bytes).is_none() { 0 } else { memchr2_iter(b'\r', b'\n', bytes).count() }
}

/// How many bytes [`data`](fn@data) appends at most for a text of so many bytes and [`line_ends`]; exact for one line.
pub(crate) fn data_bytes(bytes: usize, line_ends: usize) -> usize {
    bytes + (line_ends + 1) * "data: \n".len()
}

/// Undoes [`data`]: joins the values of consecutive `data` lines with LF.
pub(crate) fn join_data(lines: &[u8]) -> String {
    let mut out = Vec::with_capacity(lines.len());
    let mut rest = lines;
    while let Some(end) = memchr(b'\n', rest) {
        if !out.is_empty() || rest.len() != lines.len() {
            out.push(b'\n');
        }
        out.extend_from_slice(rest[..end].strip_prefix(b"data: ").unwrap_or(&rest[..end]));
        rest = &rest[end + 1..];
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Appends `text` as a JSON string, quotes included (RFC 8259 section 7).
pub(crate) fn json_string(out: &mut String, text: &str) {
    use core::fmt::Write;
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => {
                // Cannot fail: writing to a String.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(text: &str) -> String {
        let mut out = Vec::new();
        data(&mut out, text);
        assert!(out.len() <= data_bytes(text.len(), line_ends(text)), "{text:?}");
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn data_splits_at_every_line_end() {
        assert_eq!(encoded(""), "data: \n");
        assert_eq!(encoded(" a"), "data:  a\n");
        assert_eq!(encoded("a\nb\r\nc\rd"), "data: a\ndata: b\ndata: c\ndata: d\n");
        assert_eq!(encoded("\n\r\n\r"), "data: \ndata: \ndata: \ndata: \n");
        assert_eq!(encoded("a\r\r\n\nb\n"), "data: a\ndata: \ndata: \ndata: b\ndata: \n");
        assert_eq!(encoded("a\u{2028}\u{85}b"), "data: a\u{2028}\u{85}b\n");
    }

    #[test]
    fn join_undoes_data() {
        for text in ["", "a", "a\nb", "\n", "\n\na", "a\n\n", "data: x\ndata: y"] {
            assert_eq!(join_data(encoded(text).as_bytes()), text, "{text:?}");
        }
    }

    #[test]
    fn json_strings_are_escaped() {
        let mut out = String::new();
        json_string(&mut out, "a\"b\\c\n\u{0}é\u{2028}");
        assert_eq!(out, "\"a\\\"b\\\\c\\u000a\\u0000é\u{2028}\"");
    }
}
