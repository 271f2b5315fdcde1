//! How the program ends.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done; for `serve`: stopped as asked |
//! | 1 | failed while running |
//! | 2 | wrong usage or configuration; nothing was started |
//! | 130, 143 | ended by SIGINT, SIGTERM; for `serve`: by the second one |

use std::fmt;
use std::io;
use std::process::ExitCode;

/// Why a subcommand ends without success.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Whoever read our output has closed it: nothing is left to do, and nothing is wrong.
    OutputClosed,
    /// Something went wrong while running.
    Runtime(String),
    /// Wrong arguments or configuration; nothing was started.
    Usage(String),
}

impl Failure {
    /// A failure while running.
    pub(crate) fn runtime(message: impl fmt::Display) -> Self {
        Self::Runtime(message.to_string())
    }

    /// Wrong arguments or configuration.
    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::Usage(message.to_string())
    }

    /// A failure to write results.
    pub(crate) fn output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Runtime(format!("cannot write to standard output: {error}")),
        }
    }

    /// Says it on standard error and gives the exit code.
    pub(crate) fn report(self) -> ExitCode {
        match self {
            Self::OutputClosed => ExitCode::SUCCESS,
            Self::Runtime(message) => {
                note(&message);
                ExitCode::from(1)
            }
            Self::Usage(message) => {
                note(&message);
                ExitCode::from(2)
            }
        }
    }
}

/// Says something on standard error. That it cannot be said is no reason to fail.
pub(crate) fn note(message: &str) {
    use io::Write as _;
    let _ = writeln!(io::stderr().lock(), "fanfare: {message}");
}

/// Ends after clap refused the arguments, or printed help or version.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    // A closed pipe while printing help (`fanfare --help | head -1`) is no failure.
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}
