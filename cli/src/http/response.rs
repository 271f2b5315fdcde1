//! Reading an answer (RFC 9112).

use std::io::{self, BufRead, Read};

use crate::output::harmless;

/// The longest head that is taken, in bytes.
const MAX_HEAD_BYTES: u64 = 64 * 1024;

/// The longest error body that is read, in bytes.
const MAX_ERROR_BYTES: u64 = 64 * 1024;

/// Status and headers.
#[derive(Debug)]
pub(crate) struct Head {
    /// Status code.
    pub(crate) status: u16,
    /// Names in lower case, and values.
    headers: Vec<(String, String)>,
}

impl Head {
    /// Reads the next final answer's head; interim ones (1xx) are passed over.
    pub(crate) fn read(reader: &mut impl BufRead) -> io::Result<Self> {
        let mut reader = reader.take(MAX_HEAD_BYTES);
        loop {
            let first = line(&mut reader)?;
            let status = first
                .strip_prefix("HTTP/1.")
                .and_then(|rest| rest.get(2..5))
                .and_then(|code| code.parse().ok());
            let Some(status) = status else {
                let shown: String = first.chars().take(60).collect();
                return Err(invalid(format!("this is not an HTTP answer: {}", harmless(&shown))));
            };
            let mut headers = Vec::new();
            loop {
                let line = line(&mut reader)?;
                if line.is_empty() {
                    break;
                }
                let (name, value) =
                    line.split_once(':').ok_or_else(|| invalid("a header without a colon"))?;
                headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
            if status >= 200 {
                return Ok(Self { status, headers });
            }
        }
    }

    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether the connection may carry another request after this answer.
    pub(crate) fn keeps_alive(&self) -> bool {
        let closes = self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        !closes && !matches!(self.framing(), Ok(Framing::UntilClose))
    }

    fn framing(&self) -> io::Result<Framing> {
        if matches!(self.status, 204 | 304) {
            return Ok(Framing::Counted(0));
        }
        match (self.header("transfer-encoding"), self.header("content-length")) {
            (Some(coding), _) if coding.eq_ignore_ascii_case("chunked") => {
                Ok(Framing::Chunked { left: 0, first: true })
            }
            (Some(coding), _) => Err(invalid(format!("transfer coding {coding} is not supported"))),
            (None, Some(length)) => {
                length.parse().map(Framing::Counted).map_err(|_| invalid("Content-Length is not a number"))
            }
            (None, None) => Ok(Framing::UntilClose),
        }
    }

    /// What an answer that is no success says, as a sentence.
    pub(crate) fn refusal(&self, reader: &mut impl BufRead) -> String {
        let mut bytes = Vec::new();
        // A body that breaks off is read as far as it goes: the status alone still says enough.
        if let Ok(body) = Body::new(self, reader) {
            let _ = body.take(MAX_ERROR_BYTES).read_to_end(&mut bytes);
        }
        let text = String::from_utf8_lossy(&bytes);
        let error = serde_json::from_str::<serde_json::Value>(&text).ok().map(|value| value["error"].clone());
        let part = |name: &str| error.as_ref().and_then(|error| error[name].as_str());
        match (part("message"), part("code")) {
            (Some(message), Some(code)) => {
                format!("the hub refused: {} ({})", harmless(message.trim_end_matches('.')), harmless(code))
            }
            _ => {
                let first: String = text.lines().next().unwrap_or("").trim().chars().take(200).collect();
                let to = self
                    .header("location")
                    .map(|to| format!(", it points to {}", harmless(to)))
                    .unwrap_or_default();
                match first.is_empty() {
                    true => format!("the answer is HTTP status {}{to}", self.status),
                    false => format!("the answer is HTTP status {}{to}: {}", self.status, harmless(&first)),
                }
            }
        }
    }
}

/// How a body ends (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug)]
enum Framing {
    /// After the last chunk; `left` bytes of the current one are to come.
    Chunked { left: u64, first: bool },
    /// After so many bytes.
    Counted(u64),
    /// When the connection ends.
    UntilClose,
}

/// A body, without its framing.
pub(crate) struct Body<'r, R> {
    reader: &'r mut R,
    framing: Framing,
}

impl<'r, R: BufRead> Body<'r, R> {
    /// The body that follows `head`.
    pub(crate) fn new(head: &Head, reader: &'r mut R) -> io::Result<Self> {
        Ok(Self { reader, framing: head.framing()? })
    }

    /// Reads `left` bytes at most, and says how many are left then.
    fn counted(&mut self, buffer: &mut [u8], left: u64) -> io::Result<(usize, u64)> {
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        match self.reader.read(&mut buffer[..most])? {
            0 if most > 0 => Err(io::ErrorKind::UnexpectedEof.into()),
            // `read` gives no more than it was asked for.
            read => Ok((read, left.saturating_sub(read as u64))),
        }
    }
}

impl<R: BufRead> Read for Body<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        match self.framing {
            Framing::UntilClose => self.reader.read(buffer),
            Framing::Counted(0) => Ok(0),
            Framing::Counted(left) => {
                let (read, left) = self.counted(buffer, left)?;
                self.framing = Framing::Counted(left);
                Ok(read)
            }
            Framing::Chunked { left: 0, first } => {
                if !first && !line(self.reader)?.is_empty() {
                    return Err(invalid("a chunk does not end where it should"));
                }
                let size = line(self.reader)?;
                let digits = size.split(';').next().unwrap_or("").trim();
                let left =
                    u64::from_str_radix(digits, 16).map_err(|_| invalid("a chunk's size is not a number"))?;
                if left > 0 {
                    self.framing = Framing::Chunked { left, first: false };
                    return self.read(buffer);
                }
                // Trailer fields, up to the blank line.
                while !line(self.reader)?.is_empty() {}
                self.framing = Framing::Counted(0);
                Ok(0)
            }
            Framing::Chunked { left, .. } => {
                let (read, left) = self.counted(buffer, left)?;
                self.framing = Framing::Chunked { left, first: false };
                Ok(read)
            }
        }
    }
}

/// One line without its end; at most [`MAX_HEAD_BYTES`].
fn line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut bytes = Vec::new();
    let read = reader.take(MAX_HEAD_BYTES).read_until(b'\n', &mut bytes)?;
    if bytes.pop() != Some(b'\n') {
        return Err(if read == 0 {
            io::ErrorKind::UnexpectedEof.into()
        } else {
            invalid("a line that does not end")
        });
    }
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    String::from_utf8(bytes).map_err(|_| invalid("a line that is not text"))
}

fn invalid(message: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(answer: &str) -> io::Result<(u16, String)> {
        let mut reader = answer.as_bytes();
        let head = Head::read(&mut reader)?;
        let mut text = String::new();
        Body::new(&head, &mut reader)?.read_to_string(&mut text)?;
        Ok((head.status, text))
    }

    #[test]
    fn bodies_end_where_they_say() {
        for (answer, body) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1", "hi"),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\nA;x=y\r\n0123456789\r\n0\r\nt: 1\r\n\r\nrest",
                "hi0123456789",
            ),
            ("HTTP/1.0 200 OK\r\n\r\nto the end", "to the end"),
        ] {
            assert_eq!(read(answer).expect(answer), (200, body.to_owned()));
        }
        assert_eq!(read("HTTP/1.1 204 No Content\r\n\r\nHTTP").expect("no body"), (204, String::new()));
    }

    #[test]
    fn broken_answers_are_errors() {
        for answer in [
            "",
            "HTTP/1.1 200 OK\r\n",
            "SSH-2.0-OpenSSH\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhiX\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
        ] {
            assert!(read(answer).is_err(), "{answer:?}");
        }
        assert!(read(&format!("HTTP/1.1 200 OK\r\na: {}", "x".repeat(100_000))).is_err());
    }

    #[test]
    fn refusals_are_sentences() {
        let refusal = |answer: &str| {
            let mut reader = answer.as_bytes();
            Head::read(&mut reader).expect(answer).refusal(&mut reader)
        };
        assert_eq!(
            refusal(
                "HTTP/1.1 413 X\r\n\r\n{\"error\":{\"code\":\"too_large\",\"message\":\"data is too large.\"}}"
            ),
            "the hub refused: data is too large (too_large)"
        );
        assert_eq!(
            refusal("HTTP/1.1 502 X\r\n\r\nBad\u{1b} Gateway\nmore"),
            "the answer is HTTP status 502: Bad\\u{1b} Gateway"
        );
        assert_eq!(
            refusal("HTTP/1.1 301 X\r\nLocation: https://h/\r\nContent-Length: 0\r\n\r\n"),
            "the answer is HTTP status 301, it points to https://h/"
        );
    }
}
