//! A small blocking HTTP/1.1 client: what `sub` and `pub` need to talk to a hub, and no more.
//!
//! * [`target`] — where the hub is, and the paths of its topics.
//! * [`connection`] — TCP, or TLS over it.
//! * [`response`] — reading an answer: head, chunked or counted body, the hub's errors as sentences.

pub(crate) mod connection;
pub(crate) mod response;
pub(crate) mod target;

use std::path::PathBuf;

use clap::Args;

pub(crate) use connection::Connection;
pub(crate) use response::{Body, Head};
pub(crate) use target::Target;

/// What clients send as `User-Agent`.
pub(crate) const USER_AGENT: &str = concat!("fanfare/", env!("CARGO_PKG_VERSION"));

/// Which hub to talk to.
#[derive(Args, Clone, Debug)]
pub(crate) struct HubArgs {
    /// The hub
    #[arg(long, value_name = "URL", env = "FANFARE_URL", default_value = "http://127.0.0.1:4780")]
    pub(crate) url: Target,

    /// Trust the certificates of this PEM file, instead of the system's, for https://
    #[arg(long, value_name = "FILE")]
    pub(crate) cacert: Option<PathBuf>,
}
