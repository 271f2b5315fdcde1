//! Logs on standard error.

use std::io::IsTerminal as _;

use fanfare_hub::Level;
use tracing_subscriber::EnvFilter;

/// Starts logging at `level`. Dependencies speak up only for warnings, except at `trace`.
pub(crate) fn start(level: Level) {
    let filter = match level {
        Level::Error => "error".to_owned(),
        Level::Trace => "trace".to_owned(),
        level => format!("warn,fanfare={level}"),
    };
    // Refused only when logging has been started before: then that stays.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .try_init();
}
