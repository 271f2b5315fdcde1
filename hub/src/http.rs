//! The HTTP side of a hub.

use std::net::SocketAddr;
use std::time::Duration;

use fanfare_engine::{Engine, LagPolicy};
use fanfare_server::Server;

pub use fanfare_server::{Clock, StopReport, embed};
pub(crate) use fanfare_server::{Config, StartError};

#[cfg(feature = "console")]
use crate::console::pages;

/// A running server.
pub(crate) struct Http {
    pub(crate) server: Server,
    stop_timeout: Duration,
}

impl Http {
    /// Serves the engine. When this returns, connections are accepted.
    pub(crate) fn start(
        engine: &Engine,
        mut config: Config,
        console: bool,
        clock: Clock,
    ) -> Result<Http, StartError> {
        config.pages = if console { pages() } else { Vec::new() };
        let stop_timeout = config.stop_timeout;
        Ok(Http { server: Server::start_at(engine.clone(), config, clock)?, stop_timeout })
    }

    /// Every URL it listens on, plain ones first.
    pub(crate) fn urls(&self) -> Vec<String> {
        let url = |scheme: &'static str| move |address| format!("{scheme}://{}", reachable(address));
        let plain = self.server.local_addrs().into_iter().map(url("http"));
        plain.chain(self.server.tls_addrs().into_iter().map(url("https"))).collect()
    }

    /// The option `timeouts.stop`.
    pub(crate) fn stop_timeout(&self) -> Duration {
        self.stop_timeout
    }

    /// See [`Hub::stop`](crate::Hub::stop).
    pub(crate) fn stop(&self, deadline: Duration) -> StopReport {
        self.server.stop(deadline)
    }
}

/// This build has no console.
#[cfg(not(feature = "console"))]
fn pages() -> Vec<fanfare_server::Page> {
    Vec::new()
}

/// The option `timeouts.write`.
pub(crate) fn write_timeout(config: &Config) -> Duration {
    config.write_timeout
}

/// The option `lag`.
pub(crate) fn lag(config: &Config) -> LagPolicy {
    config.lag
}

/// The address as a client on this machine reaches it.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unspecified_addresses_are_shown_as_loopback() {
        for (address, shown) in
            [("0.0.0.0:4780", "127.0.0.1:4780"), ("[::]:80", "[::1]:80"), ("192.0.2.1:1", "192.0.2.1:1")]
        {
            assert_eq!(reachable(address.parse().expect("address")).to_string(), shown);
        }
    }
}
