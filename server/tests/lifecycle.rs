//! Starting and stopping, a hundred times in one process: no thread and no descriptor is left, streams end cleanly, and
//! what cannot start says why and leaves nothing.
//!
//! One test, because it counts what its whole process holds.
#![cfg(target_os = "linux")]

mod support;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use fanfare_engine::{Config as EngineConfig, Engine, Epoch};
use fanfare_server::{Config, Server, StartError};
use support::{Hub, Stream, WATCHDOG, wait_until};

/// Threads and descriptors of this process.
fn held() -> (usize, usize) {
    let count = |path: &str| fs::read_dir(path).expect("a directory of /proc").count();
    (count("/proc/self/task"), count("/proc/self/fd"))
}

#[test]
fn nothing_is_left_behind() {
    // What the first use of anything leaves for good is not a leak.
    Hub::start().server.stop(WATCHDOG);
    let before = held();
    start_and_stop_often();
    settles(before, "100 starts and stops");
    dropped_without_stop();
    settles(before, "a drop");
    stops_cleanly();
    settles(before, "a clean stop");
    cuts_a_stuck_reader();
    settles(before, "a stop with a stuck reader");
    what_cannot_start(before);
    settles(before, "failed starts");
}

/// The kernel may take a moment to forget a thread that has been joined.
fn settles(before: (usize, usize), after: &str) {
    wait_until(after, || {
        let now = held();
        now.0 <= before.0 && now.1 <= before.1
    });
}

fn start_and_stop_often() {
    for round in 0..100 {
        let hub = Hub::start();
        let mut streams: Vec<Stream> = (0..10).map(|n| hub.stream(&format!("/events/{}", n % 3))).collect();
        for topic in 0..3 {
            hub.publish(&topic.to_string(), "x");
        }
        for stream in &mut streams {
            assert_eq!(stream.event().data, "x", "round {round}");
        }
        let report = hub.server.stop(Duration::from_millis(150));
        assert_eq!((report.streams, report.cut), (10, 0), "round {round}");
        for stream in streams {
            assert_eq!(stream.end(), (vec![], true), "round {round}");
        }
        assert_eq!(hub.engine.stats().subscriptions, 0, "round {round}");
        assert_eq!(
            hub.server.stop(WATCHDOG),
            fanfare_server::StopReport::default(),
            "a second stop does nothing"
        );
        // The port is free at once.
        drop(TcpListener::bind(hub.addr).expect("a free port"));
    }
}

fn dropped_without_stop() {
    let hub = Hub::start();
    let streams: Vec<Stream> = (0..10).map(|_| hub.stream("/events/t")).collect();
    let engine = hub.engine.clone();
    drop(hub);
    assert_eq!(engine.stats().subscriptions, 0);
    for mut stream in streams {
        assert_eq!(stream.next_event(), None);
    }
}

fn stops_cleanly() {
    let hub = Hub::start();
    let mut streams: Vec<Stream> = (0..50).map(|_| hub.stream("/events/t")).collect();
    let idle: Vec<_> = (0..5).map(|_| hub.connect()).collect();
    let mut half = hub.connect();
    half.send("POST /events/t HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhel");
    let mut asked = hub.connect();
    asked.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(asked.response(false).expect("an answer").status, 200);
    let id = hub.publish("t", "before");
    for stream in &mut streams {
        assert_eq!(stream.event().last_event_id, id);
    }
    std::thread::scope(|scope| {
        let stop = scope.spawn(|| hub.server.stop(Duration::from_secs(5)));
        // Idle connections are closed, a request in service may finish, streams get what is published while they end.
        for mut conn in idle {
            assert_eq!(conn.rest(), b"");
        }
        assert_eq!(asked.rest(), b"");
        half.send("lo");
        assert_eq!(half.response(false).expect("an answer").status, 200);
        for stream in streams {
            let (datas, clean) = stream.end();
            assert!(clean, "each ends between two events, by the last chunk");
            assert!(datas.is_empty() || datas == ["hello"], "{datas:?}");
        }
        let report = stop.join().expect("no panic");
        assert_eq!((report.streams, report.cut), (50, 0));
    });
}

fn cuts_a_stuck_reader() {
    let hub = Hub::with(|engine, _| engine.history.bytes = 64 << 20);
    let stuck = hub.stream("/events/t");
    let mut good = hub.stream("/events/t");
    let data = "x".repeat(500_000);
    for _ in 0..40 {
        hub.publish("t", &data);
    }
    assert_eq!(good.datas(40), vec![data; 40]);
    let begin = Instant::now();
    let report = hub.server.stop(Duration::from_secs(1));
    assert_eq!((report.streams, report.cut), (2, 1));
    assert!(begin.elapsed() < WATCHDOG, "the deadline cuts what does not end");
    assert_eq!(good.end(), (vec![], true));
    drop(stuck);
    assert_eq!(hub.engine.stats().subscriptions, 0);
}

/// Starts a server that must not start; its error's text.
fn fails(change: impl FnOnce(&mut Config)) -> (StartError, String) {
    let engine = Engine::new(EngineConfig::new(Epoch::from_seed(1))).expect("an engine");
    let mut config = Config { listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))], ..Config::default() };
    change(&mut config);
    let error = Server::start(engine, config).expect_err("it cannot start");
    let text = error.to_string();
    (error, text)
}

fn what_cannot_start(before: (usize, usize)) {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    // A listener that could be opened before the one that fails is closed again.
    let (error, text) = fails(|config| config.listen.push(address));
    assert!(matches!(error, StartError::Bind { address: named, .. } if named == address), "{error:?}");
    assert!(text.contains(&address.to_string()), "{text}");
    drop(taken);
    settles(before, "a taken port");
    let (error, text) = fails(|config| config.listen = vec!["192.0.2.1:0".parse().expect("an address")]);
    assert!(matches!(error, StartError::Bind { .. }) && text.contains("192.0.2.1:0"), "{text}");

    let dir = tempfile::tempdir().expect("a directory");
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).expect("written");
        path
    };
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let cert = file("cert.pem", &made.cert.pem());
    let key = file("key.pem", &made.signing_key.serialize_pem());
    let wrong = file("wrong.pem", &other.signing_key.serialize_pem());
    let (empty, garbage) = (file("empty.pem", ""), file("garbage.pem", "-----BEGIN CERTIFICATE-----\n!\n"));
    let missing = dir.path().join("missing.pem");
    let tls = |cert: &Path, key: &Path| {
        let (cert, key) = (cert.to_owned(), key.to_owned());
        fails(move |config| {
            config.tls_listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
            config.tls_cert = Some(cert);
            config.tls_key = Some(key);
        })
    };
    for (cert, key, at_fault) in [
        (&missing, &key, &missing),
        (&cert, &missing, &missing),
        (&empty, &key, &empty),
        (&cert, &empty, &empty),
        (&garbage, &key, &garbage),
        (&key, &key, &key),
        (&cert, &cert, &cert),
        (&cert, &wrong, &wrong),
    ] {
        let (error, text) = tls(cert, key);
        assert!(matches!(error, StartError::Tls(_)), "{error:?}");
        assert!(
            text.contains(&at_fault.display().to_string()),
            "{text} does not name {}",
            at_fault.display()
        );
        assert!(!text.contains("BEGIN"), "{text}");
    }
    let (error, text) = fails(|config| config.tls_listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))]);
    assert!(matches!(error, StartError::Config(_)) && text.contains("tls."), "{text}");
    let (error, text) = fails(|config| config.listen.clear());
    assert!(matches!(error, StartError::Config(_)) && text.contains("listen"), "{text}");
    let (error, text) = fails(|config| config.cors_origins = vec!["*".to_owned()]);
    assert!(matches!(error, StartError::Config(_)) && text.contains("cors.origins"), "{text}");
}
