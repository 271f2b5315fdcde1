//! Where a hub is.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but the unreserved characters of RFC 3986, section 2.3.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// As [`VALUE`], for a topic in a path, where hubs take slashes as they are.
const PATH: &AsciiSet = &VALUE.remove(b'/');

/// A hub's base URL: scheme, host, port, and the path it is mounted under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Whether the scheme is https.
    pub(crate) tls: bool,
    /// Host name or address, without brackets.
    pub(crate) host: String,
    /// Port, the scheme's own if the URL has none.
    pub(crate) port: u16,
    /// Value of the `Host` header.
    pub(crate) authority: String,
    /// Path in front of `/events`, without a slash at its end.
    base: String,
}

impl Target {
    /// The path of one topic, with a query.
    pub(crate) fn topic(&self, topic: &str, query: &Query) -> String {
        // A dot segment would be taken as a step in the path by proxies on the way (RFC 3986, section 5.2.4).
        let dots = topic.split('/').any(|segment| matches!(segment, "." | ".." | ""));
        let topic = utf8_percent_encode(topic, PATH).to_string();
        let topic = if dots { topic.replace('/', "%2F").replace('.', "%2E") } else { topic };
        format!("{}/events/{topic}{query}", self.base)
    }

    /// The path of several topics; they are part of the query.
    pub(crate) fn topics(&self, query: &Query) -> String {
        format!("{}/events{query}", self.base)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", if self.tls { "https" } else { "http" }, self.authority, self.base)
    }
}

impl FromStr for Target {
    type Err = &'static str;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected a URL such as http://127.0.0.1:4780";
        let (tls, rest) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(EXPECTED),
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        let visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if authority.contains('@') || !visible(authority) || !visible(path) || path.contains(['?', '#']) {
            return Err("expected scheme, host, port and perhaps a path, such as http://127.0.0.1:4780");
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| "its port is not a number")?)
            }
            _ => (authority, if tls { 443 } else { 80 }),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Err(EXPECTED);
        }
        Ok(Self {
            tls,
            host: host.to_owned(),
            port,
            authority: authority.to_owned(),
            base: path.trim_end_matches('/').to_owned(),
        })
    }
}

/// The query part of a request, built parameter by parameter.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(String);

impl Query {
    /// Adds a parameter.
    pub(crate) fn add(&mut self, name: &str, value: &str) {
        let mark = if self.0.is_empty() { '?' } else { '&' };
        // Writing to a String cannot fail.
        let _ = write!(self.0, "{mark}{name}={}", utf8_percent_encode(value, VALUE));
    }

    /// Adds a parameter if there is a value for it.
    pub(crate) fn add_some(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.add(name, value);
        }
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let target: Target = "http://[::1]:4780/push/".parse().expect("URL");
        assert_eq!((target.host.as_str(), target.port, target.tls), ("::1", 4780, false));
        assert_eq!(target.authority, "[::1]:4780");
        assert_eq!(target.topics(&Query::default()), "/push/events");
        assert_eq!(target.to_string(), "http://[::1]:4780/push");
        let target: Target = "https://hub.example".parse().expect("URL");
        assert_eq!((target.port, target.tls), (443, true));
        for url in [
            "",
            "hub.example",
            "ftp://x",
            "http://",
            "http://:80",
            "http://a:b",
            "http://u@h",
            "http://h/?q",
            "http://h/\r\n",
        ] {
            assert!(url.parse::<Target>().is_err(), "{url:?}");
        }
    }

    #[test]
    fn topics_and_parameters_are_encoded() {
        let target: Target = "http://h".parse().expect("URL");
        let mut query = Query::default();
        query.add("event", "a b&c");
        query.add_some("id", None);
        query.add_some("except", Some("ü"));
        assert_eq!(target.topic("a/b c?", &query), "/events/a/b%20c%3F?event=a%20b%26c&except=%C3%BC");
        assert_eq!(target.topic("../x", &Query::default()), "/events/%2E%2E%2Fx");
        assert_eq!(target.topic("a//b", &Query::default()), "/events/a%2F%2Fb");
    }
}
