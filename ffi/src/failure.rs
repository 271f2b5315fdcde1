//! Why a call failed, before it becomes a number and a text in the caller's memory.

use std::fmt;

use ::fanfare_hub::engine::Code;

/// A refusal. Its text is made only if the caller gave room for it.
pub(crate) struct Failure {
    code: Code,
    os_errno: i32,
    message: Box<dyn fmt::Display + Send>,
}

impl Failure {
    pub(crate) fn new(code: Code, message: impl fmt::Display + Send + 'static) -> Failure {
        Failure { code, os_errno: 0, message: Box::new(message) }
    }

    /// With a text that is put together when it is read.
    pub(crate) fn format(
        code: Code,
        write: impl Fn(&mut fmt::Formatter<'_>) -> fmt::Result + Send + 'static,
    ) -> Failure {
        Failure::new(code, Formatted(write))
    }

    /// What the system said: `errno`.
    pub(crate) fn os(mut self, errno: i32) -> Failure {
        self.os_errno = errno;
        self
    }

    pub(crate) fn null(name: &'static str) -> Failure {
        Failure::format(Code::NullPointer, move |f| write!(f, "{name} is NULL"))
    }

    pub(crate) fn code(&self) -> Code {
        self.code
    }

    pub(crate) fn os_errno(&self) -> i32 {
        self.os_errno
    }
}

struct Formatted<F>(F);

impl<F: Fn(&mut fmt::Formatter<'_>) -> fmt::Result> fmt::Display for Formatted<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0(f)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.message.fmt(f)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}
