//! `fanfare serve`: the hub in the foreground, until SIGINT or SIGTERM.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Args;
use fanfare_hub::{Hub, StartError};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;

use crate::exit::Failure;
use crate::logs;
use crate::output::Output;
use crate::settings::Settings;

const EXAMPLES: &str = "\
Examples:
  fanfare serve
  fanfare serve --listen 0.0.0.0:4780 --set hosts=hub.example
  fanfare serve --config fanfare.toml --set log=debug
  fanfare serve --data history --set history.durability=always
  fanfare serve --handler votes=tally.js
  fanfare serve --handler 'votes=tally.js;event=vote;time=5ms;config.choices=yes no'
  fanfare serve --cors-origin https://app.example --set history.events=10000

SIGINT or SIGTERM stops it: streams are ended so that their readers resume, within
timeouts.stop (5s). A second signal ends it at once, with exit code 130 or 143.
All options: fanfare config";

/// Run the hub
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Serve {
    #[command(flatten)]
    settings: Settings,
}

/// Runs until a signal.
pub(crate) fn run(serve: &Serve) -> Result<(), Failure> {
    let config = serve.settings.load()?.finish().map_err(Failure::usage)?;
    logs::start(config.own.log);
    let console = config.own.console;
    let mut signals =
        signals().map_err(|error| Failure::runtime(format_args!("cannot take signals: {error}")))?;

    let hub = Hub::start(config).map_err(|error| match error {
        StartError::Config(_) | StartError::Handler(_) => Failure::usage(error),
        error => Failure::runtime(error),
    })?;
    announce(&hub, console);

    if let Some(signal) = signals.forever().next() {
        tracing::info!(
            signal = if signal == SIGINT { "SIGINT" } else { "SIGTERM" },
            "stopping; again to stop at once"
        );
    }
    let deadline = hub.stop_timeout();
    hub.stop(deadline);
    Ok(())
}

/// Takes the two signals that stop a hub. From the first on, the next one ends the process from inside the signal
/// handler, whatever the rest of the program is doing.
fn signals() -> std::io::Result<Signals> {
    let stopping = Arc::new(AtomicBool::new(false));
    for (signal, code) in [(SIGINT, 130), (SIGTERM, 143)] {
        // Order matters: looked at before it is set, so the first signal passes.
        flag::register_conditional_shutdown(signal, code, Arc::clone(&stopping))?;
        flag::register(signal, Arc::clone(&stopping))?;
    }
    Signals::new([SIGINT, SIGTERM])
}

/// One line per address on standard output, for people and for scripts that wait for it.
fn announce(hub: &Hub, console: bool) {
    let mut text = String::new();
    for url in hub.urls() {
        text.push_str(&format!("fanfare {} listening on {url}\n", env!("CARGO_PKG_VERSION")));
    }
    if console {
        text.push_str(&format!("console: {}/\n", hub.url()));
    }
    let mut output = Output::new();
    // A hub whose output nobody reads still serves.
    let _ = output.text(&text).and_then(|()| output.flush());
}
