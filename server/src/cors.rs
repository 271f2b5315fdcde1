//! Pages of other origins: who may read, who may write, what a preflight is told (WHATWG Fetch 3.2).
//!
//! Two different doors. *Reading* across origins is closed by the browser unless we answer with `Access-Control-Allow-Origin`: done for listed origins only,
//! by name, with `Vary: Origin`. *Writing* is not: a `POST` with a text body is a "simple" request that any page may send to any loopback port without
//! asking first, so publish and close check the origin themselves before anything happens.

use std::collections::HashSet;

use fanfare_engine::Code;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderName, HeaderValue, ORIGIN, VARY,
};

use crate::host::Authority;
use crate::reply::Refusal;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// The listed origins.
pub(crate) struct Origins {
    listed: HashSet<String>,
    credentials: bool,
}

impl Origins {
    /// `listed` as browsers serialise them; `credentials` lets their pages send cookies.
    pub(crate) fn new(listed: &[String], credentials: bool) -> Origins {
        Origins { listed: listed.iter().cloned().collect(), credentials }
    }

    /// The Origin header, where its value is listed.
    fn listed<'a>(&self, request: &'a HeaderMap) -> Option<&'a HeaderValue> {
        let origin = request.get(ORIGIN)?;
        origin.to_str().is_ok_and(|text| self.listed.contains(text)).then_some(origin)
    }

    /// The headers that let a listed page read the answer. Every answer gets them, refusals too, or the page could not see why.
    pub(crate) fn reading(&self, request: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
        if self.listed.is_empty() {
            return Vec::new();
        }
        // The answer depends on the origin, whether this one is listed or not.
        let mut headers = vec![(VARY, HeaderValue::from_static("origin"))];
        if let Some(origin) = self.listed(request) {
            headers.push((ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()));
            headers.push((ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("retry-after")));
            if self.credentials {
                headers.push((ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true")));
            }
        }
        headers
    }

    /// What a preflight is told besides: methods and headers. Nothing for origins that are not listed.
    pub(crate) fn preflight(
        &self,
        request: &HeaderMap,
        methods: &'static str,
    ) -> Vec<(HeaderName, HeaderValue)> {
        if !request.contains_key(ACCESS_CONTROL_REQUEST_METHOD) || self.listed(request).is_none() {
            return Vec::new();
        }
        let mut headers = vec![
            (ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods)),
            (
                ACCESS_CONTROL_ALLOW_HEADERS,
                HeaderValue::from_static("last-event-id, content-type, cache-control, authorization"),
            ),
            (ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600")),
        ];
        if request.contains_key(REQUEST_PRIVATE_NETWORK) {
            headers.push((ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true")));
        }
        headers
    }

    /// Whether a request that changes something may come from where it comes from. `own` is the authority it was sent to.
    pub(crate) fn may_write(&self, request: &HeaderMap, own: Option<&Authority>) -> Result<(), Refusal> {
        let refused = |why: &str| Err(Refusal::new(Code::ForbiddenOrigin, why).field("origin"));
        let mut origins = request.get_all(ORIGIN).iter();
        let Some(origin) = origins.next() else {
            // Every current browser sends Sec-Fetch-Site to trustworthy addresses, loopback among them; other programs send neither.
            return match request.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes) {
                None | Some(b"same-origin" | b"none") => Ok(()),
                Some(_) => refused("a page of another site may not write here"),
            };
        };
        if origins.next().is_some() {
            return refused("more than one Origin header");
        }
        if self.listed(request).is_some() || origin.to_str().is_ok_and(|text| is_own(text, own)) {
            return Ok(());
        }
        refused("pages of this origin may not write here; add it to the option `cors.origins`")
    }
}

/// Whether `origin` is the place that the request was sent to. Its scheme may differ: a proxy in front may speak TLS for us.
fn is_own(origin: &str, own: Option<&Authority>) -> bool {
    let schemes = [("http://", 80), ("https://", 443)];
    let Some((rest, port)) =
        schemes.iter().find_map(|&(scheme, port)| Some((origin.strip_prefix(scheme)?, port)))
    else {
        return false;
    };
    match (own, Authority::parse(rest)) {
        (Some(own), Some(origin)) => own.same_place(&origin, port),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"))
            })
            .collect()
    }

    fn origins(credentials: bool) -> Origins {
        Origins::new(&["https://app.example".to_owned()], credentials)
    }

    #[test]
    fn writers_are_own_listed_or_no_browser() {
        for (host, pairs, allowed) in [
            ("localhost:4780", &[][..], true),
            ("localhost:4780", &[("sec-fetch-site", "same-origin")], true),
            ("localhost:4780", &[("sec-fetch-site", "none")], true),
            ("localhost:4780", &[("sec-fetch-site", "cross-site")], false),
            ("localhost:4780", &[("sec-fetch-site", "same-site")], false),
            ("localhost:4780", &[("origin", "http://localhost:4780")], true),
            (
                "localhost:4780",
                &[("origin", "http://localhost:4780"), ("sec-fetch-site", "same-origin")],
                true,
            ),
            (
                "localhost:4780",
                &[("origin", "http://localhost:3000"), ("sec-fetch-site", "same-site")],
                false,
            ),
            ("localhost:4780", &[("origin", "http://127.0.0.1:4780")], false),
            ("localhost:4780", &[("origin", "https://app.example"), ("sec-fetch-site", "cross-site")], true),
            ("localhost:4780", &[("origin", "https://app.example.evil")], false),
            ("localhost:4780", &[("origin", "http://app.example")], false),
            ("localhost:4780", &[("origin", "null")], false),
            ("localhost:4780", &[("origin", "")], false),
            ("localhost:4780", &[("origin", "file://")], false),
            ("localhost", &[("origin", "http://localhost")], true),
            ("localhost:80", &[("origin", "http://localhost")], true),
            ("hub.example", &[("origin", "https://hub.example")], true),
            ("hub.example:443", &[("origin", "https://hub.example")], true),
            ("hub.example", &[("origin", "https://hub.example:444")], false),
            ("[::1]:4780", &[("origin", "http://[::1]:4780")], true),
        ] {
            let own = Authority::parse(host);
            assert!(own.is_some());
            let result = origins(false).may_write(&headers(pairs), own.as_ref());
            assert_eq!(result.is_ok(), allowed, "{host} {pairs:?}");
        }
    }

    #[test]
    fn readers_are_named_never_a_star() {
        let find = |list: &[(HeaderName, HeaderValue)], name: HeaderName| {
            list.iter().find(|(n, _)| *n == name).map(|(_, v)| v.clone())
        };
        for credentials in [false, true] {
            let listed = origins(credentials).reading(&headers(&[("origin", "https://app.example")]));
            assert_eq!(
                find(&listed, ACCESS_CONTROL_ALLOW_ORIGIN),
                Some(HeaderValue::from_static("https://app.example"))
            );
            assert_eq!(find(&listed, ACCESS_CONTROL_ALLOW_CREDENTIALS).is_some(), credentials);
            assert_eq!(find(&listed, VARY), Some(HeaderValue::from_static("origin")));
            let foreign = origins(credentials).reading(&headers(&[("origin", "https://evil.example")]));
            assert_eq!(foreign, [(VARY, HeaderValue::from_static("origin"))]);
        }
        assert!(Origins::new(&[], false).reading(&headers(&[("origin", "https://app.example")])).is_empty());
    }

    #[test]
    fn a_preflight_may_ask_for_last_event_id() {
        let ask = [
            ("origin", "https://app.example"),
            ("access-control-request-method", "GET"),
            ("access-control-request-headers", "last-event-id"),
        ];
        let told = origins(false).preflight(&headers(&ask), "GET, POST");
        assert!(told.iter().any(|(name, value)| *name == ACCESS_CONTROL_ALLOW_HEADERS
            && value.as_bytes().starts_with(b"last-event-id")));
        assert!(
            origins(false)
                .preflight(
                    &headers(&[("origin", "https://evil.example"), ("access-control-request-method", "GET")]),
                    "GET"
                )
                .is_empty()
        );
        assert!(
            origins(false).preflight(&headers(&[("origin", "https://app.example")]), "GET").is_empty(),
            "no preflight"
        );
    }
}
