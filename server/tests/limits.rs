//! Every limit just below, at and just above its value: what is refused says so with the limit, and changes nothing.

mod support;

use std::time::Duration;

use fanfare_engine::wire::parse::Item;
use support::{Conn, Hub, Probe, Response, Stream, post, wait_until};

const NDJSON: &str = "Content-Type: application/x-ndjson\r\n";

#[track_caller]
fn refused(response: &Response, status: u16, code: &str, limit: impl Into<serde_json::Value>) {
    let got = (response.status, response.code(), response.error("limit"));
    assert_eq!(got, (status, code.to_owned(), limit.into()), "{response:?}");
}

fn none() -> serde_json::Value {
    serde_json::Value::Null
}

fn get(target: &str, headers: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").into_bytes()
}

#[track_caller]
fn check(hub: &Hub, probe: &mut Probe<'_>, raw: &[u8], status: u16, code: &str, field: &str) {
    let what = support::shown(raw);
    let response = hub.ask(raw);
    let got = (response.status, response.code(), response.error("field").as_str().unwrap_or("").to_owned());
    assert_eq!(got, (status, code.to_owned(), field.to_owned()), "{what}");
    probe.assert_nothing(&what);
}

#[test]
fn what_is_too_large_is_told() {
    let hub = Hub::with(|engine, config| {
        engine.limits.event_bytes = 100;
        config.max_body_bytes = 1_000;
    });
    let mut probe = hub.probe("t");
    check(&hub, &mut probe, &post("/events/t", "", "x".repeat(101)), 413, "too_large", "data");
    check(&hub, &mut probe, &post("/events/t", "", "x".repeat(1_001)), 413, "too_large", "body");
    let target = format!("/events/t?client={}", "a".repeat(8_200));
    check(&hub, &mut probe, &get(&target, ""), 414, "uri_too_long", "");
    let target = format!("/events/t?client={}", "a".repeat(20_000));
    check(&hub, &mut probe, &get(&target, ""), 414, "uri_too_long", "");
    let headers = format!("X: {}\r\n", "a".repeat(20_000));
    check(&hub, &mut probe, &get("/events/t", &headers), 431, "header_too_large", "");
    check(&hub, &mut probe, &post("/events/t", &headers, "x"), 431, "header_too_large", "");
    check(&hub, &mut probe, &get("/events/t", &"X: y\r\n".repeat(150)), 431, "header_too_large", "");
}

#[test]
fn the_data_of_an_event() {
    let hub = Hub::with(|engine, _| engine.limits.event_bytes = 1_000);
    let mut probe = hub.probe("refused");
    for n in [1_001, 1_002, 5_000] {
        let response = hub.post("/events/t", "", "x".repeat(n));
        refused(&response, 413, "too_large", 1_000);
        assert!(response.error("message").to_string().contains("1000"), "{response:?}");
        let line = format!("{{\"data\":\"ok\"}}\n{{\"data\":\"{}\"}}", "x".repeat(n));
        refused(&hub.post("/events/t", NDJSON, line), 413, "too_large", 1_000);
        probe.assert_nothing("a large event");
    }
    let mut reader = hub.stream("/events/t");
    for n in [0, 1, 999, 1_000] {
        // Line ends count as they are sent.
        assert_eq!(hub.post("/events/t", "", "\n".repeat(n)).status, 200, "{n}");
        assert_eq!(reader.event().data.len(), n);
    }
    assert_eq!(hub.stat("/events/refused"), 9, "three and three batches of two");
}

#[test]
fn the_bytes_of_a_body() {
    let hub = Hub::with(|_, config| config.max_body_bytes = 100_000);
    let mut probe = hub.probe("refused");
    let chunked = |n: usize| {
        let head = "POST /events/t HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
        format!("{head}{n:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(n)).into_bytes()
    };
    for n in [100_001, 100_002, 300_000] {
        let response = hub.post("/events/t", "", "x".repeat(n));
        refused(&response, 413, "too_large", 100_000);
        assert!(response.closes(), "nobody reads the rest");
        let response = hub.ask(chunked(n));
        refused(&response, 413, "too_large", 100_000);
        probe.assert_nothing("a large body");
    }
    // A length that cannot be is refused before the body comes.
    let mut conn = hub.connect();
    conn.send("POST /events/t HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9223372036854775807\r\n\r\n");
    refused(&conn.response(false).expect("a refusal"), 413, "too_large", 100_000);
    let mut reader = hub.stream("/events/t");
    for n in [99_999, 100_000] {
        assert_eq!(hub.post("/events/t", "", "x".repeat(n)).status, 200, "{n}");
        assert_eq!(hub.ask(chunked(n)).status, 200, "{n} in chunks");
        assert_eq!([reader.event().data.len(), reader.event().data.len()], [n, n]);
    }
}

#[test]
fn the_bytes_of_a_header() {
    let hub = Hub::with(|_, config| config.max_header_bytes = 9_000);
    let of_size = |n: usize| {
        let empty = get("/events/t?nope=1", "X: \r\n").len();
        get("/events/t?nope=1", &format!("X: {}\r\n", "a".repeat(n - empty)))
    };
    for (n, status) in
        [(8_000, 400), (8_999, 400), (9_000, 400), (9_002, 431), (9_500, 431), (70_000, 431), (500_000, 431)]
    {
        let raw = of_size(n);
        assert_eq!(raw.len(), n);
        assert_eq!(hub.ask(&raw).status, status, "{n} bytes");
    }
    for (n, status) in [(8_191, 400), (8_192, 400), (8_193, 414), (8_500, 414)] {
        let target = format!("/events/t?{}", "n".repeat(n - "/events/t?".len()));
        assert_eq!(hub.ask(get(&target, "")).status, status, "a target of {n} bytes");
    }
    let lines = |n: usize| get("/events/t?nope=1", &"X: y\r\n".repeat(n));
    assert_eq!(hub.ask(lines(99)).status, 400, "with Host 100 header lines");
    assert_eq!(hub.ask(lines(100)).status, 431);
    assert_eq!(hub.published(), 0);
}

#[test]
fn topics_at_once() {
    let hub = Hub::with(|engine, _| engine.limits.topics = 3);
    let mut readers: Vec<Stream> = Vec::new();
    readers.push(hub.stream("/events/1"));
    assert_eq!(hub.post("/events/2", "", "x").status, 200);
    readers.push(hub.stream("/events/3"));
    let refusal = hub.post("/events/4", "", "x");
    refused(&refusal, 503, "limit_topics", 3);
    assert!(refusal.header("retry-after").is_some());
    refused(&hub.request("GET", "/events/4", ""), 503, "limit_topics", 3);
    refused(&hub.post("/events/4", NDJSON, "{\"data\":\"x\"}"), 503, "limit_topics", 3);
    refused(&hub.request("GET", "/events?topic=1&topic=4", ""), 503, "limit_topics", 3);
    let stats = hub.engine.stats();
    assert_eq!((stats.topics, stats.published), (3, 1));
    assert_eq!(hub.stat("/streams/open"), 2);
    // An EventSource would never come back from a 503.
    let ended = hub.stream_with("/events/4", "Accept: text/event-stream\r\n");
    assert_eq!(ended.end(), (vec![], true));
    assert_eq!(hub.post("/events/1", "", "x").status, 200);
    assert_eq!(readers[0].event().data, "x");
}

#[test]
fn topics_of_one_stream() {
    let hub = Hub::with(|engine, _| engine.limits.topics_per_stream = 5);
    let target = |n: usize| {
        let topics: Vec<String> = (0..n).map(|n| format!("topic=t{n}")).collect();
        format!("/events?{}", topics.join("&"))
    };
    for n in [6, 7, 60] {
        refused(&hub.request("GET", &target(n), ""), 400, "invalid_topic", 5);
        assert_eq!(hub.request("HEAD", &target(n), "").status, 400);
    }
    refused(&hub.request("GET", &target(5).replace("/events?", "/events/u?"), ""), 400, "invalid_topic", 5);
    assert_eq!(hub.engine.stats().topics, 0);
    for n in [4, 5] {
        let mut reader = hub.stream(&format!("{}&topic=t0", target(n)));
        hub.publish(&format!("t{}", n - 1), "last");
        assert_eq!(reader.event().data, "last", "{n}");
    }
}

#[test]
fn lengths_of_names() {
    let hub = Hub::start();
    let mut probe = hub.probe("refused");
    let of = |n: usize| "n".repeat(n);
    for (name, max, code) in [
        ("event", 255, "invalid_event"),
        ("id", 128, "invalid_id"),
        ("except", 128, "invalid_client"),
        ("key", 255, "invalid_key"),
    ] {
        for n in [max + 1, max + 2, 4 * max] {
            refused(&hub.post(&format!("/events/t?{name}={}", of(n)), "", "x"), 400, code, none());
            let line = format!("{{\"data\":\"x\",\"{name}\":\"{}\"}}", of(n));
            refused(&hub.post("/events/t", NDJSON, line), 400, code, none());
            probe.assert_nothing(name);
        }
    }
    for n in [256, 257, 1_000] {
        refused(&hub.post(&format!("/events/{}", of(n)), "", "x"), 400, "invalid_topic", none());
        refused(&hub.request("GET", &format!("/events/t?event={}", of(n)), ""), 400, "invalid_event", none());
        refused(&hub.request("GET", &format!("/events/{}", of(n)), ""), 400, "invalid_topic", none());
        probe.assert_nothing("a topic");
    }
    for n in [129, 130, 1_000] {
        refused(
            &hub.request("GET", &format!("/events/t?client={}", of(n)), ""),
            400,
            "invalid_client",
            none(),
        );
    }
    for back in [0, 1] {
        let topic = of(255 - back);
        let target = format!("/events/{topic}?event={}&client={}", of(255 - back), of(128 - back));
        let mut reader = hub.stream(&target);
        let (event, id) = (of(255 - back), of(128 - back));
        let sent = format!("/events/{topic}?event={event}&id={id}&except=x{}&key={event}", of(127 - back));
        assert_eq!(hub.post(&sent, "", "x").json(), serde_json::json!({ "id": id }));
        let got = reader.event();
        assert_eq!((got.event, got.last_event_id), (event, id));
    }
}

/// Whether connections beyond a limit are told so, each kind of client in its way, and served again when there is room.
fn connections_are_limited(hub: &Hub, limit: u64) {
    let mut open: Vec<Stream> = (0..limit).map(|_| hub.stream("/events/t")).collect();
    for accept in ["", "Accept: */*\r\n", "Accept: application/json\r\n"] {
        let refusal = hub.request("GET", "/events/t", accept);
        refused(&refusal, 503, "limit_connections", limit);
        assert!(
            refusal.header("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok()),
            "{refusal:?}"
        );
        assert!(refusal.closes());
    }
    refused(&hub.post("/events/t", "", "x"), 503, "limit_connections", limit);
    refused(&hub.request("GET", "/stats", ""), 503, "limit_connections", limit);
    // Only the first request of a refused connection is answered.
    let mut conn = hub.connect();
    conn.send([post("/events/t", "", "x"), post("/events/t", "", "x")].concat());
    refused(&conn.response(false).expect("a refusal"), 503, "limit_connections", limit);
    assert!(conn.response(false).is_none());
    let mut told = hub.stream_with("/events/t", "Accept: text/event-stream\r\nCache-Control: no-cache\r\n");
    assert_eq!(told.item(), Some(Item::Comment(String::new())));
    assert!(matches!(told.item(), Some(Item::Retry(ms)) if ms >= 5_000), "a crowd comes back later, spread");
    assert_eq!(told.end(), (vec![], true));
    assert_eq!(hub.published(), 0);
    // Nobody who was in has been thrown out.
    hub.publish("t", "all here");
    for reader in &mut open {
        assert_eq!(reader.event().data, "all here");
    }
    drop(open.pop());
    wait_until("there is room again", || {
        let stats = hub.request("GET", "/stats", "");
        stats.status == 200 && {
            let stats = stats.json();
            assert!(stats["connections"]["refused"].as_u64() >= Some(7), "{stats}");
            stats["streams"]["open"] == limit - 1
        }
    });
    wait_until("served again", || {
        let mut conn = hub.connect();
        conn.send("GET /events/t HTTP/1.1\r\nHost: localhost\r\n\r\n");
        conn.head().is_some_and(|head| head.status == 200)
    });
}

#[test]
fn connections_in_all() {
    connections_are_limited(&Hub::with(|_, config| config.max_connections = 4), 4);
}

#[test]
fn connections_of_one_address() {
    let hub = Hub::with(|_, config| {
        config.max_connections_per_address = 4;
        config.listen.push(([127, 0, 0, 2], 0).into());
    });
    connections_are_limited(&hub, 4);
}

#[test]
fn silent_connections_beyond_the_limit_are_bounded_too() {
    let hub = Hub::with(|_, config| {
        config.max_connections = 2;
        config.request_timeout = Duration::from_millis(500);
        config.idle_timeout = Duration::from_millis(500);
    });
    let silent: Vec<Conn> = (0..200).map(|_| hub.connect()).collect();
    for mut conn in silent {
        assert_eq!(conn.rest(), b"", "closed without a word");
    }
    assert_eq!(hub.request("GET", "/healthz", "").status, 200);
}

#[test]
fn the_rate_of_publishing() {
    let hub = Hub::with(|_, config| config.publish_rate = 5);
    let mut probe_base = 0;
    // More than a second's worth at once: some is refused, whatever the machine's speed.
    let statuses: Vec<Response> = (0..200).map(|_| hub.post("/events/t", "", "x")).collect();
    for response in &statuses {
        match response.status {
            200 => probe_base += 1,
            _ => {
                refused(response, 429, "rate_limited", 5);
                assert!(
                    response.header("retry-after").is_some_and(|s| s.parse::<u32>().is_ok_and(|s| s >= 1))
                );
                assert!(response.error("message").to_string().contains("limits.publish_rate"));
            }
        }
    }
    assert!(statuses[..5].iter().all(|response| response.status == 200), "a second's worth is free");
    assert!((5..150).contains(&probe_base), "{probe_base} of 200");
    assert_eq!(hub.published(), probe_base, "what was refused was not published");
    // Reading is not limited.
    assert_eq!(hub.stream("/events/t?replay=1").event().data, "x");
    wait_until("tokens come back", || hub.post("/events/t", "", "x").status == 200);
    wait_until("a batch waits for a full bucket", || {
        hub.post("/events/t", NDJSON, "{\"data\":\"1\"}\n{\"data\":\"2\"}\n".repeat(5)).status == 200
    });
    assert_eq!(hub.published(), probe_base + 11);
    let in_debt = hub.post("/events/t", "", "x");
    assert_eq!(in_debt.status, 429, "ten events at five a second are paid for afterwards");
}
