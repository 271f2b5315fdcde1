//! Ten thousand damaged requests on connections that stay open: each is answered with 200, 204 or a 4xx, nothing panics, and the
//! server serves as before.
//!
//! The mutations follow from one seed, which a failure prints; `FANFARE_TEST_SEED` sets another.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};

use support::{Conn, Hub, Response, shown};

const REQUESTS: usize = 10_000;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("below the bound")
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

/// What mutations are made of: pieces with a meaning, and pieces that break one.
const PIECES: &[&str] = &[
    "",
    "%",
    "%0",
    "%00",
    "%0A",
    "%0D%0A",
    "%FF",
    "%C3%A9",
    "%E2%82",
    "%F0%9F%98%80",
    "%ED%A0%80",
    "%25",
    "+",
    "&",
    "=",
    "&&",
    "==",
    "?",
    "#",
    "/",
    "//",
    "..",
    ";",
    ",",
    ":",
    "test-1",
    "test-0",
    "test-99999999999999999999",
    "test-18446744073709551615",
    "test--1",
    "test-",
    "-1",
    "0",
    "1",
    "99999999999",
    "1e9",
    "all",
    "none",
    "skip",
    "topic",
    "event",
    "message",
    "fanfare.gap",
    "last_event_id",
    "client",
    "replay",
    "lag",
    "id",
    "retry",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];

/// Pieces that only header values may hold.
const RAW: &[&str] =
    &["\u{e9}", "\t", " ", "\"", "\\", "*", "\u{1}", "\u{7f}", "[", "]", "@", ";q=0", ";q=nan", "\u{feff}"];

/// Changes `text` in up to four places.
fn mutate(random: &mut Random, text: &str, header: bool) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..=random.below(4) {
        let at = random.below(chars.len() + 1);
        match random.below(5) {
            0 if at < chars.len() => drop(chars.remove(at)),
            1 if at < chars.len() => chars.truncate(at),
            2 => {
                let again: Vec<char> = chars[..at].to_vec();
                chars.splice(at..at, again);
                chars.truncate(2_000);
            }
            3 if header => drop(chars.splice(at..at, random.pick(RAW).chars()).count()),
            _ => drop(chars.splice(at..at, random.pick(PIECES).chars()).count()),
        }
    }
    chars.into_iter().collect()
}

/// A request of which one part is damaged. Never a framing header: those are the subject of other tests.
fn request(random: &mut Random) -> Vec<u8> {
    let topics = ["t", "a/b", "%C3%A9", "closed", "a+b"];
    let queries = [
        "",
        "topic=t&topic=u",
        "last_event_id=test-3",
        "lastEventId=own-2&replay=all",
        "replay=2&lag=skip&event=message",
        "client=me&event=a&event=b",
    ];
    let publishes = ["", "id=own-7&event=e", "retry=5&key=k", "except=me"];
    let headers = [
        ("Last-Event-ID", "test-3"),
        ("Last-Event-ID", "own-2"),
        ("Accept", "text/event-stream, */*;q=0.5"),
        ("Origin", "http://localhost:3000"),
        ("Host", "localhost:80"),
        ("Sec-Fetch-Site", "same-origin"),
        ("Content-Type", "application/x-ndjson; charset=utf-8"),
        ("Content-Encoding", "identity"),
        ("Cookie", "a=b"),
        ("If-None-Match", "W/\"1\", *"),
        ("Access-Control-Request-Method", "POST"),
    ];
    // HEAD goes through all of subscribing but the stream itself, so its connection stays open.
    let method = ["HEAD", "HEAD", "HEAD", "GET", "POST", "POST", "DELETE", "OPTIONS"][random.below(8)];
    let writes = method == "POST";
    let mut path = format!("/events/{}", random.pick(&topics));
    if random.below(4) == 0 {
        path = random.pick(&["/events", "/stats", "/metrics", "/healthz", "/"]).to_owned();
    }
    let mut query = if writes { random.pick(&publishes) } else { random.pick(&queries) }.to_owned();
    let (name, value) = headers[random.below(headers.len())];
    let mut value = value.to_owned();
    match random.below(3) {
        0 => path = format!("/{}", mutate(random, &path[1..], false)),
        1 => query = mutate(random, &query, false),
        _ => value = mutate(random, &value, true),
    }
    // DELETE closes topics for good: most of them are spared.
    let path =
        if method == "DELETE" && path.starts_with("/events/") { format!("{path}%2Fclosed") } else { path };
    let host = if name == "Host" { "" } else { "Host: localhost\r\n" };
    let body = if writes { random.pick(&["x", "", "{\"data\":\"x\"}", "{\"data\":"]) } else { "" };
    let length = if writes { format!("Content-Length: {}\r\n", body.len()) } else { String::new() };
    let question = if query.is_empty() { "" } else { "?" };
    format!("{method} {path}{question}{query} HTTP/1.1\r\n{host}{name}: {value}\r\n{length}\r\n{body}")
        .into_bytes()
}

/// Sends on `conn`, or on a new connection if the server has closed that one.
fn ask(hub: &Hub, conn: &mut Option<Conn>, raw: &[u8]) -> Response {
    let to_head = raw.starts_with(b"HEAD ");
    for _ in 0..2 {
        let open = conn.get_or_insert_with(|| hub.connect());
        open.send(raw);
        let Some(head) = open.head() else {
            *conn = None;
            continue;
        };
        if head.header("content-type") == Some("text/event-stream") && !to_head {
            // A stream was opened: that is its answer.
            *conn = None;
            return head;
        }
        let mut head = head;
        if !to_head && head.status != 204 && head.status != 304 {
            let length: usize = head.header("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
            while open.buf.len() < length {
                assert!(open.fill(), "an answer that ends early to {}", shown(raw));
            }
            head.body = open.buf.drain(..length).collect();
        }
        if head.closes() {
            *conn = None;
        }
        return head;
    }
    panic!("no answer, twice, to {}", shown(raw));
}

#[test]
fn damaged_requests_are_answered() {
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    let inherited = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        inherited(info);
    }));
    let seed =
        std::env::var("FANFARE_TEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(20_250_701);
    let hub = Hub::with(|_, config| {
        config.cors_origins = vec!["http://localhost:3000".to_owned()];
        config.hosts = vec!["hub.example".to_owned()];
    });
    for n in 0..5 {
        hub.publish("t", &n.to_string());
    }
    hub.close("closed");
    let mut good = hub.stream("/events/good");
    let mut random = Random(seed);
    let mut conn = None;
    let mut seen = std::collections::BTreeMap::<u16, usize>::new();
    for n in 0..REQUESTS {
        let raw = request(&mut random);
        let response = ask(&hub, &mut conn, &raw);
        let status = response.status;
        let place = || format!("seed {seed}, request {n}: {}", shown(&raw));
        assert!(matches!(status, 200 | 204 | 400..500), "{status} {}", place());
        if status >= 400 && !raw.starts_with(b"HEAD ") {
            assert!(!response.code().is_empty(), "no code in {response:?} {}", place());
        }
        assert_eq!(PANICS.load(Ordering::Relaxed), 0, "a panic at {}", place());
        *seen.entry(status).or_default() += 1;
        if n % 500 == 0 {
            hub.publish("good", &n.to_string());
            assert_eq!(good.event().data, n.to_string(), "{}", place());
        }
    }
    // The mutations reach both sides of the checks.
    for status in [200, 204, 400, 403, 404, 406, 421] {
        assert!(seen.contains_key(&status), "no {status} in {seen:?}");
    }
    assert_eq!(hub.post("/events/after", "", "x").status, 200);
    hub.publish("good", "end");
    assert_eq!(good.event().data, "end");
}
