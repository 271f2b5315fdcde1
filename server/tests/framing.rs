//! Request smuggling and framing: whatever the bytes, no second request hides behind the first.
//!
//! Every row is a request that two HTTP implementations could read differently, with a POST to the topic "smuggled" at its end or in
//! what one of them would take for its body. The answer is a 4xx or the end of the connection, "smuggled" never gets an event, and
//! a reader on a connection of its own stays whole.

mod support;

use std::io::Write;
use std::net::Shutdown;
use std::time::Duration;

use support::{Conn, Hub, post, shown};

const SMUGGLED: &str = "POST /events/smuggled HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx";

/// All answers on a connection that sends `raw` and nothing after it.
fn answers(hub: &Hub, raw: &[u8]) -> Vec<u16> {
    let mut conn = hub.connect();
    conn.send(raw);
    // The end of what we send lets the server give up on a request that lacks bytes.
    let _ = conn.io.shutdown(Shutdown::Write);
    statuses(&mut conn)
}

fn statuses(conn: &mut Conn) -> Vec<u16> {
    let text = String::from_utf8_lossy(&conn.rest()).into_owned();
    let lines = text.match_indices("HTTP/1.1 ");
    lines.filter_map(|(at, _)| text.get(at + 9..at + 12)?.parse().ok()).collect()
}

/// A POST to /events/t with these header lines (CRLF included), then `body`.
fn framed(headers: &str, body: &str) -> Vec<u8> {
    format!("POST /events/t HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n{body}").into_bytes()
}

/// A chunked POST with this body.
fn chunked(body: &str) -> Vec<u8> {
    framed("Transfer-Encoding: chunked\r\n", body)
}

/// Requests whose length is in doubt, or whose body is malformed.
fn lengths() -> Vec<Vec<u8>> {
    let mut rows = Vec::new();
    // One reader ends the body at the last chunk, another by the length.
    let both = format!("0\r\n\r\n{SMUGGLED}");
    for headers in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 200\r\nTransfer-Encoding: chunked\r\n",
        "CONTENT-LENGTH: 0\r\ntransfer-encoding: CHUNKED\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: identity\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunkedx\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: \r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding\t: chunked\r\n",
        " Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "X: y\r\n Transfer-Encoding: chunked\r\n",
        "X: y\r\n\tContent-Length: 5\r\n",
        "Transfer\u{0}-Encoding: chunked\r\n",
        "Transfer-Encoding: chun\u{0}ked\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 6\r\nContent-Length: 5\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5.0\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: 5x\r\n",
        "Content-Length: \r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length: 99999999999999999999999999\r\n",
        "Content-Length : 5\r\n",
        "Content-Length\r\n",
        ": 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\u{0}\r\n",
        "X: a\rb\r\nContent-Length: 5\r\n",
        "X: a\u{0}b\r\nContent-Length: 5\r\n",
        "X\u{7f}: a\r\nContent-Length: 5\r\n",
        "X Y: a\r\nContent-Length: 5\r\n",
        "X(: a\r\nContent-Length: 5\r\n",
    ] {
        rows.push(framed(headers, &both));
    }
    for body in [
        // No size, no hexadecimal, too much of it.
        "\r\n\r\n",
        "x\r\nabc\r\n0\r\n\r\n",
        "-1\r\na\r\n0\r\n\r\n",
        "+1\r\na\r\n0\r\n\r\n",
        "0x1\r\na\r\n0\r\n\r\n",
        "1 1\r\na\r\n0\r\n\r\n",
        "10000000000000000\r\na\r\n0\r\n\r\n",
        "fffffffffffffffff\r\na\r\n0\r\n\r\n",
        "ffffffffffffffff\r\na\r\n0\r\n\r\n",
        // A size that is not that of the data.
        "1\r\nab\r\n0\r\n\r\n",
        "2\r\na\r\n0\r\n\r\n",
        "1\r\na0\r\n\r\n",
        "1\r\na\n0\n\n",
        "1\ra\r0\r\r",
        "1\na\n0\n\n",
        "1\r\na\r\n0\r\nX: y\rz\r\n\r\n",
    ] {
        rows.push(chunked(&format!("{body}{SMUGGLED}")));
    }
    // Extensions and trailers without end.
    rows.push(chunked(&format!("1;{}\r\na\r\n0\r\n\r\n{SMUGGLED}", "e".repeat(100_000))));
    rows.push(chunked(&format!("{}\r\n0\r\n\r\n{SMUGGLED}", "1;e=f\r\na\r\n".repeat(20_000))));
    rows.push(chunked(&format!("0\r\n{}\r\n{SMUGGLED}", "T: v\r\n".repeat(20_000))));
    rows.push(chunked(&format!("0\r\nT: {}\r\n\r\n{SMUGGLED}", "v".repeat(100_000))));
    rows.push(
        format!("POST /events/t HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}")
            .into_bytes(),
    );
    let old = "POST /events/t HTTP/1.0\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n0\r\n\r\n";
    rows.push(format!("{old}{SMUGGLED}").into_bytes());
    rows
}

/// Requests that begin wrongly, and requests for a stream that hide another.
fn beginnings() -> Vec<Vec<u8>> {
    let mut rows: Vec<Vec<u8>> = [
        "GET /events/t\r\n\r\n",
        "GET /events/t\r\nHost: localhost\r\n\r\n",
        "GET  /events/t HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /events/t  HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /events/t HTTP/1.1 \r\nHost: localhost\r\n\r\n",
        "GET /events/t x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET\t/events/t\tHTTP/1.1\r\nHost: localhost\r\n\r\n",
        " GET /events/t HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /events/t HTTP/0.9\r\nHost: localhost\r\n\r\n",
        "GET /events/t HTTP/1.2\r\nHost: localhost\r\n\r\n",
        "GET /events/t HTTP/2.0\r\nHost: localhost\r\n\r\n",
        "GET /events/t HTTP/1.1.1\r\nHost: localhost\r\n\r\n",
        "GET /events/t HTTP/11\r\nHost: localhost\r\n\r\n",
        "GET /events/t http/1.1\r\nHost: localhost\r\n\r\n",
        "GET /events/t HTTPS/1.1\r\nHost: localhost\r\n\r\n",
        "GET /events/t\u{1} HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /events/t\u{0} HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /events/t\u{7f} HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET events/t HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET ://x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\n\r\n",
        "G@T /events/t HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /events/t HTTP/1.1\rHost: localhost\r\r",
        "GET /events/t HTTP/1.1\r\nHost: localhost\r\nX\r\n\r\n",
        "GET /events/t HTTP/1.1\r\n Host: localhost\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        "PRI * HTTP/1.1\r\n\r\nSM\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}",
        "\u{0}\u{0}\u{0}\u{0}",
        "GET /events/t HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        "GET /events/t HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /events/t HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        "HEAD /events/t?x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "DELETE /events/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "OPTIONS /events/t HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n0\r\n\r\n",
    ]
    .iter()
    .map(|row| format!("{row}{SMUGGLED}").into_bytes())
    .collect();
    rows.push([b"GET /events/\xff HTTP/1.1\r\nHost: local\xffhost\r\n\r\n", SMUGGLED.as_bytes()].concat());
    rows
}

#[test]
fn nothing_is_smuggled() {
    let hub = Hub::start();
    let mut good = hub.stream("/events/good");
    let mut smuggled = hub.stream("/events/smuggled");
    let rows = [lengths(), beginnings()].concat();
    assert!(rows.len() >= 60, "{}", rows.len());
    let mut wrong = Vec::new();
    for (n, raw) in rows.iter().enumerate() {
        let statuses = answers(&hub, raw);
        if statuses.len() > 1 || !statuses.iter().all(|status| (400..500).contains(status)) {
            wrong.push(format!("{statuses:?} to {}", shown(raw)));
        }
        hub.publish("good", &n.to_string());
        assert_eq!(good.event().data, n.to_string(), "the reader next to {}", shown(raw));
    }
    assert_eq!(wrong, [""; 0], "more than one answer, or not a 4xx");
    assert_eq!(hub.published(), rows.len() as u64, "only what was published from inside");
    hub.publish("smuggled", "marker");
    assert_eq!(smuggled.event().data, "marker");
}

#[test]
fn the_same_in_small_pieces() {
    let hub = Hub::start();
    // Byte by byte nothing is read ahead, so no buffer hides what a parser would leave behind.
    for raw in [lengths(), beginnings()].concat().iter().filter(|raw| raw.len() < 400).step_by(4) {
        let mut conn = hub.connect();
        for byte in raw {
            if conn.io.write_all(&[*byte]).is_err() {
                break;
            }
        }
        let _ = conn.io.shutdown(Shutdown::Write);
        let statuses = statuses(&mut conn);
        assert!(
            statuses.len() <= 1 && statuses.iter().all(|s| (400..500).contains(s)),
            "{statuses:?} {}",
            shown(raw)
        );
    }
    assert_eq!(hub.published(), 0);
}

#[test]
fn bytes_behind_a_stream_request_are_discarded() {
    let hub = Hub::start();
    for (n, behind) in
        [SMUGGLED.to_owned(), SMUGGLED.repeat(50), "garbage\r\n\r\n".to_owned(), "\r\n".repeat(9)]
            .iter()
            .enumerate()
    {
        for version in ["1.1", "1.0"] {
            let mut conn = hub.connect();
            conn.send(format!("GET /events/t HTTP/{version}\r\nHost: localhost\r\n\r\n{behind}"));
            let mut stream = conn.into_stream();
            hub.publish("t", "in between");
            assert_eq!(stream.event().data, "in between", "{version} {n}");
            stream.conn.send(behind);
            hub.publish("t", "later");
            assert_eq!(stream.event().data, "later", "{version} {n}");
        }
    }
    // The answer to a stream is the last on its connection, so the request behind it is never read.
    let mut conn = hub.connect();
    conn.send(format!("GET /events/end HTTP/1.1\r\nHost: localhost\r\n\r\n{SMUGGLED}"));
    let stream = conn.into_stream();
    hub.close("end");
    assert_eq!(stream.end(), (vec![], true));
    assert!(hub.engine.topic_stats(100).iter().all(|topic| topic.name != "smuggled"));
    assert_eq!(hub.published(), 16);
}

#[test]
fn a_stream_may_be_the_last_of_a_pipeline() {
    let hub = Hub::start();
    let mut conn = hub.connect();
    let posts = (0..20).flat_map(|n| post("/events/t", "", n.to_string()));
    let stream = b"GET /events/t?replay=all HTTP/1.1\r\nHost: localhost\r\n\r\n";
    conn.send(posts.chain(*stream).chain(SMUGGLED.bytes()).collect::<Vec<u8>>());
    for n in 1..=20 {
        let response = conn.response(false).expect("an answer");
        assert_eq!((response.status, response.json()["id"].as_str()), (200, Some(&*format!("test-{n}"))));
    }
    let expected: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    assert_eq!(conn.into_stream().datas(20), expected);
    assert_eq!(hub.published(), 20);
}

#[test]
fn odd_but_valid_framing_works_and_does_not_spill() {
    let hub = Hub::start();
    let mut reader = hub.stream("/events/t");
    for (raw, data) in [
        (chunked("5\r\nhello\r\n0\r\n\r\n"), "hello"),
        (chunked("005;a=b;c=\"d\"\r\nhello\r\n000\r\nTrailer: x\r\n\r\n"), "hello"),
        (chunked("1\r\nA\r\n1\r\nB\r\n0\r\nContent-Length: 100\r\nTransfer-Encoding: x\r\n\r\n"), "AB"),
        (chunked("A\r\n0\r\n\r\nPOST \r\n0\r\n\r\n"), "0\n\nPOST "),
        (framed("Transfer-Encoding:   CHUNKED  \r\n", "1\r\nx\r\n0\r\n\r\n"), "x"),
        (framed("Content-Length:\t5  \r\n", "hello"), "hello"),
        (framed("Content-Length: 005\r\n", "hello"), "hello"),
        (framed("Connection: Content-Length\r\nContent-Length: 5\r\n", "hello"), "hello"),
        (framed(&format!("Content-Length: {}\r\n", SMUGGLED.len()), SMUGGLED), ""),
    ] {
        let statuses = answers(&hub, &raw);
        assert_eq!(statuses, [200], "{}", shown(&raw));
        let got = reader.event().data;
        assert_eq!(got, if data.is_empty() { SMUGGLED.replace('\r', "") } else { data.to_owned() });
    }
    // A chunked request is the last of its connection: what follows is not served.
    let raw = [chunked("1\r\nx\r\n0\r\n\r\n"), SMUGGLED.as_bytes().to_vec()].concat();
    assert_eq!(answers(&hub, &raw), [200]);
    assert_eq!(reader.event().data, "x");
    assert_eq!(hub.published(), 10);
}

#[test]
fn a_body_that_ends_early_is_nothing() {
    let hub = Hub::with(|_, config| config.body_timeout = Duration::from_millis(300));
    for raw in [
        framed("Content-Length: 5\r\n", "hell"),
        framed("Content-Length: 5\r\n", ""),
        chunked("5\r\nhell"),
        chunked("5\r\nhello\r\n"),
        chunked("5\r\nhello\r\n0\r\n"),
        chunked(""),
    ] {
        let statuses = answers(&hub, &raw);
        assert!(statuses.iter().all(|status| (400..500).contains(status)), "{statuses:?} {}", shown(&raw));
        // Without the end of the connection, the time limit ends it.
        let mut conn = hub.connect();
        conn.send(&raw);
        assert!(conn.response(false).is_none_or(|response| response.status == 408), "{}", shown(&raw));
    }
    assert_eq!(hub.published(), 0);
}
