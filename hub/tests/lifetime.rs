//! Starting and stopping again and again in one process leaves nothing behind.
//!
//! This file holds one test, because it counts the threads and descriptors of the whole process.
#![cfg(target_os = "linux")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use fanfare_hub::engine::Draft;
use fanfare_hub::{Hub, Loader};

/// Far above what anything here takes: it turns a hang into a failure.
const WATCHDOG: Duration = Duration::from_secs(60);

/// Threads and open descriptors of this process.
fn held() -> (usize, usize) {
    let count = |folder: &str| std::fs::read_dir(folder).expect(folder).count();
    (count("/proc/self/task"), count("/proc/self/fd"))
}

/// Starts a hub, opens streams, publishes, stops, and sees the streams end.
fn once() {
    let mut loader = Loader::new();
    loader.begin_flags();
    for (name, text) in [("listen", "127.0.0.1:0,[::1]:0"), ("lanes", "2")] {
        loader.flag("test", name, text).expect(name);
    }
    let hub = Hub::start(loader.finish().expect("sound")).expect("it starts");
    let addresses = hub.urls().into_iter().map(|url| url.strip_prefix("http://").expect("http").to_owned());
    let mut streams: Vec<_> = addresses
        .map(|address| {
            let mut stream = TcpStream::connect(address).expect("it listens");
            stream.set_read_timeout(Some(WATCHDOG)).expect("watchdog");
            stream
                .write_all(b"GET /events/t?replay=all HTTP/1.1\r\nHost: localhost\r\n\r\n")
                .expect("it reads");
            stream
        })
        .collect();
    assert_eq!(streams.len(), 2);
    hub.publish(Draft::new("t", "the only event")).expect("sound");
    for stream in &mut streams {
        let mut text = String::new();
        while !text.contains("data: the only event\n") {
            let mut bytes = [0; 1024];
            let read = stream.read(&mut bytes).expect("the stream goes on");
            assert!(read > 0, "ended early: {text}");
            text.push_str(std::str::from_utf8(&bytes[..read]).expect("UTF-8"));
        }
    }
    // The drain is spread over the deadline, and there are a hundred lives to come.
    hub.stop(Duration::from_millis(50));
    for stream in &mut streams {
        stream.read_to_end(&mut Vec::new()).expect("the stream ends");
    }
}

#[test]
fn nothing_is_left_after_a_hundred_lives() {
    // The first life also starts what a process keeps.
    once();
    let before = held();
    for life in 0..100 {
        once();
        // A joined thread is listed until the kernel has put it away.
        let start = Instant::now();
        while held() != before {
            assert!(start.elapsed() < WATCHDOG, "life {life} left {:?} where {before:?} were", held());
            thread::sleep(Duration::from_millis(1));
        }
    }
}
