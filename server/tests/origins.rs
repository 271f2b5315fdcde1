//! Pages of other origins and requests for other hosts: who may read, who may write, which names are served.

mod support;

use support::{Hub, Response, post};

const APP: &str = "https://app.example";
const EVIL: &str = "https://evil.example";

fn listed(credentials: bool) -> Hub {
    Hub::with(|_, config| {
        config.cors_origins = vec![APP.to_owned()];
        config.cors_credentials = credentials;
        config.hosts = vec!["hub.example".to_owned()];
    })
}

/// The headers that open an answer to a page.
fn cors(response: &Response) -> [Option<String>; 3] {
    ["access-control-allow-origin", "access-control-allow-credentials", "vary"]
        .map(|name| response.header(name).map(str::to_ascii_lowercase))
}

fn expected(allowed: bool, credentials: bool) -> [Option<String>; 3] {
    let allow = |text: &str| allowed.then(|| text.to_owned());
    [allow(APP), allow("true").filter(|_| credentials), Some("origin".to_owned())]
}

#[test]
fn listed_pages_may_read_and_are_named() {
    for credentials in [false, true] {
        let hub = listed(credentials);
        hub.close("over");
        for (origin, allowed) in [
            (APP, true),
            (EVIL, false),
            ("null", false),
            ("http://app.example", false),
            ("https://app.example:444", false),
            ("https://app.example.evil", false),
            ("https://APP.example", false),
            ("*", false),
        ] {
            let header = format!("Origin: {origin}\r\nCookie: a=b\r\n");
            let what = format!("{origin} {credentials}");
            let stream = hub.stream_with("/events/t", &format!("{header}Last-Event-ID: a\r\n"));
            assert_eq!(cors(&stream.head), expected(allowed, credentials), "{what}");
            // Refusals and everything else say so too, or the page could not see why.
            for target in ["/events/t?nope=1", "/events/over", "/stats", "/healthz", "/nothing"] {
                let response = hub.request("GET", target, &header);
                assert_eq!(cors(&response), expected(allowed, credentials), "{what} {target}");
            }
            let head = hub.request("HEAD", "/events/t", &header);
            assert_eq!(cors(&head), expected(allowed, credentials), "HEAD {what}");
        }
        let none = hub.stream("/events/t");
        assert_eq!(cors(&none.head), expected(false, credentials), "without Origin the answer still varies");
    }
    let closed = Hub::start();
    let stream = closed.stream_with("/events/t", &format!("Origin: {APP}\r\n"));
    assert_eq!(cors(&stream.head), [None, None, None], "nobody is listed");
}

#[test]
fn a_preflight_opens_the_door_for_listed_pages_only() {
    for credentials in [false, true] {
        let hub = listed(credentials);
        let ask = |origin: &str, method: &str| {
            let headers = format!(
                "Origin: {origin}\r\nAccess-Control-Request-Method: {method}\r\nAccess-Control-Request-Headers: last-event-id,content-type\r\n\
                 Access-Control-Request-Private-Network: true\r\n"
            );
            hub.request("OPTIONS", "/events/t", &headers)
        };
        for method in ["GET", "POST", "DELETE"] {
            let allowed = ask(APP, method);
            assert_eq!((allowed.status, cors(&allowed)), (204, expected(true, credentials)));
            let has = |name: &str, part: &str| allowed.header(name).is_some_and(|value| value.contains(part));
            assert!(has("access-control-allow-methods", method), "{allowed:?}");
            assert!(has("access-control-allow-headers", "last-event-id"), "{allowed:?}");
            assert!(has("access-control-allow-headers", "content-type"), "{allowed:?}");
            let foreign = ask(EVIL, method);
            assert_eq!(cors(&foreign), expected(false, credentials));
            let told = |name: &String| name.starts_with("access-control-");
            assert!(!foreign.headers.iter().any(|(name, _)| told(name)), "{foreign:?}");
        }
    }
}

#[test]
fn foreign_pages_cannot_write() {
    let hub = listed(true);
    let mut probe = hub.probe("t");
    let types = [
        "",
        "Content-Type: text/plain\r\n",
        "Content-Type: text/plain;charset=UTF-8\r\n",
        "Content-Type: application/x-www-form-urlencoded\r\n",
        "Content-Type: multipart/form-data; boundary=x\r\n",
        "Content-Type: application/json\r\n",
        "Content-Type: application/x-ndjson\r\n",
        "Content-Type: application/octet-stream\r\n",
        "Content-Type: text/html\r\n",
    ];
    let pages = [
        "Origin: https://evil.example\r\n",
        "Origin: https://evil.example\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n",
        "Origin: http://localhost:1\r\nSec-Fetch-Site: same-site\r\n",
        "Origin: https://localhost:444\r\n",
        "Origin: http://127.0.0.1\r\n",
        "Origin: http://localhost.evil.example\r\n",
        "Origin: null\r\n",
        "Origin: \r\n",
        "Origin: file://\r\n",
        "Origin: https://app.example, https://evil.example\r\n",
        "Origin: https://app.example\r\nOrigin: https://evil.example\r\n",
        "Origin: https://app.example\r\nOrigin: https://app.example\r\n",
        "Origin: https://app.example/\r\n",
        "Origin: http://app.example\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n",
        "Sec-Fetch-Site: nonsense\r\n",
    ];
    for page in pages {
        for cookie in ["", "Cookie: session=1\r\n"] {
            for content_type in types {
                let headers = format!("{page}{cookie}{content_type}");
                let response = hub.post("/events/t", &headers, "{\"data\":\"x\"}");
                assert_eq!(
                    (response.status, response.code().as_str()),
                    (403, "forbidden_origin"),
                    "{headers}"
                );
            }
            let response = hub.request("DELETE", "/events/t", &format!("{page}{cookie}"));
            assert_eq!(
                (response.status, response.code().as_str()),
                (403, "forbidden_origin"),
                "DELETE {page}"
            );
        }
        probe.assert_nothing(page);
    }
    // A method override is only a header here.
    for name in ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"] {
        drop(hub.stream_with("/events/t?client=c", &format!("{name}: POST\r\n")));
        drop(hub.stream_with("/events/t?client=c", &format!("{name}: DELETE\r\n")));
    }
    probe.assert_nothing("method overrides");
}

#[test]
fn own_and_listed_pages_and_programs_can_write() {
    let hub = listed(false);
    let port = hub.addr.port();
    for (host, page) in [
        ("localhost".to_owned(), String::new()),
        ("localhost".into(), "Sec-Fetch-Site: none\r\n".into()),
        ("localhost".into(), "Sec-Fetch-Site: same-origin\r\n".into()),
        ("localhost".into(), "Origin: http://localhost\r\n".into()),
        ("localhost:80".into(), "Origin: http://localhost\r\n".into()),
        (
            format!("localhost:{port}"),
            format!("Origin: http://localhost:{port}\r\nSec-Fetch-Site: same-origin\r\n"),
        ),
        (format!("127.0.0.1:{port}"), format!("Origin: http://127.0.0.1:{port}\r\n")),
        (format!("[::1]:{port}"), format!("Origin: http://[::1]:{port}\r\n")),
        ("hub.example".into(), "Origin: https://hub.example\r\n".into()),
        ("localhost".into(), format!("Origin: {APP}\r\nSec-Fetch-Site: cross-site\r\n")),
    ] {
        let raw = format!("POST /events/t HTTP/1.1\r\nHost: {host}\r\n{page}Content-Length: 1\r\n\r\nx");
        let response = hub.ask(&raw);
        assert_eq!(response.status, 200, "{raw} {response:?}");
    }
    assert_eq!(hub.published(), 10);
    assert_eq!(hub.request("DELETE", "/events/t", &format!("Origin: {APP}\r\n")).status, 200);
}

#[test]
fn only_known_hosts_are_served() {
    let hub = listed(false);
    let port = hub.addr.port();
    let mut probe = hub.probe("t");
    let ask = |host: &str, method: &str| {
        hub.ask(format!("{method} /events/t?nope=1 HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n"))
    };
    for host in [
        "localhost",
        "LocalHost",
        "localhost.",
        "localhost:1",
        "app.localhost",
        "127.0.0.1",
        "192.0.2.1:8080",
        "[::1]",
        "[::1]:443",
        "[2001:db8::1]",
        "hub.example",
        "HUB.EXAMPLE.",
        "hub.example:65535",
        &format!("127.0.0.1:{port}"),
    ] {
        assert_eq!(ask(host, "POST").code(), "unknown_parameter", "{host} is served");
    }
    for host in [
        "evil.example",
        "evil.example:80",
        "localhost.evil.example",
        "notlocalhost",
        "hub.example.evil",
        "sub.hub.example",
        "127.0.0.1.nip.io",
        "127.1",
        "0x7f.0.0.1",
        "2130706433",
    ] {
        for method in ["GET", "POST", "DELETE", "OPTIONS", "HEAD"] {
            let raw = format!("{method} /events/t HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n");
            let response = hub.ask(&raw);
            assert_eq!(response.status, 421, "{raw}");
            assert!(method == "HEAD" || response.code() == "forbidden_host", "{raw}");
        }
        for target in ["/stats", "/healthz", "/metrics", "/"] {
            let response = hub.ask(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
            assert_eq!(response.status, 421, "{host} {target}");
        }
        probe.assert_nothing(host);
    }
    for host in [
        "",
        " ",
        "local host",
        "localhost/x",
        "localhost?x",
        "localhost#x",
        "user@localhost",
        "localhost:x",
        "localhost:99999",
        "localhost:-1",
        "[::1",
        "::1",
        "[::1]x",
        "[fe80::1%25lo]",
        "localhost:80:80",
        ".",
        "http://localhost",
        "localhost, evil.example",
    ] {
        let response = ask(host, "POST");
        assert_eq!(response.status, 400, "{host:?}");
        assert_eq!(response.error("field"), "host", "{host:?}");
        probe.assert_nothing(host);
    }
}

#[test]
fn one_host_and_the_same_in_the_target() {
    let hub = listed(false);
    let mut probe = hub.probe("t");
    for (raw, status) in [
        ("POST /events/t HTTP/1.1\r\nContent-Length: 1\r\n\r\nx", 400),
        ("POST /events/t HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx", 400),
        (
            "POST /events/t HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nContent-Length: 1\r\n\r\nx",
            400,
        ),
        ("POST http://evil.example/events/t HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx", 421),
        ("POST http://localhost/events/t HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 1\r\n\r\nx", 421),
        ("POST http://localhost/events/t HTTP/1.1\r\nHost: hub.example\r\nContent-Length: 1\r\n\r\nx", 400),
        ("POST http://localhost:1/events/t HTTP/1.1\r\nHost: localhost:2\r\nContent-Length: 1\r\n\r\nx", 400),
        (
            "POST http://user@localhost/events/t HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx",
            400,
        ),
        ("POST http://localhost/events/t HTTP/1.1\r\nContent-Length: 1\r\n\r\nx", 400),
        ("POST /events/t HTTP/1.0\r\nHost: evil.example\r\nContent-Length: 1\r\n\r\nx", 421),
        ("POST http://evil.example/events/t HTTP/1.0\r\nContent-Length: 1\r\n\r\nx", 421),
    ] {
        let response = hub.ask(raw);
        assert_eq!(response.status, status, "{raw} {response:?}");
        probe.assert_nothing(raw);
    }
    for raw in [
        "POST http://localhost/events/u HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx",
        "POST http://localhost:9/events/u HTTP/1.1\r\nHost: LOCALHOST.:9\r\nContent-Length: 1\r\n\r\nx",
        "POST /events/u HTTP/1.0\r\nContent-Length: 1\r\n\r\nx",
        "POST /events/u HTTP/1.0\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx",
    ] {
        assert_eq!(hub.ask(raw).status, 200, "{raw}");
    }
    // Same host in the request is no proof of same origin for a page.
    let page = post("/events/u", "Origin: http://127.0.0.1\r\n", "x");
    assert_eq!(hub.ask(page).status, 403);
}
