//! What every event stream says besides its events, the same on every path: headers, opening, heartbeat.
//!
//! * The header list is exact. A `charset` suffix on the type has broken proxies, `no-transform` keeps compressors off, `X-Accel-Buffering`
//!   makes nginx pass events on one by one. No `Content-Length`, ever.
//! * A comment comes at once, so that `onopen` fires and buffering proxies let go.
//! * `retry:` travels with that comment, *without* a blank line behind it: one well-known client reports an empty event for every blank
//!   line once it has seen an id. For the same reason a heartbeat is the comment line `:` alone.
//! * A stream ends after its socket is closed by us, so HTTP/1.1 says `Connection: close` too (RFC 9112, 9.6): bytes that a client sends behind its request
//!   are not a second request.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::handoff::Framing;

/// Names and values of the headers every stream carries, `Date` and the connection headers apart.
pub(crate) const HEADERS: [(&str, &str); 3] = [
    ("content-type", "text/event-stream"),
    ("cache-control", "no-cache, no-store, no-transform"),
    ("x-accel-buffering", "no"),
];

/// The comment that shows the stream is alive.
pub(crate) const HEARTBEAT: &str = ":\n";

/// The named event that a page can watch, where `heartbeat.event` is set.
pub(crate) const HEARTBEAT_EVENT: &str = "event: fanfare.heartbeat\ndata: {}\n\n";

/// The heartbeat, unframed.
pub(crate) fn heartbeat(as_event: bool) -> &'static str {
    if as_event { HEARTBEAT_EVENT } else { HEARTBEAT }
}

/// The bytes before the first event: a comment, `padding` bytes of comment for proxies that hold back small answers, the reconnection time.
pub(crate) fn opening(padding: usize, retry: Duration) -> Vec<u8> {
    let mut out = Vec::with_capacity(padding + 32);
    out.extend_from_slice(HEARTBEAT.as_bytes());
    if padding > 0 {
        out.push(b':');
        out.resize(out.len() + padding, b' ');
        out.push(b'\n');
    }
    out.extend_from_slice(format!("retry: {}\n", retry.as_millis()).as_bytes());
    out
}

/// `bytes` as they go on the wire: one chunk (RFC 9112, 7.1) or bare.
pub(crate) fn framed(bytes: &[u8], framing: Framing) -> Vec<u8> {
    match framing {
        Framing::Plain => bytes.to_vec(),
        Framing::Chunked => {
            let mut out = format!("{:x}\r\n", bytes.len()).into_bytes();
            out.extend_from_slice(bytes);
            out.extend_from_slice(b"\r\n");
            out
        }
    }
}

/// The whole HTTP/1 answer up to and with the opening, for a socket that leaves hyper. `extra` are headers that depend on the
/// request (CORS); the caller vouches that names and values are valid field text.
pub(crate) fn http1_head(
    framing: Framing,
    now: SystemTime,
    extra: &[(&str, &str)],
    opening: &[u8],
) -> Vec<u8> {
    let mut out = Vec::with_capacity(512 + opening.len());
    let mut line = |name: &str, value: &str| {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    };
    // An HTTP/1.0 request, too, is answered with the highest version of the major we speak (RFC 9110, 6.2).
    let date = http_date(now);
    let fixed = HEADERS.iter().map(|&(name, value)| (name, value));
    let framing_header = match framing {
        Framing::Chunked => Some(("transfer-encoding", "chunked")),
        Framing::Plain => None,
    };
    let tail = [("connection", "close"), ("x-content-type-options", "nosniff"), ("date", date.as_str())];
    for (name, value) in fixed.chain(framing_header).chain(tail).chain(extra.iter().copied()) {
        line(name, value);
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(&framed(opening, framing));
    let mut head = b"HTTP/1.1 200 OK\r\n".to_vec();
    head.append(&mut out);
    head
}

/// IMF-fixdate (RFC 9110, 5.6.7).
pub(crate) fn http_date(now: SystemTime) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Years start in March and eras have 400 years, so that the leap day is the last of its year.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12;
    let year = year_of_era + era * 400 + u64::from(month < 2);
    format!(
        "{}, {day:02} {} {year:04} {:02}:{:02}:{:02} GMT",
        DAYS[(days % 7) as usize],
        MONTHS[month as usize],
        rest / 3_600,
        rest / 60 % 60,
        rest % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_follow_the_calendar() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        ] {
            assert_eq!(http_date(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn the_opening_has_no_blank_line() {
        let plain = opening(0, Duration::from_millis(2_345));
        assert_eq!(plain, b":\nretry: 2345\n");
        let padded = opening(2_048, Duration::ZERO);
        assert_eq!(padded.len(), 2 + 1 + 2_048 + 1 + 9);
        assert!(!padded.windows(2).any(|two| two == b"\n\n"));
    }

    #[test]
    fn a_chunk_says_its_size_in_hexadecimal() {
        assert_eq!(framed(b":\n", Framing::Chunked), b"2\r\n:\n\r\n");
        assert_eq!(framed(&[b'x'; 300], Framing::Chunked)[..5], *b"12c\r\n");
        assert_eq!(framed(b":\n", Framing::Plain), b":\n");
    }

    #[test]
    fn the_head_is_exact() {
        let head = http1_head(Framing::Chunked, UNIX_EPOCH, &[("vary", "origin")], b":\n");
        let expected = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache, no-store, no-transform\r\n\
                        x-accel-buffering: no\r\ntransfer-encoding: chunked\r\nconnection: close\r\nx-content-type-options: nosniff\r\n\
                        date: Thu, 01 Jan 1970 00:00:00 GMT\r\nvary: origin\r\n\r\n2\r\n:\n\r\n";
        assert_eq!(String::from_utf8_lossy(&head), expected);
        let old = http1_head(Framing::Plain, UNIX_EPOCH, &[], b":\n");
        assert!(!String::from_utf8_lossy(&old).contains("transfer-encoding"));
    }
}
