//! Requests of every form: what is refused, with which status, code and field, and what works. A refusal changes nothing.

mod support;

use fanfare_engine::Draft;
use fanfare_engine::wire::parse::Item;
use support::{EPOCH, Hub, Probe, Response, post};

/// What a refusal says.
#[track_caller]
fn refused(response: &Response, status: u16, code: &str, field: &str, what: &str) {
    let got = (response.status, response.code(), response.error("field").as_str().unwrap_or("").to_owned());
    assert_eq!(got, (status, code.to_owned(), field.to_owned()), "{what}: {response:?}");
    assert_eq!(response.header("content-type"), Some("application/json"), "{what}");
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"), "{what}");
    assert!(response.error("message").as_str().is_some_and(|text| !text.is_empty()), "{what}");
}

fn get(target: &str, headers: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").into_bytes()
}

#[track_caller]
fn check(hub: &Hub, probe: &mut Probe<'_>, raw: &[u8], status: u16, code: &str, field: &str) {
    let what = support::shown(raw);
    refused(&hub.ask(raw), status, code, field, &what);
    probe.assert_nothing(&what);
}

#[test]
fn bad_publishes_are_refused_and_change_nothing() {
    let hub = Hub::start();
    let mut probe = hub.probe("t");
    let long = |n: usize| "a".repeat(n);
    let own = format!("{EPOCH}-7");
    let targets: Vec<(String, u16, &str, &str)> = vec![
        ("/events/".into(), 400, "invalid_topic", "topic"),
        (format!("/events/{}", long(256)), 400, "invalid_topic", "topic"),
        ("/events/a%0Ab".into(), 400, "invalid_topic", "topic"),
        ("/events/a%00".into(), 400, "invalid_topic", "topic"),
        ("/events/a%7F".into(), 400, "invalid_topic", "topic"),
        ("/events/a%C2%85".into(), 400, "invalid_topic", "topic"),
        ("/events/a%FF".into(), 400, "invalid_topic", "topic"),
        ("/events/a%C0%AF".into(), 400, "invalid_topic", "topic"),
        ("/events/a%".into(), 400, "invalid_topic", "topic"),
        ("/events/a%4".into(), 400, "invalid_topic", "topic"),
        ("/events/a%zz".into(), 400, "invalid_topic", "topic"),
        ("/events/t?event=fanfare.gap".into(), 400, "invalid_event", "event"),
        ("/events/t?event=fanfare.".into(), 400, "invalid_event", "event"),
        ("/events/t?event=a%0Ddata:x".into(), 400, "invalid_event", "event"),
        (format!("/events/t?event={}", long(256)), 400, "invalid_event", "event"),
        (format!("/events/t?id={own}"), 400, "invalid_id", "id"),
        ("/events/t?id=a%20b".into(), 400, "invalid_id", "id"),
        ("/events/t?id=a+b".into(), 400, "invalid_id", "id"),
        ("/events/t?id=a%0Ab".into(), 400, "invalid_id", "id"),
        ("/events/t?id=%C3%A9".into(), 400, "invalid_id", "id"),
        (format!("/events/t?id={}", long(129)), 400, "invalid_id", "id"),
        ("/events/t?retry=-1".into(), 400, "invalid_retry", "retry"),
        ("/events/t?retry=%2B1".into(), 400, "invalid_retry", "retry"),
        ("/events/t?retry=1.5".into(), 400, "invalid_retry", "retry"),
        ("/events/t?retry=1e3".into(), 400, "invalid_retry", "retry"),
        ("/events/t?retry=86400001".into(), 400, "invalid_retry", "retry"),
        ("/events/t?retry=99999999999999999999".into(), 400, "invalid_retry", "retry"),
        ("/events/t?retry=%D9%A3".into(), 400, "invalid_retry", "retry"),
        ("/events/t?except=a%00".into(), 400, "invalid_client", "except"),
        (format!("/events/t?except={}", long(129)), 400, "invalid_client", "except"),
        ("/events/t?key=a%1F".into(), 400, "invalid_key", "key"),
        (format!("/events/t?key={}", long(256)), 400, "invalid_key", "key"),
        ("/events/t?nope=1".into(), 400, "unknown_parameter", "nope"),
        ("/events/t?nope=".into(), 400, "unknown_parameter", "nope"),
        ("/events/t?ID=1".into(), 400, "unknown_parameter", "ID"),
        ("/events/t?topic=u".into(), 400, "unknown_parameter", "topic"),
        ("/events/t?replay=all".into(), 400, "unknown_parameter", "replay"),
        ("/events/t?id=a&id=b".into(), 400, "invalid_parameter", "id"),
        ("/events/t?event=a&event=a".into(), 400, "invalid_parameter", "event"),
        ("/events/t?event=%".into(), 400, "invalid_parameter", "event"),
        ("/events/t?event=%FF".into(), 400, "invalid_parameter", "event"),
        ("/events/t?%FF=1".into(), 400, "invalid_parameter", "query"),
    ];
    for (target, status, code, field) in &targets {
        check(&hub, &mut probe, &post(target, "", "x"), *status, code, field);
    }
    for body in [&b"\xff"[..], b"a\xc3", b"\xed\xa0\x80", b"\xc0\xaf"] {
        check(&hub, &mut probe, &post("/events/t", "", body), 400, "invalid_data", "data");
    }
    for (headers, field) in [
        ("Content-Encoding: gzip\r\n", "content-encoding"),
        ("Content-Encoding: identity\r\nContent-Encoding: br\r\n", "content-encoding"),
        ("Content-Type: multipart/form-data; boundary=x\r\n", "content-type"),
        ("Content-Type: text/plain; charset=utf-16\r\n", "content-type"),
        ("Content-Type: text/plain\r\nContent-Type: application/x-ndjson\r\n", "content-type"),
        ("Content-Type: nonsense\r\n", "content-type"),
    ] {
        check(&hub, &mut probe, &post("/events/t", headers, "x"), 415, "unsupported_media_type", field);
    }
    let chunked = |target: &str, body: &[u8]| {
        let head =
            format!("POST {target} HTTP/1.1\r\nHost: a.localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
        [head.as_bytes(), format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n0\r\n\r\n"].concat()
    };
    check(&hub, &mut probe, &chunked("/events/t", b"a\xff"), 400, "invalid_data", "data");
    check(&hub, &mut probe, &chunked("/events/t?nope=1", b"a"), 400, "unknown_parameter", "nope");
}

#[test]
fn bad_batches_are_refused_whole() {
    let hub = Hub::start();
    let mut probe = hub.probe("t");
    let long = "a".repeat(129);
    let faults = [
        ("", "invalid_body", "body"),
        ("\n \r\n", "invalid_body", "body"),
        ("[]", "invalid_body", "body"),
        ("null", "invalid_body", "body"),
        ("\"x\"", "invalid_body", "body"),
        ("{}", "invalid_body", "body"),
        ("{\"data\":null}", "invalid_body", "body"),
        ("{\"data\":1}", "invalid_body", "body"),
        ("{\"data\":{\"a\":1}}", "invalid_body", "body"),
        ("{\"data\":\"x\"", "invalid_body", "body"),
        ("{\"data\":\"x\"}{\"data\":\"y\"}", "invalid_body", "body"),
        ("{\"data\":\"x\",\"data\":\"y\"}", "invalid_body", "body"),
        ("{\"data\":\"x\",\"topic\":\"u\"}", "invalid_body", "body"),
        ("{\"data\":\"x\",\"retry\":-1}", "invalid_body", "body"),
        ("{\"data\":\"x\",\"retry\":1.5}", "invalid_body", "body"),
        ("{\"data\":\"x\",\"retry\":\"1\"}", "invalid_body", "body"),
        ("{\"data\":\"\\ud800\"}", "invalid_body", "body"),
        ("{\"data\":\"a\tb\"}", "invalid_body", "body"),
        ("{\"data\":\"x\",\"retry\":86400001}", "invalid_retry", "retry"),
        ("{\"data\":\"x\",\"id\":\"a b\"}", "invalid_id", "id"),
        ("{\"data\":\"x\",\"id\":\"test-7\"}", "invalid_id", "id"),
        ("{\"data\":\"x\",\"event\":\"fanfare.gap\"}", "invalid_event", "event"),
        ("{\"data\":\"x\",\"event\":\"a\\nid: forged\"}", "invalid_event", "event"),
        ("{\"data\":\"x\",\"event\":\"\"}", "invalid_event", "event"),
        ("{\"data\":\"x\",\"except\":\"\\u0000\"}", "invalid_client", "except"),
        ("{\"data\":\"x\",\"key\":\"\\r\"}", "invalid_key", "key"),
        (&format!("{{\"data\":\"x\",\"except\":\"{long}\"}}"), "invalid_client", "except"),
    ];
    const NDJSON: &str = "Content-Type: application/x-ndjson\r\n";
    for (line, code, field) in faults {
        // Alone, and behind a good line, which must not be published either.
        check(&hub, &mut probe, &post("/events/t", NDJSON, line), 400, code, field);
        if line.contains('{') || line.contains('x') {
            let body = format!("{{\"data\":\"good\"}}\n{line}\n{{\"data\":\"good\"}}");
            let response = hub.post("/events/t", NDJSON, &body);
            refused(&response, 400, code, field, &body);
            let message = response.error("message");
            assert!(message.as_str().is_some_and(|text| text.starts_with("line 2: ")), "{message}");
            probe.assert_nothing(&body);
        }
    }
    check(&hub, &mut probe, &post("/events/t", NDJSON, b"{\"data\":\"\xff\"}"), 400, "invalid_body", "body");
    for name in ["id", "event", "retry", "except", "key"] {
        let raw = post(&format!("/events/t?{name}=1"), NDJSON, "{\"data\":\"x\"}");
        check(&hub, &mut probe, &raw, 400, "unknown_parameter", name);
    }
}

#[test]
fn bad_subscriptions_are_refused() {
    let hub = Hub::start();
    let long = |n: usize| "a".repeat(n);
    for (target, code, field) in [
        ("/events".to_owned(), "invalid_topic", "topic"),
        ("/events/".into(), "invalid_topic", "topic"),
        ("/events?topic=".into(), "invalid_topic", "topic"),
        (format!("/events?topic={}", long(256)), "invalid_topic", "topic"),
        ("/events?topic=a%0A".into(), "invalid_topic", "topic"),
        ("/events?topic=ok&topic=a%00".into(), "invalid_topic", "topic"),
        ("/events?topic=%".into(), "invalid_topic", "topic"),
        ("/events?topic=%FF".into(), "invalid_topic", "topic"),
        ("/events/%FF".into(), "invalid_topic", "topic"),
        ("/events/t?client=a%0A".into(), "invalid_client", "client"),
        (format!("/events/t?client={}", long(129)), "invalid_client", "client"),
        (format!("/events/t?event={}", long(256)), "invalid_event", "event"),
        ("/events/t?event=a%0A".into(), "invalid_event", "event"),
        ("/events/t?lag=never".into(), "invalid_parameter", "lag"),
        ("/events/t?lag=SKIP".into(), "invalid_parameter", "lag"),
        ("/events/t?replay=-1".into(), "invalid_parameter", "replay"),
        ("/events/t?replay=some".into(), "invalid_parameter", "replay"),
        ("/events/t?replay=99999999999999999999".into(), "invalid_parameter", "replay"),
        ("/events/t?replay=1&replay=1".into(), "invalid_parameter", "replay"),
        ("/events/t?client=%zz".into(), "invalid_parameter", "client"),
        ("/events/t?nope".into(), "unknown_parameter", "nope"),
        ("/events/t?Topic=a".into(), "unknown_parameter", "Topic"),
        ("/events/t?retry=1".into(), "unknown_parameter", "retry"),
    ] {
        refused(&hub.ask(get(&target, "")), 400, code, field, &target);
        let head = hub.request("HEAD", &target, "");
        assert_eq!(head.status, 400, "HEAD {target}");
    }
    for accept in ["application/json", "text/html, image/*", "text/event-stream;q=0"] {
        let raw = get("/events/t", &format!("Accept: {accept}\r\n"));
        refused(&hub.ask(raw), 406, "not_acceptable", "accept", accept);
    }
    refused(
        &hub.ask(get("/events/t", "Last-Event-ID: a\r\nLast-Event-ID: a\r\n")),
        400,
        "invalid_id",
        "last_event_id",
        "two",
    );
    let not_utf8 = b"GET /events/t HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: \xff\r\n\r\n";
    refused(&hub.ask(not_utf8), 400, "invalid_id", "last_event_id", "not UTF-8");
    assert_eq!(hub.engine.stats().subscriptions, 0);
    assert_eq!(hub.engine.stats().topics, 0, "a refusal leaves no topic behind");
}

#[test]
fn paths_and_methods() {
    let hub = Hub::with(|_, config| {
        config.pages =
            vec![fanfare_server::Page { path: "/", content_type: "text/html; charset=utf-8", body: b"<p>" }];
    });
    let mut probe = hub.probe("t");
    for target in
        ["/event", "/events2", "/eventsx/t", "/x", "//events/t", "/healthz/", "/EVENTS/t", "/events%2Ft"]
    {
        refused(&hub.request("GET", target, ""), 404, "not_found", "", target);
        refused(&hub.post(target, "", "x"), 404, "not_found", "", target);
    }
    const TOPIC: &str = "GET, HEAD, POST, DELETE, OPTIONS";
    const READ: &str = "GET, HEAD, OPTIONS";
    for (method, target, allow) in [
        ("PUT", "/events/t", TOPIC),
        ("PATCH", "/events/t", TOPIC),
        ("TRACE", "/events/t", TOPIC),
        ("FOO", "/events/t", TOPIC),
        ("get", "/events/t", TOPIC),
        ("POST", "/events", READ),
        ("DELETE", "/events?topic=t", READ),
        ("POST", "/stats", READ),
        ("DELETE", "/metrics", READ),
        ("PUT", "/healthz", READ),
        ("POST", "/", READ),
    ] {
        let what = format!("{method} {target}");
        let response = hub.request(method, target, "Content-Length: 0\r\n");
        refused(&response, 405, "method_not_allowed", "", &what);
        assert_eq!(response.header("allow"), Some(allow), "{what}");
        probe.assert_nothing(&what);
    }
    for (target, allow) in
        [("/events/t", TOPIC), ("/events", READ), ("/stats", READ), ("/", READ), ("*", TOPIC)]
    {
        let response = hub.request("OPTIONS", target, "");
        assert_eq!((response.status, response.header("allow")), (204, Some(allow)), "{target}");
        assert_eq!(response.header("access-control-allow-origin"), None, "{target}");
    }
    for (target, content_type) in [
        ("/healthz", "text/plain; charset=utf-8"),
        ("/stats", "application/json"),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8"),
        ("/", "text/html; charset=utf-8"),
    ] {
        let (full, head) = (hub.request("GET", target, ""), hub.request("HEAD", target, ""));
        assert_eq!((full.status, full.header("content-type")), (200, Some(content_type)), "{target}");
        assert_eq!((head.status, head.header("content-type")), (200, Some(content_type)), "HEAD {target}");
        assert!(!full.body.is_empty(), "{target}");
        assert_eq!(full.header("x-content-type-options"), Some("nosniff"), "{target}");
    }
    let policy = hub.request("GET", "/", "");
    assert!(
        policy.header("content-security-policy").is_some_and(|csp| csp.starts_with("default-src 'none'"))
    );
    let head = hub.request("HEAD", "/events/t", "");
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
    assert_eq!(hub.request("HEAD", "/nothing", "").status, 404);
}

#[test]
fn a_closed_topic_takes_nothing_and_sends_nobody_back() {
    let hub = Hub::start();
    let id = hub.publish("t", "last");
    let mut reader = hub.stream("/events/t");
    let closed = hub.request("DELETE", "/events/t", "");
    assert_eq!((closed.status, closed.json()), (200, serde_json::json!({"closed": true})));
    assert_eq!(reader.next_event(), None);
    assert_eq!(hub.request("DELETE", "/events/t", "").json(), serde_json::json!({"closed": false}));
    refused(&hub.post("/events/t", "", "x"), 409, "topic_closed", "", "publish");
    let batch = hub.post("/events/t", "Content-Type: application/x-ndjson\r\n", "{\"data\":\"x\"}");
    refused(&batch, 409, "topic_closed", "", "batch");
    assert_eq!(hub.published(), 1);
    assert_eq!(hub.request("GET", &format!("/events/t?last_event_id={id}"), "").status, 204);
    assert_eq!(hub.request("GET", "/events/t", "").status, 204);
    let (datas, clean) = hub.stream("/events/t?replay=all").end();
    assert_eq!((datas, clean), (vec!["last".to_owned()], true), "what is retained is still to be had");
    refused(&hub.request("DELETE", "/events/t?x=1", ""), 400, "unknown_parameter", "x", "DELETE");
    refused(&hub.request("DELETE", "/events/", ""), 400, "invalid_topic", "topic", "DELETE");
}

#[test]
fn a_raw_body_is_published_byte_for_byte() {
    let hub = Hub::start();
    let mut reader = hub.stream("/events/t");
    for (seq, (headers, body, data)) in [
        ("", "hello", "hello"),
        ("", "", ""),
        ("", "a\r\nb\rc\nd\n", "a\nb\nc\nd\n"),
        ("", "data: x\n\nid: forged", "data: x\n\nid: forged"),
        ("", "é €\u{1F600}\u{FEFF}", "é €\u{1F600}\u{FEFF}"),
        ("Content-Type: application/x-www-form-urlencoded\r\n", "a=1&b=%20+", "a=1&b=%20+"),
        ("Content-Type: application/json; charset=UTF-8\r\n", "{\"a\":1}", "{\"a\":1}"),
        ("Content-Type: text/plain\r\nContent-Encoding: identity\r\n", "x", "x"),
        ("Expect: 100-continue\r\n", "y", "y"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut conn = hub.connect();
        conn.send(post("/events/t", headers, body));
        let mut response = conn.response(false).expect("an answer");
        if response.status == 100 {
            response = conn.response(false).expect("the answer after 100");
        }
        let id = format!("{EPOCH}-{}", seq + 1);
        assert_eq!((response.status, response.json()), (200, serde_json::json!({ "id": id })), "{body:?}");
        let event = reader.event();
        assert_eq!((event.event.as_str(), event.data.as_str(), event.last_event_id), ("message", data, id));
    }
}

#[test]
fn every_parameter_of_a_publish_arrives() {
    let hub = Hub::start();
    let mut reader = hub.stream("/events/t?client=me");
    let target = "/events/t?event=a%20b+c&id=My.Own_~-1&retry=0015&except=&key=k&";
    assert_eq!(hub.post(target, "", "one").json(), serde_json::json!({ "id": "My.Own_~-1" }));
    assert_eq!(hub.post("/events/t?except=me", "", "not for me").status, 200);
    assert_eq!(hub.post("/events/t?except=you&event=&id=&retry=&key=", "", "two").status, 200);
    let mut retries = Vec::new();
    let one = loop {
        match reader.item().expect("more") {
            Item::Event(event) => break event,
            Item::Retry(ms) => retries.push(ms),
            _ => {}
        }
    };
    assert_eq!(retries.last(), Some(&15), "{retries:?}");
    assert_eq!(
        (one.event.as_str(), one.data.as_str(), one.last_event_id.as_str()),
        ("a b c", "one", "My.Own_~-1")
    );
    let two = reader.event();
    assert_eq!(
        (two.event.as_str(), two.data.as_str(), two.last_event_id.as_str()),
        ("message", "two", "test-3")
    );
    let resumed = hub.stream_with("/events/t", "Last-Event-ID: My.Own_~-1\r\n").datas(2);
    assert_eq!(resumed, ["not for me", "two"], "a publisher's id can be resumed after");
}

#[test]
fn a_batch_keeps_its_order() {
    let hub = Hub::start();
    let mut reader = hub.stream("/events/t?client=me");
    let body = "{\"data\":\"1\",\"event\":\"e\",\"id\":\"own\",\"retry\":7,\"except\":\"you\",\"key\":\"k\"}\r\n\n \
                {\"data\":\"2\\n\\u00e9\",\"id\":null}\n{\"except\":\"me\",\"data\":\"3\"}\n{\"data\":\"4\"}";
    let response = hub.post("/events/t", "Content-Type: application/x-ndjson; charset=utf-8\r\n", body);
    assert_eq!(response.json(), serde_json::json!({ "ids": ["own", "test-2", "test-3", "test-4"] }));
    assert_eq!(reader.datas(3), ["1", "2\né", "4"]);
    assert_eq!(hub.published(), 4);
}

#[test]
fn topics_are_decoded_bytes() {
    let hub = Hub::start();
    let longest = "%C3%A9".repeat(127) + "a";
    let longest_name = "é".repeat(127) + "a";
    for (path, name) in [
        ("a/b/../c", "a/b/../c"),
        ("a+b", "a+b"),
        ("a%2Fb%3F%23%20", "a/b?# "),
        ("%C3%A9", "é"),
        ("e%CC%81", "e\u{301}"),
        ("%25", "%"),
        ("A", "A"),
        ("/", "/"),
        ("a;b=c,d", "a;b=c,d"),
        (&longest, &longest_name),
    ] {
        let mut by_path = hub.stream(&format!("/events/{path}"));
        let query = if path.contains('+') { path.replace('+', "%2B") } else { path.to_owned() };
        let mut by_query = hub.stream(&format!("/events?topic={query}"));
        hub.publish(name, name);
        assert_eq!(hub.post(&format!("/events/{path}"), "", "posted").status, 200, "{path}");
        assert_eq!(by_path.datas(2), [name, "posted"], "{path}");
        assert_eq!(by_query.datas(2), [name, "posted"], "{path}");
    }
    let mut spaced = hub.stream("/events?topic=a+b");
    hub.publish("a b", "space");
    assert_eq!(spaced.event().data, "space", "`+` is a space in a query");
}

#[test]
fn a_reader_chooses_where_to_begin_and_what_to_read() {
    let id = |n: usize| format!("{EPOCH}-{}", n + 1);
    let fill = || {
        let hub = Hub::start();
        for n in 0..6 {
            assert_eq!(hub.publish(["a", "b"][n % 2], &n.to_string()), id(n));
        }
        let typed = Draft::new("a", "typed").with_event("e");
        hub.engine.publish(typed, hub.clock.now()).expect("published");
        hub
    };
    for (query, end, expected) in [
        ("topic=a&replay=all".to_owned(), "e", &["0", "2", "4", "typed"][..]),
        ("topic=a&topic=b&topic=a&replay=all".into(), "e", &["0", "1", "2", "3", "4", "5", "typed"]),
        ("topic=a&topic=b&replay=3".into(), "e", &["4", "5", "typed"]),
        ("topic=a&replay=0".into(), "e", &[]),
        ("topic=a&replay=none".into(), "e", &[]),
        ("topic=a&replay=&lag=&client=&event=&last_event_id=".into(), "e", &[]),
        (format!("topic=a&last_event_id={}", id(1)), "e", &["2", "4", "typed"]),
        (format!("topic=a&replay=all&last_event_id={}", id(4)), "e", &["typed"]),
        (format!("topic=a&evs_last_event_id={}&last_event_id={}", id(4), id(0)), "e", &["typed"]),
        (format!("topic=a&topic=b&lastEventId={}", id(3)), "e", &["4", "5", "typed"]),
        ("topic=a&replay=all&event=e".into(), "e", &["typed"]),
        ("topic=a&replay=all&event=e&event=message".into(), "e", &["0", "2", "4", "typed"]),
        ("topic=a&replay=all&event=message&lag=skip".into(), "", &["0", "2", "4"]),
        ("topic=a&replay=all&event=other&lag=conflate".into(), "other", &[]),
    ] {
        let hub = fill();
        let mut reader = hub.stream(&format!("/events?{query}"));
        // What is published next comes right behind, so nothing else came.
        let last = Draft {
            event: Some(end.into()).filter(|end: &std::borrow::Cow<'_, str>| !end.is_empty()),
            ..Draft::new("a", "end")
        };
        hub.engine.publish(last, hub.clock.now()).expect("published");
        let expected = [expected, &["end"]].concat();
        assert_eq!(reader.datas(expected.len()), expected, "{query}");
    }
    let hub = fill();
    let mut by_header = hub
        .stream_with(&format!("/events/a?last_event_id={}", id(0)), &format!("Last-Event-ID: {}\r\n", id(2)));
    assert_eq!(by_header.event().data, "4", "the header goes before the query");
    for (unknown, requested) in [("nobody", "nobody"), ("other-3", "other-3"), ("test-99", "test-99")] {
        let mut reader = hub.stream(&format!("/events/a?last_event_id={unknown}"));
        let gap = reader.event();
        let told: serde_json::Value = serde_json::from_str(&gap.data).expect("JSON");
        assert_eq!(gap.event, "fanfare.gap", "{unknown}");
        assert_eq!(told, serde_json::json!({ "requested": requested, "oldest": id(0), "newest": id(6) }));
        assert_eq!(reader.datas(4), ["0", "2", "4", "typed"], "{unknown}");
    }
}
