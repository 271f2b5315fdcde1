//! What the HTTP side may be told: one declaration per option, and the rules that tie options together.
//!
//! Ranges are checked where a value is parsed; [`Config::validate`] checks what only several options together can get
//! wrong. An embedder that fills the fields by hand calls it too: the server refuses to start on what it refuses.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use fanfare_engine::LagPolicy;
use fanfare_engine::options::{Kind, OptionError};

use crate::authorize::Authorizer;
use crate::tls;

const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;
const DAY: u64 = 24 * HOUR;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// How long a step may be given: from a millisecond, for tests, to an hour.
const TIMEOUT: Kind = Kind::Duration { min: 1, max: HOUR };

fanfare_engine::options! {
    /// Configuration of the HTTP side.
    pub struct Config {
        /// Addresses for plain HTTP, both HTTP/1.1 and HTTP/2 with prior knowledge. Port 0 takes any free port. Empty
        /// only when `tls.listen` is set.
        ["listen"] listen: Vec<SocketAddr> = Kind::Addresses, "127.0.0.1:4780";
        /// Addresses for HTTPS. Needs `tls.cert` and `tls.key`.
        ["tls.listen"] tls_listen: Vec<SocketAddr> = Kind::Addresses, "";
        /// PEM file with the certificate chain, the server's own first.
        ["tls.cert"] tls_cert: Option<PathBuf> = Kind::Path, "";
        /// PEM file with the private key of that certificate.
        ["tls.key"] tls_key: Option<PathBuf> = Kind::Path, "";
        /// Threads that write to streams. 0 = one per processor core.
        ["lanes"] lanes: usize = Kind::Count { min: 0, max: 1_024 }, "0";
        /// Lanes send by io_uring: one system call for many sockets, less of a processor for each event. For Linux from 6.1 on, and where
        /// nothing forbids it (containers often do); elsewhere lanes send as without it, and `/stats` says so.
        ["lanes.io_uring"] lanes_io_uring: bool = Kind::Flag, "false";
        /// Time between signs of life on every stream, so that dead connections are found and proxies keep quiet ones
        /// open. 0 = off.
        ["heartbeat"] heartbeat: Duration = Kind::Duration { min: 0, max: HOUR }, "15s";
        /// Send the heartbeat as the named event `fanfare.heartbeat`, which a page can listen to, instead of a comment,
        /// which only the connection notices.
        ["heartbeat.event"] heartbeat_event: bool = Kind::Flag, "false";
        /// How long a client waits before it connects again, sent to it as `retry:`.
        ["retry"] retry: Duration = Kind::Duration { min: 0, max: DAY / 2 }, "2s";
        /// Random time added to `retry` for each stream, so that clients cut together do not return together.
        ["retry.jitter"] retry_jitter: Duration = Kind::Duration { min: 0, max: DAY / 2 }, "1s";
        /// Bytes of comment at the start of every stream. 0 = none; 2048 helps old browsers and proxies that hold back
        /// the first bytes of an answer.
        ["padding"] padding: usize = Kind::Bytes { min: 0, max: 64 * KIB }, "0";
        /// Age at which a stream is ended so that its client connects again, for load balancing and for proxies with a
        /// limit of their own. 0 = off.
        ["stream.max_age"] stream_max_age: Duration = Kind::Duration { min: 0, max: 30 * DAY }, "0";
        /// Part of `stream.max_age` by which each stream's age limit is randomly shortened.
        ["stream.max_age_jitter"] stream_max_age_jitter: u8 = Kind::Percent, "10%";
        /// What happens to a reader that history has moved past: `disconnect` ends its stream and it resumes, `skip` tells
        /// it by a gap event and goes on, `conflate` gives it the latest event of every key. A request may choose its own.
        ["lag"] lag: LagPolicy = Kind::Choice(&["disconnect", "skip", "conflate"]), "disconnect";
        /// Other sites whose pages may subscribe and publish, as browsers name them: `https://app.example` or
        /// `http://localhost:3000`.
        ["cors.origins"] cors_origins: Vec<String> = Kind::TextList, "";
        /// Let the pages of `cors.origins` send cookies.
        ["cors.credentials"] cors_credentials: bool = Kind::Flag, "false";
        /// Host names under which this hub is reached, in addition to loopback names and literal addresses. Requests for
        /// any other name are refused, which stops DNS rebinding.
        ["hosts"] hosts: Vec<String> = Kind::TextList, "";
        /// Connections open at once, of all kinds. The newest is refused.
        ["limits.connections"] max_connections: usize = Kind::Count { min: 1, max: 10_000_000 }, "10000";
        /// Connections open at once from one address. 0 = no such limit, right behind a proxy.
        ["limits.connections_per_address"] max_connections_per_address: usize =
            Kind::Count { min: 0, max: 10_000_000 }, "0";
        /// Size of a request's line and headers together.
        ["limits.header_bytes"] max_header_bytes: usize = Kind::Bytes { min: 8 * KIB, max: MIB }, "16KiB";
        /// Size of a request's body: one event, or many as NDJSON.
        ["limits.body_bytes"] max_body_bytes: u64 = Kind::Bytes { min: 1, max: 1024 * MIB }, "16MiB";
        /// Events per second that one address may publish. 0 = no such limit.
        ["limits.publish_rate"] publish_rate: u32 = Kind::Count { min: 0, max: 1_000_000_000 }, "0";
        /// Requests and streams open at once on one HTTP/2 connection.
        ["limits.h2_streams"] max_h2_streams: u32 = Kind::Count { min: 1, max: 100_000 }, "100";
        /// Bytes held for one HTTP/2 stream whose reader does not keep up.
        ["limits.h2_send_buffer"] h2_send_buffer: usize = Kind::Bytes { min: KIB, max: 16 * MIB }, "64KiB";
        /// Time from the start of a connection, or of its next request, to the end of the request's headers; the TLS
        /// handshake is part of it.
        ["timeouts.request"] request_timeout: Duration = TIMEOUT, "10s";
        /// Time for a request's body to arrive.
        ["timeouts.body"] body_timeout: Duration = TIMEOUT, "30s";
        /// Time a connection may stay open without a request.
        ["timeouts.idle"] idle_timeout: Duration = TIMEOUT, "1m";
        /// Time that an embedding application gets to decide about a request, where it wants to; until then nothing is answered. Without a
        /// decision it is refused with 503 and `Retry-After`, but an `EventSource`, which any refusal ends for ever, gets a stream
        /// that ends at once and comes back.
        ["timeouts.authorize"] authorize_timeout: Duration = TIMEOUT, "10s";
        /// Time a reader may accept no bytes at all before its connection is closed.
        ["timeouts.write"] write_timeout: Duration = TIMEOUT, "30s";
        /// Time for streams to be ended gently when the hub stops. 0 = cut at once.
        ["timeouts.stop"] stop_timeout: Duration = Kind::Duration { min: 0, max: HOUR }, "5s";
    }
    and {
        /// Pages served as they are, with a strict content security policy: the console.
        pub pages: Vec<Page>;
        /// Who decides about requests to subscribe, publish and close. Nobody by default: all may.
        pub authorizer: Authorizer;
    }
}

impl Config {
    /// Checks what only several options together can get wrong, and the texts whose form matters. The error names the
    /// option to change.
    pub fn validate(&self) -> Result<(), OptionError> {
        self.validate_listeners()?;
        if self.heartbeat_event && self.heartbeat.is_zero() {
            return Err(OptionError::new(
                "heartbeat.event",
                "true",
                "has no effect",
                "heartbeat above 0 with it",
            ));
        }
        if self.cors_credentials && self.cors_origins.is_empty() {
            let expected = "cors.origins to name the sites that may send cookies";
            return Err(OptionError::new("cors.credentials", "true", "has no effect", expected));
        }
        if let Some((origin, expected)) = self.cors_origins.iter().find_map(|o| Some((o, origin_fault(o)?))) {
            return Err(OptionError::new("cors.origins", origin, "is not an origin", expected));
        }
        if let Some(host) = self.hosts.iter().find(|host| !is_host(host)) {
            let expected = "a bare host name such as hub.example, without scheme, port or path";
            return Err(OptionError::new("hosts", host, "is not a host name", expected));
        }
        Ok(())
    }

    fn validate_listeners(&self) -> Result<(), OptionError> {
        if self.listen.is_empty() && self.tls_listen.is_empty() {
            return Err(OptionError::new(
                "listen",
                "",
                "leaves nothing to listen on",
                "an address in listen or tls.listen",
            ));
        }
        if let (Some(missing), Some(address)) = (tls::MISSING, self.tls_listen.first()) {
            return Err(OptionError::new("tls.listen", &address.to_string(), "is not possible", missing));
        }
        let files = [("tls.cert", &self.tls_cert), ("tls.key", &self.tls_key)];
        for (key, file) in files {
            match (self.tls_listen.is_empty(), file) {
                (false, None) => {
                    return Err(OptionError::new(
                        key,
                        "",
                        "is missing",
                        "a PEM file, because tls.listen is set",
                    ));
                }
                (true, Some(path)) => {
                    let path = path.to_string_lossy();
                    return Err(OptionError::new(key, &path, "has no effect", "tls.listen with it"));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// A file served as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Absolute path of its URL, `/` for the first page.
    pub path: &'static str,
    /// The `Content-Type` header's value.
    pub content_type: &'static str,
    /// The file.
    pub body: &'static [u8],
}

/// What is wrong with `origin`, as what would have been right; `None` for a serialised origin as browsers send it
/// (WHATWG HTML 7.1.1): scheme, host in lower case, port only when it is not the scheme's own, nothing after it.
fn origin_fault(origin: &str) -> Option<&'static str> {
    if origin == "*" {
        return Some("each site by name: a wildcard would open the hub to every page the user visits");
    }
    let schemes = [("http://", ":80"), ("https://", ":443")];
    let known = schemes.iter().find_map(|(scheme, port)| Some((*port, origin.strip_prefix(scheme)?)));
    let Some((default_port, rest)) = known else {
        return Some("http:// or https:// and a host, such as https://app.example");
    };
    if rest.ends_with(default_port) {
        return Some("no port where it is the scheme's own: browsers leave it out");
    }
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (rest, None),
    };
    let port_fits = port.is_none_or(|port| !port.starts_with('0') && port.parse::<u16>().is_ok());
    let fits = port_fits && is_host(host) && !host.bytes().any(|b| b.is_ascii_uppercase());
    (!fits).then_some("scheme, host in lower case and port only, such as https://app.example:8443")
}

/// A host name, an IPv4 address or an IPv6 address in brackets.
fn is_host(host: &str) -> bool {
    if let Some(literal) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return literal.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    host.len() <= 253 && host.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use fanfare_engine::options;

    use super::*;

    fn config(settings: &[(&str, &str)]) -> Config {
        let mut config = Config::default();
        for (key, text) in settings {
            options::set(Config::OPTIONS, &mut config, key, text).expect("each value alone is fine");
        }
        config
    }

    #[test]
    fn the_table_is_sound_and_the_default_valid() {
        assert_eq!(options::check(Config::OPTIONS, &Config::default()), Vec::<String>::new());
        assert_eq!(Config::default().validate(), Ok(()));
        assert!(Config::default().pages.is_empty());
    }

    #[test]
    fn combinations_that_cannot_work_name_the_option_to_change() {
        let tls = ("tls.listen", "127.0.0.1:0");
        for (settings, key) in [
            (&[("listen", "")][..], "listen"),
            (&[tls], "tls.cert"),
            (&[tls, ("tls.cert", "c.pem")], "tls.key"),
            (&[("tls.cert", "c.pem")], "tls.cert"),
            (&[("tls.key", "k.pem")], "tls.key"),
            (&[("heartbeat", "0"), ("heartbeat.event", "true")], "heartbeat.event"),
            (&[("cors.credentials", "true")], "cors.credentials"),
        ] {
            let error = config(settings).validate().expect_err(key);
            assert_eq!(error.key, key, "{settings:?}: {error}");
        }
        let complete = [("listen", ""), tls, ("tls.cert", "c.pem"), ("tls.key", "k.pem")];
        assert_eq!(config(&complete).validate(), Ok(()));
    }

    #[test]
    fn origins_are_written_as_browsers_send_them() {
        for origin in [
            "https://app.example",
            "http://localhost:3000",
            "http://127.0.0.1:8080",
            "https://[::1]:8443",
            "http://[::1]",
            "https://app.example:80",
        ] {
            assert_eq!(config(&[("cors.origins", origin)]).validate(), Ok(()), "{origin}");
        }
        for origin in [
            "*",
            "null",
            "app.example",
            "ftp://app.example",
            "https://",
            "https://app.example/",
            "https://app.example:443",
            "http://app.example:80",
            "https://app.example:0443",
            "https://app.example:99999",
            "https://App.example",
            "https://user@app.example",
            "https://app.example?x",
            "https://[::1",
            "https://*.example",
        ] {
            let error = config(&[("cors.origins", origin)]).validate().expect_err(origin);
            assert_eq!((error.key.as_str(), error.value.as_str()), ("cors.origins", origin));
        }
    }

    #[test]
    fn hosts_are_bare_names() {
        assert_eq!(config(&[("hosts", "hub.example, intranet,10.0.0.1,[::1]")]).validate(), Ok(()));
        for host in [
            "http://hub.example",
            "hub.example:80",
            "hub.example/",
            "a..b",
            "*.example",
            "hub example",
            "::1",
        ] {
            assert_eq!(config(&[("hosts", host)]).validate().expect_err(host).key, "hosts", "{host}");
        }
    }
}
