//! For whom a request is meant: the Host header, `:authority`, and the allow-list that stops DNS rebinding.
//!
//! A page of another site can make a browser resolve that site's own name to a loopback address and then read this hub as "same origin". The
//! Host header still carries the foreign name, so only names we know are served: loopback names, literal addresses (no name, nothing to
//! rebind) and the configured ones. The grammar of RFC 9110, 7.2 comes first: a `/`, `?`, `#` or `@` in a Host has moved paths in other servers.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fanfare_engine::Code;
use http::request::Parts;
use http::{StatusCode, Version};

use crate::reply::Refusal;

/// `uri-host [ ":" port ]`, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authority {
    host: Host,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Address(IpAddr),
    /// Lower case, without the trailing dot of a fully qualified name.
    Name(String),
}

impl Authority {
    /// Parses RFC 9110's grammar; None for anything else.
    pub(crate) fn parse(text: &str) -> Option<Authority> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (literal, rest) = rest.split_once(']')?;
                let host = Host::Address(IpAddr::V6(literal.parse::<Ipv6Addr>().ok()?));
                let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) };
                (host, port)
            }
            None => {
                let (name, port) =
                    text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
                (Host::of_name(name)?, port)
            }
        };
        let port = match port {
            None | Some("") => None,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => Some(digits.parse().ok()?),
            Some(_) => return None,
        };
        Some(Authority { host, port })
    }

    /// Whether an origin's host and port are this authority's, for the port that the origin's scheme implies.
    pub(crate) fn same_place(&self, origin: &Authority, default_port: u16) -> bool {
        self.host == origin.host && self.port.unwrap_or(default_port) == origin.port.unwrap_or(default_port)
    }
}

impl Host {
    fn of_name(name: &str) -> Option<Host> {
        let sound = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%".contains(&b);
        if name.is_empty() || name.len() > 255 || !name.bytes().all(sound) {
            return None;
        }
        if let Ok(address) = name.parse::<Ipv4Addr>() {
            return Some(Host::Address(IpAddr::V4(address)));
        }
        let name = name.strip_suffix('.').unwrap_or(name);
        (!name.is_empty()).then(|| Host::Name(name.to_ascii_lowercase()))
    }
}

/// The names this server answers to.
pub(crate) struct Hosts {
    names: HashSet<String>,
}

impl Hosts {
    /// Loopback names and literal addresses, and `configured` ones.
    pub(crate) fn new(configured: &[String]) -> Hosts {
        Hosts {
            names: configured.iter().map(|name| name.trim_end_matches('.').to_ascii_lowercase()).collect(),
        }
    }

    fn serves(&self, host: &Host) -> bool {
        match host {
            Host::Address(_) => true,
            // Names under `localhost` are loopback in every resolver that follows RFC 6761, 6.3.
            Host::Name(name) => {
                name == "localhost" || name.ends_with(".localhost") || self.names.contains(name)
            }
        }
    }

    /// The authority that a request is for, or why it is not served. None where HTTP/1.0 names none: a browser always does.
    pub(crate) fn check(&self, request: &Parts) -> Result<Option<Authority>, Refusal> {
        let malformed = |what: &str| Refusal::new(Code::InvalidParameter, what).field("host").close();
        let mut found: Option<Authority> = None;
        let mut headers = request.headers.get_all(http::header::HOST).iter();
        let header = headers.next();
        if headers.next().is_some() {
            return Err(malformed("more than one Host header"));
        }
        let header = match header {
            Some(value) => Some(value.to_str().map_err(|_| malformed("the Host header is not a host"))?),
            None if request.version == Version::HTTP_11 => {
                return Err(malformed("HTTP/1.1 needs a Host header"));
            }
            None => None,
        };
        // An absolute-form target or `:authority` must name a served host as well as the header.
        for text in request.uri.authority().map(http::uri::Authority::as_str).into_iter().chain(header) {
            let authority =
                Authority::parse(text).ok_or_else(|| malformed("the Host header is not a host"))?;
            if !self.serves(&authority.host) {
                let message = "this hub does not answer to that host name; add it to the option `hosts`";
                return Err(Refusal::new(Code::ForbiddenHost, message).field("host").close());
            }
            if found.as_ref().is_some_and(|first| *first != authority) {
                return Err(malformed("the request target and the Host header name different hosts"));
            }
            found = Some(authority);
        }
        if found.is_none() && request.version == Version::HTTP_2 {
            return Err(malformed("the request names no :authority").status(StatusCode::BAD_REQUEST));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(version: Version, target: &str, hosts: &[&str]) -> u16 {
        let mut request = http::Request::builder().version(version).uri(target);
        for host in hosts {
            request = request.header("host", *host);
        }
        let parts = request.body(()).expect("a request").into_parts().0;
        match Hosts::new(&["Hub.example".to_owned()]).check(&parts) {
            Ok(_) => 200,
            Err(refusal) => refusal.status.as_u16(),
        }
    }

    #[test]
    fn only_known_names_are_served() {
        for host in [
            "localhost",
            "LOCALHOST",
            "localhost.",
            "localhost:4780",
            "app.localhost:1",
            "127.0.0.1",
            "127.0.0.1:80",
            "192.0.2.1",
            "[::1]",
            "[::1]:8443",
            "[2001:db8::1]",
            "hub.example",
            "HUB.example.:99",
            "localhost:",
        ] {
            assert_eq!(check(Version::HTTP_11, "/", &[host]), 200, "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "hub.example.evil",
            "xhub.example",
            "127.0.0.1.evil.example",
            "0x7f.1",
            "127.1",
            "2130706433",
        ] {
            assert_eq!(check(Version::HTTP_11, "/", &[host]), 421, "{host}");
        }
        for host in [
            "",
            "localhost/",
            "localhost?",
            "localhost#a",
            "user@localhost",
            "local host",
            "localhost:port",
            "localhost:99999",
            "[::1",
            "::1",
            "[::1]x",
            "[fe80::1%25eth0]",
            "localhost:80:80",
            ".",
            "http://localhost",
        ] {
            assert_eq!(check(Version::HTTP_11, "/", &[host]), 400, "{host}");
        }
    }

    #[test]
    fn one_host_and_the_same_one() {
        assert_eq!(check(Version::HTTP_11, "/", &[]), 400);
        assert_eq!(check(Version::HTTP_10, "/", &[]), 200);
        assert_eq!(check(Version::HTTP_11, "/", &["localhost", "localhost"]), 400);
        assert_eq!(check(Version::HTTP_11, "http://localhost/", &["localhost"]), 200);
        assert_eq!(check(Version::HTTP_11, "http://evil.example/", &["localhost"]), 421);
        assert_eq!(check(Version::HTTP_11, "http://localhost/", &["evil.example"]), 421);
        assert_eq!(check(Version::HTTP_11, "http://localhost:1/", &["localhost:2"]), 400);
        assert_eq!(check(Version::HTTP_2, "http://localhost:1/", &[]), 200);
        assert_eq!(check(Version::HTTP_2, "/", &[]), 400);
        assert_eq!(check(Version::HTTP_2, "http://evil.example/", &[]), 421);
    }
}
