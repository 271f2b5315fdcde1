//! Starting, stopping, being killed, and coming back.
#![cfg(unix)]

mod support;

use std::process::Stdio;
use std::time::Duration;

use support::{Hub, Running, fanfare};

const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

#[test]
fn the_first_line_is_the_address_and_the_second_the_console() {
    let hub = Hub::start();
    assert_eq!(hub.running.out.next(), format!("console: {}/", hub.url));
    let page = hub.get("/");
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("text/html"), "{page}");

    let without = Hub::start_on("127.0.0.1:0", &["--set", "console=false"]);
    assert!(without.get("/").starts_with("HTTP/1.1 404"));
}

#[test]
fn without_a_subcommand_it_serves() {
    let running = Running::start(&["--listen", "127.0.0.1:0"]);
    assert!(running.out.next().contains("listening on http://127.0.0.1:"));
}

#[test]
fn several_addresses_are_announced_one_by_one() {
    let running = Running::start(&["serve", "--listen", "127.0.0.1:0", "--listen", "[::1]:0"]);
    assert!(running.out.next().contains("listening on http://127.0.0.1:"));
    assert!(running.out.next().contains("listening on http://[::1]:"));
}

#[test]
fn sigterm_and_sigint_stop_gently() {
    for signal in ["TERM", "INT"] {
        let mut hub = Hub::start();
        let mut sub = hub.subscribed(&["t"], 1);
        hub.publish(&["t", "before"]);
        assert_eq!(sub.out.next(), "before");
        hub.running.signal(signal);
        assert_eq!(hub.running.end(), 0, "SIG{signal}");
        // The stream was ended in order, not torn: that is what the reader says before it tries again.
        assert!(sub.err.next().starts_with("fanfare: the hub ended the stream; resuming after "));
        // Not SIGINT, which is ignored where the tests run as a shell's background job.
        sub.signal("TERM");
        assert_eq!(sub.end(), -SIGTERM);
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    for (first, second, code) in [("TERM", "TERM", 143), ("INT", "INT", 130), ("INT", "TERM", 143)] {
        // A reader that takes nothing and a long time to stop keep the first signal's work from being done.
        let mut hub = Running::start(&["serve", "--listen", "127.0.0.1:0", "--set", "timeouts.stop=1h"]);
        let line = hub.out.next();
        let address = line.rsplit("http://").next().expect("address").to_owned();
        let streams: Vec<_> = (0..20)
            .map(|_| {
                use std::io::{Read as _, Write as _};
                let mut stream = std::net::TcpStream::connect(&address).expect("connect");
                stream.write_all(b"GET /events/t HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("send");
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("an answer");
                stream
            })
            .collect();
        hub.signal(first);
        hub.err.find("again to stop at once");
        hub.signal(second);
        assert_eq!(hub.end(), code, "SIG{first}, SIG{second}");
        drop(streams);
    }
}

#[test]
fn a_killed_hub_leaves_its_port_and_its_readers_free() {
    let mut hub = Hub::start();
    let address = hub.address().to_owned();
    let sub = hub.subscribed(&["t", "--json"], 1);
    let before = hub.publish(&["t", "before"]);
    assert!(sub.out.next().contains(&before));

    hub.running.signal("KILL");
    assert_eq!(hub.running.end(), -SIGKILL);
    assert!(sub.err.next().contains(&format!("resuming after {before}")));

    // The same port at once, a new epoch: the reader comes back by itself and is told that it cannot go on exactly.
    let hub = Hub::start_on(&address, &[]);
    hub.wait_for_streams(1);
    sub.err.find("connected again");
    let gap = sub.err.find("gap: ");
    assert!(gap.contains(&format!("after {before} are missing")), "{gap}");
    let told: serde_json::Value = serde_json::from_str(&sub.out.next()).expect("JSON");
    assert_eq!(told["event"], "fanfare.gap");

    let after = hub.publish(&["t", "after"]);
    let event: serde_json::Value = serde_json::from_str(&sub.out.next()).expect("JSON");
    assert_eq!((event["data"].as_str(), event["id"].as_str()), (Some("after"), Some(after.as_str())));
    assert_ne!(before.split('-').next(), after.split('-').next(), "the epoch changes when history is lost");
}

#[test]
fn a_cut_stream_resumes_without_loss() {
    // Streams end by age all the time; events keep coming.
    let hub =
        Hub::start_on("127.0.0.1:0", &["--set", "stream.max_age=50ms", "--set", "stream.max_age_jitter=0"]);
    let sub = Running::start(&["sub", "t", "--replay", "all", "--url", &hub.url]);
    let mut command = fanfare(&["pub", "t", "--lines", "-q", "--url", &hub.url]);
    command.stdin(Stdio::piped());
    let mut publisher = Running::spawn(command);
    let mut stdin = publisher.child.stdin.take().expect("piped");
    for n in 0..200 {
        use std::io::Write as _;
        writeln!(stdin, "{n}").expect("the publisher reads");
        // Spread over many streams; how many makes no difference to what must arrive.
        std::thread::sleep(Duration::from_millis(2));
    }
    drop(stdin);
    assert_eq!(publisher.end(), 0);
    for n in 0..200 {
        assert_eq!(sub.out.next(), n.to_string());
    }
    sub.err.find("resuming after ");
}

#[test]
fn options_of_the_file_are_in_effect() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let file = folder.path().join("fanfare.toml");
    std::fs::write(&file, "log = \"warn\"\n[limits]\nevent_bytes = 3\n").expect("write");
    let mut hub = Hub::start_on("127.0.0.1:0", &["--config", file.to_str().expect("UTF-8")]);
    hub.publish(&["t", "123"]);
    let (code, _, err) = support::run(&["pub", "t", "1234", "--url", &hub.url]);
    assert!(code == Some(1) && err.contains("too_large"), "{err}");
    hub.running.signal("TERM");
    assert_eq!(hub.running.end(), 0);
    assert_eq!(hub.running.err.rest(), Vec::<String>::new(), "nothing worth a warning has happened");
}

#[test]
fn clients_speak_https_to_a_hub_they_trust() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let (cert, key, other) = (path("cert.pem"), path("key.pem"), path("other.pem"));
    let signed = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("certificate");
    std::fs::write(&cert, signed.cert.pem()).expect("write");
    std::fs::write(&key, signed.signing_key.serialize_pem()).expect("write");
    let stranger = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("certificate");
    std::fs::write(&other, stranger.cert.pem()).expect("write");

    let hub = Running::start(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--tls-listen",
        "127.0.0.1:0",
        "--tls-cert",
        &cert,
        "--tls-key",
        &key,
    ]);
    assert!(hub.out.next().contains("listening on http://"));
    let line = hub.out.next();
    let url = line.rsplit(' ').next().expect("a word");
    assert!(url.starts_with("https://127.0.0.1:"), "{line}");

    let (code, _, err) = support::run(&["pub", "t", "hello", "--url", url, "--cacert", &cert]);
    assert_eq!(code, Some(0), "{err}");
    let (code, out, err) =
        support::run(&["sub", "t", "--replay", "all", "-n", "1", "--url", url, "--cacert", &cert]);
    assert_eq!((code, out.as_str()), (Some(0), "hello\n"), "{err}");

    let (code, _, err) = support::run(&["pub", "t", "hello", "--url", url, "--cacert", &other]);
    assert!(code == Some(1) && err.contains("certificate"), "{err}");
    let (code, _, err) = support::run(&["sub", "t", "--url", url, "--cacert", "/nonexistent.pem"]);
    assert!(code == Some(1) && err.contains("/nonexistent.pem"), "{err}");
}
