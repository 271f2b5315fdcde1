//! Pages served as they are: the console. Every one with a content security policy that allows its own files and nothing else.

use std::collections::HashMap;
use std::hash::Hasher;

use http::StatusCode;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH,
    REFERRER_POLICY,
};

use crate::config::Page;
use crate::reply::{self, Reply};

const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// The pages by path.
pub(crate) struct Pages {
    by_path: HashMap<&'static str, (Page, HeaderValue)>,
}

impl Pages {
    pub(crate) fn new(pages: &[Page]) -> Pages {
        let tagged = |page: &Page| (page.path, (page.clone(), etag(page.body)));
        Pages { by_path: pages.iter().map(tagged).collect() }
    }

    /// The answer to GET, if there is such a page.
    pub(crate) fn get(&self, path: &str, request: &HeaderMap) -> Option<Reply> {
        let (page, etag) = self.by_path.get(path)?;
        let known = request.get_all(IF_NONE_MATCH).iter().any(|value| {
            value.to_str().is_ok_and(|list| {
                list.split(',').any(|tag| tag.trim().trim_start_matches("W/").as_bytes() == etag.as_bytes())
            })
        });
        let mut reply = if known {
            reply::empty(StatusCode::NOT_MODIFIED)
        } else {
            reply::full(StatusCode::OK, page.content_type, page.body)
        };
        let headers = reply.headers_mut();
        headers.insert(ETAG, etag.clone());
        // Kept, but asked for each time: a page of another version must not talk to this hub.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(CONTENT_SECURITY_POLICY, POLICY);
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(
            HeaderName::from_static("cross-origin-opener-policy"),
            HeaderValue::from_static("same-origin"),
        );
        headers.insert(
            HeaderName::from_static("cross-origin-resource-policy"),
            HeaderValue::from_static("same-origin"),
        );
        Some(reply)
    }
}

/// A tag that changes with the bytes (FNV-1a; nobody gains from a collision with his own page).
fn etag(body: &[u8]) -> HeaderValue {
    struct Fnv(u64);
    impl Hasher for Fnv {
        fn finish(&self) -> u64 {
            self.0
        }
        fn write(&mut self, bytes: &[u8]) {
            for &byte in bytes {
                self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
            }
        }
    }
    let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
    hasher.write(body);
    HeaderValue::from_str(&format!("\"{:016x}\"", hasher.finish()))
        .unwrap_or_else(|_| HeaderValue::from_static("\"0\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_tag_is_not_sent_again() {
        let pages = Pages::new(&[Page { path: "/", content_type: "text/html; charset=utf-8", body: b"<p>" }]);
        let first = pages.get("/", &HeaderMap::new()).expect("a page");
        assert_eq!(first.status(), 200);
        let tag = first.headers()[ETAG].clone();
        let ask = |value: HeaderValue| {
            pages.get("/", &HeaderMap::from_iter([(IF_NONE_MATCH, value)])).expect("a page").status()
        };
        assert_eq!(ask(tag), 304);
        assert_eq!(ask(HeaderValue::from_static("\"other\"")), 200);
        assert!(pages.get("/other", &HeaderMap::new()).is_none());
    }
}
