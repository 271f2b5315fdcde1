//! The host decides: who is asked about what, what its answers become, and what happens without one.

mod support;

use std::io::Read;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use fanfare_engine::Draft;
use fanfare_server::Config;
use fanfare_server::authorize::{Action, Answer, Authorize, AuthorizeRequest, Authorizer, Grant};
use parking_lot::Mutex;
use support::{Hub, Response, WATCHDOG, post, wait_until};

/// Gives every request to the test.
struct Ask(Mutex<Sender<AuthorizeRequest>>);

impl Authorize for Ask {
    fn authorize(&self, request: AuthorizeRequest) {
        // A test that is over asks for nothing any more.
        let _ = self.0.lock().send(request);
    }
}

/// Decides at once.
struct Rule<F>(F);

impl<F: Fn(AuthorizeRequest) + Send + Sync> Authorize for Rule<F> {
    fn authorize(&self, request: AuthorizeRequest) {
        (self.0)(request);
    }
}

fn asking(change: impl FnOnce(&mut Config)) -> (Hub, Receiver<AuthorizeRequest>) {
    let (send, receive) = channel();
    let hub = Hub::with(|_, config| {
        config.authorizer = Authorizer::new(Arc::new(Ask(Mutex::new(send))));
        change(config);
    });
    (hub, receive)
}

fn ruled(rule: impl Fn(AuthorizeRequest) + Send + Sync + 'static) -> Hub {
    Hub::with(|_, config| config.authorizer = Authorizer::new(Arc::new(Rule(rule))))
}

#[track_caller]
fn asked(requests: &Receiver<AuthorizeRequest>) -> AuthorizeRequest {
    requests.recv_timeout(WATCHDOG).expect("asked")
}

fn named(name: &str) -> Grant {
    Grant { client: Some(name.to_owned()) }
}

#[track_caller]
fn refused(response: &Response, status: u16, code: &str) {
    assert_eq!((response.status, response.code()), (status, code.to_owned()), "{response:?}");
}

#[test]
fn a_subscription_waits_for_its_answer_from_any_thread() {
    let (hub, requests) = asking(|_| {});
    let mut conn = hub.connect();
    conn.send(
        "GET /events/a%20b?topic=c&client=me&event=x HTTP/1.1\r\nHost: localhost\r\n\
         Cookie: session=1\r\nX-Raw: \u{e4}\r\nX-Raw: 2\r\nLast-Event-ID: k-7\r\n\r\n",
    );
    let mut request = asked(&requests);
    assert_eq!(request.action, Action::Subscribe);
    assert_eq!((&*request.method, &*request.path), ("GET", "/events/a%20b"));
    assert_eq!(request.query, "topic=c&client=me&event=x");
    assert_eq!(request.topics, ["a b", "c"]);
    assert_eq!((request.last_event_id.as_deref(), request.client.as_deref()), (Some("k-7"), Some("me")));
    assert!(request.address.is_loopback());
    let values = |name: &str| -> Vec<Vec<u8>> {
        request.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.clone()).collect()
    };
    assert_eq!(values("cookie"), [b"session=1"]);
    assert_eq!(values("x-raw"), ["\u{e4}".as_bytes(), b"2"]);
    assert!(!format!("{request:?}").contains("session"), "credentials are not for logs");
    assert_eq!(hub.engine.stats().topics, 0, "nothing is opened before the answer");
    let answer: Answer = request.answer();
    request.answer().reject(403, "taken already: decides nothing");
    request.accept(named("nor this"));
    std::thread::spawn(move || answer.accept(Grant::default())).join().expect("no panic");
    let mut stream = conn.into_stream();
    stream.event();
    hub.engine
        .publish(Draft { event: Some("x".into()), ..Draft::new("c", "hello") }, hub.clock.now())
        .expect("published");
    assert_eq!(stream.event().data, "hello");
}

#[test]
fn what_everybody_may_know_and_what_is_wrong_anyway_is_not_asked() {
    let (hub, requests) = asking(|config| config.pages = Vec::new());
    for target in ["/healthz", "/stats", "/metrics"] {
        assert_eq!(hub.request("GET", target, "").status, 200);
    }
    assert_eq!(hub.request("OPTIONS", "/events/chat", "").status, 204);
    for (method, target, headers, status) in [
        ("GET", "/nothing", "", 404),
        ("PUT", "/events/chat", "", 405),
        ("GET", "/events/chat?nonsense=1", "", 400),
        ("GET", "/events/chat?client=%00", "", 400),
        ("GET", "/events/", "", 400),
        ("GET", "/events/chat", "Accept: text/html\r\n", 406),
        ("DELETE", "/events/chat", "Origin: https://evil.example\r\n", 403),
        ("DELETE", "/events/chat?x=y", "", 400),
        ("DELETE", "/events/%00", "", 400),
    ] {
        assert_eq!(hub.request(method, target, headers).status, status, "{method} {target}");
    }
    assert_eq!(hub.post("/events/chat", "Content-Encoding: gzip\r\n", "x").status, 415);
    assert_eq!(hub.post("/events/%00", "", "x").status, 400);
    assert_eq!(hub.post("/events/chat?retry=x", "", "x").status, 400);
    assert!(requests.try_recv().is_err(), "nobody was asked");
}

#[test]
fn a_refusal_is_the_hosts_status_and_text() {
    for (given, status, code) in [
        (401, 401, "unauthorized"),
        (403, 403, "unauthorized"),
        (402, 402, "unauthorized"),
        (404, 404, "not_found"),
        (429, 429, "rate_limited"),
        (500, 500, "internal"),
        (599, 599, "internal"),
        (200, 403, "unauthorized"),
        (399, 403, "unauthorized"),
        (600, 403, "unauthorized"),
        (0, 403, "unauthorized"),
    ] {
        let hub = ruled(move |request| request.reject(given, "not \"you\"\r\nX: y"));
        for method in ["GET", "DELETE"] {
            let response = hub.request(method, "/events/chat", "Accept: text/event-stream\r\n");
            refused(&response, status, code);
            assert_eq!(response.error("message"), "not \"you\"\r\nX: y");
            assert_eq!(response.header("x"), None);
            assert_eq!(response.header("www-authenticate").is_some(), status == 401);
        }
        assert_eq!(hub.request("HEAD", "/events/chat", "").status, status);
        refused(&hub.post("/events/chat", "", "x"), status, code);
        refused(&hub.post("/events/chat", "Content-Type: application/x-ndjson\r\n", "{}"), status, code);
        assert_eq!((hub.published(), hub.engine.stats().topics), (0, 0));
    }
}

#[test]
fn publishing_and_closing_are_asked_about_before_the_body_is_read() {
    let (hub, requests) = asking(|_| {});
    let mut probe_conn = hub.connect();
    probe_conn.send(
        "POST /events/chat HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    );
    let request = asked(&requests);
    assert_eq!((request.action, &*request.method), (Action::Publish, "POST"));
    assert_eq!((request.topics.len(), &*request.topics[0]), (1, "chat"));
    assert_eq!((&request.client, &request.last_event_id), (&None, &None));
    request.reject(403, "no");
    let answer = probe_conn.response(false).expect("an answer");
    refused(&answer, 403, "unauthorized");
    assert!(answer.closes(), "the body that was not read is no request");

    std::thread::scope(|scope| {
        let answers = scope.spawn(move || {
            for (action, topic) in [(Action::Publish, "chat"), (Action::Close, "chat")] {
                let request = asked(&requests);
                assert_eq!((request.action, &*request.topics[0]), (action, topic));
                request.accept(named("of no effect"));
            }
        });
        assert_eq!(hub.post("/events/chat", "", "hello").status, 200);
        assert_eq!(hub.published(), 1);
        assert_eq!(hub.request("DELETE", "/events/chat", "").status, 200);
        answers.join().expect("asked about both");
    });
}

#[test]
fn a_granted_name_is_the_clients_name() {
    let hub = ruled(|request| match request.action {
        Action::Subscribe => request.accept(named("alice")),
        _ => request.accept(Grant::default()),
    });
    let mut stream = hub.stream("/events/chat?client=mallory");
    assert_eq!(hub.post("/events/chat?except=alice", "", "hers").status, 200);
    assert_eq!(hub.post("/events/chat?except=mallory", "", "not hers").status, 200);
    assert_eq!(stream.event().data, "not hers");
    hub.server.revoke("mallory").expect("a name");
    hub.publish("chat", "still open");
    assert_eq!(stream.event().data, "still open");
    hub.server.revoke("alice").expect("a name");
    assert_eq!(stream.end(), (vec![], true));
    for name in ["", "a\nb"] {
        let hub = ruled(move |request| request.accept(named(name)));
        refused(&hub.request("GET", "/events/chat", ""), 500, "internal");
        assert_eq!(hub.engine.stats().subscriptions, 0);
    }
}

#[test]
fn a_name_revoked_between_answer_and_opening_is_met() {
    // The host accepts and revokes in one breath, so the stream cannot be open yet.
    let hub = Arc::new(Mutex::new(None::<Arc<Hub>>));
    let inner = Arc::clone(&hub);
    let started = Arc::new(ruled(move |request| {
        request.accept(named("alice"));
        inner.lock().as_ref().expect("started").server.revoke("alice").expect("a name");
    }));
    *hub.lock() = Some(Arc::clone(&started));
    for _ in 0..20 {
        assert_eq!(started.stream("/events/chat").end(), (vec![], true));
    }
    hub.lock().take();
}

#[test]
fn without_an_answer_there_is_a_503() {
    let (hub, requests) = asking(|config| config.authorize_timeout = Duration::from_millis(50));
    // Late: the answer has no effect.
    let late = hub.post("/events/chat", "", "x");
    refused(&late, 503, "internal");
    assert!(late.header("retry-after").is_some());
    asked(&requests).accept(Grant::default());
    let late = hub.request("GET", "/events/chat", "");
    refused(&late, 503, "internal");
    assert!(late.header("retry-after").is_some());
    let request = asked(&requests);
    request.accept(named("alice"));
    // An EventSource would give up for ever on a 503: it is told to come back.
    let come_back = hub.request("GET", "/events/chat", "Accept: text/event-stream\r\n");
    assert_eq!(come_back.status, 200);
    let body = String::from_utf8_lossy(&come_back.body).into_owned();
    assert!(body.contains("retry: ") && !body.contains("data:"), "{come_back:?}");
    assert_eq!((hub.published(), hub.engine.stats().topics), (0, 0));
}

#[test]
fn nothing_is_answered_before_the_decision() {
    let (hub, requests) = asking(|config| config.authorize_timeout = Duration::from_secs(3_600));
    let mut conn = hub.connect();
    conn.send("GET /events/chat HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n");
    let request = asked(&requests);
    // The server has had time for a head: another connection is served meanwhile, and this one is still silent.
    assert_eq!(hub.request("GET", "/healthz", "").status, 200);
    conn.io.set_nonblocking(true).expect("a mode");
    let silent = conn.io.read(&mut [0]).expect_err("an answer before the decision");
    assert_eq!(silent.kind(), std::io::ErrorKind::WouldBlock);
    conn.io.set_nonblocking(false).expect("a mode");
    request.reject(403, "no");
    refused(&conn.response(false).expect("an answer"), 403, "unauthorized");
}

#[test]
fn a_dropped_request_and_a_panic_are_503_at_once() {
    let dropping: fn(AuthorizeRequest) = drop;
    let panicking: fn(AuthorizeRequest) = |_| panic!("the host's fault");
    for rule in [dropping, panicking] {
        // An hour of patience: only the drop answers.
        let hub = Hub::with(|_, config| {
            config.authorizer = Authorizer::new(Arc::new(Rule(rule)));
            config.authorize_timeout = Duration::from_secs(3_600);
        });
        refused(&hub.request("GET", "/events/chat", ""), 503, "internal");
        refused(&hub.post("/events/chat", "", "x"), 503, "internal");
        assert_eq!(hub.request("GET", "/healthz", "").status, 200);
    }
}

#[test]
fn a_stop_does_not_wait_for_answers() {
    let (hub, requests) = asking(|config| config.authorize_timeout = Duration::from_secs(3_600));
    let mut reads = hub.connect();
    reads.send("GET /events/chat HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut writes = hub.connect();
    writes.send(post("/events/chat", "", "x"));
    let held = [asked(&requests), asked(&requests)];
    let report = hub.server.stop(WATCHDOG);
    assert_eq!(report.cut, 0, "they were answered, not cut");
    for conn in [&mut reads, &mut writes] {
        refused(&conn.response(false).expect("an answer"), 503, "stopping");
    }
    held.into_iter().for_each(|request| request.accept(Grant::default()));
    assert_eq!(hub.published(), 0);
}

#[test]
fn a_reader_that_left_is_not_subscribed() {
    let (hub, requests) = asking(|_| {});
    let mut conn = hub.connect();
    conn.send("GET /events/chat HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let request = asked(&requests);
    drop(conn);
    request.accept(Grant::default());
    wait_until("nothing is left", || hub.engine.stats().subscriptions == 0 && hub.stat("/streams/open") == 0);
}

#[test]
fn two_configurations_are_equal_when_they_ask_the_same() {
    let (send, _requests) = channel();
    let ask: Arc<dyn Authorize> = Arc::new(Ask(Mutex::new(send.clone())));
    let one = Authorizer::new(Arc::clone(&ask));
    assert_eq!(one, one.clone());
    assert_eq!(one, Authorizer::new(ask));
    assert_ne!(one, Authorizer::new(Arc::new(Ask(Mutex::new(send)))));
    assert_ne!(one, Authorizer::default());
    assert_eq!(Authorizer::default(), Config::default().authorizer);
}
