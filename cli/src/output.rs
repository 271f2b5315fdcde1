//! Results on standard output: buffered, and quiet when the reader has gone.

use std::borrow::Cow;
use std::io::{self, BufWriter, IsTerminal as _, StdoutLock, Write as _};

use crate::exit::Failure;

/// Standard output.
pub(crate) struct Output {
    out: BufWriter<StdoutLock<'static>>,
    terminal: bool,
}

impl Output {
    /// Takes standard output for the rest of the program.
    pub(crate) fn new() -> Self {
        let out = io::stdout();
        let terminal = out.is_terminal();
        Self { out: BufWriter::new(out.lock()), terminal }
    }

    /// Writes a line that comes from outside. On a terminal its control characters are shown, not obeyed.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), Failure> {
        let text = if self.terminal { harmless(text) } else { Cow::Borrowed(text) };
        writeln!(self.out, "{text}").map_err(|error| Failure::output(&error))
    }

    /// Writes a text of our own.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.out.write_all(text.as_bytes()).map_err(|error| Failure::output(&error))
    }

    /// Makes everything written so far visible.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(|error| Failure::output(&error))
    }
}

/// `text` with control characters escaped, line ends and tabs excepted.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    let harmful = |c: char| c.is_control() && c != '\n' && c != '\t';
    if !text.contains(harmful) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if harmful(c) { safe.extend(c.escape_default()) } else { safe.push(c) }
    }
    Cow::Owned(safe)
}

#[cfg(test)]
mod tests {
    use super::harmless;

    #[test]
    fn control_characters_are_shown() {
        assert_eq!(harmless("a\tb\nc"), "a\tb\nc");
        assert_eq!(harmless("\u{1b}[31mred\u{7}\u{9b}"), "\\u{1b}[31mred\\u{7}\\u{9b}");
    }
}
