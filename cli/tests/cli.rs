//! The program as a shell user meets it: usage errors, publish and subscribe, output that others read.
#![cfg(unix)]

mod support;

use std::net::TcpListener;
use std::process::Stdio;

use support::{Hub, Running, fanfare, run, run_with_input};

#[test]
fn wrong_usage_is_exit_code_2_and_names_the_mistake() {
    for (arguments, part) in [
        (&["--no-such-flag"][..], "--no-such-flag"),
        (&["serv"], "serve"),
        (&["sub"], "<TOPIC>"),
        (&["sub", "t", "--since", "a b"], "--since"),
        (&["sub", "t", "--replay", "some"], "--replay"),
        (&["sub", "t", "--replay", "all", "--since", "a"], "cannot be used with"),
        (&["sub", "t", "-n", "0"], "--count"),
        (&["sub", "t", "--url", "hub.example"], "http://127.0.0.1:4780"),
        (&["pub"], "<TOPIC>"),
        (&["pub", "t", "x", "--lines"], "cannot be used with"),
        (&["pub", "t", "--ndjson", "--event", "x"], "cannot be used with"),
        (&["bench", "--subscribers", "0"], "--subscribers"),
        (&["bench", "--size", "1"], "--size"),
        (&["bench", "--url", "https://h"], "http://"),
        (&["check", "/nonexistent/handler.wasm"], "cannot read /nonexistent/handler.wasm"),
        (&["check", "handler.wasm", "--topic", "t"], "--events"),
        (&["serve", "--handler", "votes"], "--handler: handlers = \"votes\""),
        (
            &["serve", "--set", "history.event=1"],
            "--set: there is no option history.event; did you mean history.events?",
        ),
        (&["serve", "--set", "lanes"], "KEY=VALUE"),
        (
            &["serve", "--heartbeat", "soon"],
            "--heartbeat: heartbeat = \"soon\" does not fit: expected a time",
        ),
        (&["serve", "--listen", "localhost"], "--listen: listen = \"localhost\""),
        (&["serve", "--listen", "127.0.0.1:0", "--set", "listen=127.0.0.1:0"], "first at --listen"),
        (&["serve", "--config", "/nonexistent/fanfare.toml"], "/nonexistent/fanfare.toml: cannot read"),
        (&["serve", "--tls-listen", "127.0.0.1:0"], "tls.cert"),
        (
            &["--set", "lanes=-1"],
            "--set: lanes = \"-1\" is out of range: expected a whole number from 0 to 1024",
        ),
        (&["config", "--set", "cors.credentials=true"], "--set: cors.credentials"),
        (&["bench", "--set", "lanes=x"], "--set: lanes"),
    ] {
        let (code, out, err) = run(arguments);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{arguments:?}: {err}");
        assert!(err.contains(part), "{arguments:?}: {part:?} is not in {err}");
    }
}

#[test]
fn a_wrong_environment_is_exit_code_2_and_names_the_variable() {
    for (name, value, part) in [
        ("FANFARE_HISTROY_EVENTS", "1", "did you mean FANFARE_HISTORY_EVENTS?"),
        ("FANFARE_LANES", "many", "environment variable FANFARE_LANES: lanes = \"many\""),
    ] {
        let output = fanfare(&["config"]).env(name, value).output().expect("the program starts");
        let err = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(2), "{err}");
        assert!(err.contains(part) && err.lines().count() == 1, "{err}");
    }
    let output =
        fanfare(&["config"]).env("FANFARE_URL", "x").env("FANFARE_LANES", "3").output().expect("starts");
    assert_eq!(output.status.code(), Some(0), "the clients' variable is not an option");
    assert!(String::from_utf8(output.stdout).expect("UTF-8").contains("lanes = 3"));
}

#[test]
fn help_and_version_are_results() {
    for arguments in [
        &["--help"][..],
        &["help"],
        &["sub", "--help"],
        &["pub", "--help"],
        &["bench", "--help"],
        &["serve", "--help"],
    ] {
        let (code, out, err) = run(arguments);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(out.contains("Usage: fanfare") && out.contains("fanfare "), "{out}");
    }
    let (code, out, _) = run(&["--version"]);
    assert_eq!((code, out), (Some(0), format!("fanfare {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn the_printed_configuration_is_a_configuration() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let file = folder.path().join("fanfare.toml");
    let (code, out, _) = run(&["config", "--set", "history.events=7", "--cors-origin", "https://a.example"]);
    assert_eq!(code, Some(0));
    std::fs::write(&file, out).expect("write");
    let (code, out, err) = run(&["config", "--config", file.to_str().expect("UTF-8")]);
    assert_eq!(code, Some(0), "{err}");
    assert!(
        out.contains("history.events = 7 ") && out.contains("cors.origins = [\"https://a.example\"]"),
        "{out}"
    );
}

#[test]
fn without_a_hub_clients_say_so_and_fail() {
    // Free again at the end of the statement, so nobody listens there.
    let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port");
    let url = format!("http://{free}");
    for arguments in
        [&["sub", "t", "--url", &url][..], &["pub", "t", "x", "--url", &url], &["bench", "--url", &url]]
    {
        let (code, out, err) = run(arguments);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{arguments:?}: {err}");
        assert!(err.contains(&url), "{arguments:?}: {err}");
    }
}

#[test]
fn a_taken_port_is_named_and_is_exit_code_1() {
    let hub = Hub::start();
    let (code, out, err) = run(&["serve", "--listen", hub.address()]);
    assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
    assert!(err.contains(hub.address()), "{err}");
}

#[test]
fn what_is_published_is_printed() {
    let hub = Hub::start();
    let mut sub = hub.subscribed(&["chat", "-n", "4"], 1);
    let ids = [
        hub.publish(&["chat", "hello"]),
        hub.publish(&["chat", "--event", "vote", "two\nlines"]),
        hub.publish(&["chat", "--id", "my-own", "-5"]),
        hub.publish(&["chat", ""]),
    ];
    assert_eq!(ids[2], "my-own");
    assert_eq!(sub.out.rest(), ["hello", "two", "lines", "-5", ""]);
    assert_eq!((sub.end(), sub.err.rest()), (0, vec![]));
}

#[test]
fn json_output_is_complete() {
    let hub = Hub::start();
    let sub = hub.subscribed(&["chat", "--json", "-n", "1"], 1);
    let id = hub.publish(&["chat", "--event", "vote", "{\"a\":1}\n\u{1b}"]);
    let event: serde_json::Value = serde_json::from_str(&sub.out.next()).expect("JSON");
    assert_eq!(event, serde_json::json!({ "id": id, "event": "vote", "data": "{\"a\":1}\n\u{1b}" }));
}

#[test]
fn history_filters_and_names_are_passed_on() {
    let hub = Hub::start();
    let first = hub.publish(&["a", "1"]);
    hub.publish(&["b", "2"]);
    hub.publish(&["a", "--event", "x", "3"]);
    hub.publish(&["a", "--except", "me", "4"]);
    let all = |arguments: &[&str]| {
        let mut line = vec!["sub", "--url", &hub.url];
        line.extend_from_slice(arguments);
        let (code, out, err) = run(&line);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{arguments:?}");
        out.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(all(&["a", "b", "--replay", "all", "-n", "4"]), ["1", "2", "3", "4"]);
    assert_eq!(all(&["a", "--replay", "2", "-n", "2"]), ["3", "4"]);
    assert_eq!(all(&["a", "b", "--since", &first, "-n", "3"]), ["2", "3", "4"]);
    assert_eq!(all(&["a", "--replay", "all", "--event", "x", "-n", "1"]), ["3"]);
    assert_eq!(
        all(&["a", "--replay", "all", "--event", "message", "--client", "you", "-n", "2"]),
        ["1", "4"]
    );
    hub.publish(&["a", "5"]);
    assert_eq!(all(&["a", "--replay", "all", "--event", "message", "--client", "me", "-n", "2"]), ["1", "5"]);
}

#[test]
fn topics_of_any_spelling_arrive_where_they_should() {
    let hub = Hub::start();
    for topic in ["a/b", "..", "a//b", "/", "ü ?&#%", "a+b", "."] {
        hub.publish(&[topic, topic]);
        let (code, out, err) = run(&["sub", "--url", &hub.url, "--replay", "all", "-n", "1", topic]);
        assert_eq!((code, out.as_str(), err.as_str()), (Some(0), format!("{topic}\n").as_str(), ""));
        let (code, out, _) = run(&["sub", "--url", &hub.url, "--replay", "all", "-n", "1", topic, "other"]);
        assert_eq!((code, out), (Some(0), format!("{topic}\n")));
    }
}

#[test]
fn standard_input_is_an_event_or_one_for_each_line() {
    // History holds it all, so that no reader can fall behind.
    let hub = Hub::start_on("127.0.0.1:0", &["--set", "history.events=5000"]);
    let sub = hub.subscribed(&["t", "--json"], 1);
    let data = || serde_json::from_str::<serde_json::Value>(&sub.out.next()).expect("JSON")["data"].clone();
    for arguments in [&["pub", "t", "-", "-q"][..], &["pub", "t", "-q"]] {
        let mut arguments = arguments.to_vec();
        arguments.extend(["--url", &hub.url]);
        assert_eq!(run_with_input(&arguments, b"one\ntwo\n\n"), (Some(0), String::new(), String::new()));
        assert_eq!(data(), "one\ntwo\n");
    }

    let lines: Vec<u8> = (0..2_000).flat_map(|n| format!("line {n} \"\\\u{1}\r\n").into_bytes()).collect();
    let (code, out, err) =
        run_with_input(&["pub", "t", "--lines", "--event", "log", "--url", &hub.url], &lines);
    assert_eq!((code, out.lines().count(), err.as_str()), (Some(0), 2_000, ""));
    for n in 0..2_000 {
        assert_eq!(data(), format!("line {n} \"\\\u{1}"));
    }

    let events = b"{\"data\":\"a\",\"id\":\"x1\"}\n{\"data\":\"b\",\"event\":\"e\"}";
    let (code, out, err) = run_with_input(&["pub", "t", "--ndjson", "--url", &hub.url], events);
    assert_eq!((code, err.as_str(), out.lines().next()), (Some(0), "", Some("x1")));
    assert_eq!([data(), data()], ["a", "b"]);
}

#[test]
fn lines_go_out_as_soon_as_they_are_there() {
    use std::io::Write as _;

    let hub = Hub::start();
    let sub = hub.subscribed(&["t"], 1);
    let mut command = fanfare(&["pub", "t", "--lines", "--url", &hub.url]);
    command.stdin(Stdio::piped());
    let mut publisher = Running::spawn(command);
    let mut stdin = publisher.child.stdin.take().expect("piped");
    for line in ["first", "second"] {
        writeln!(stdin, "{line}").expect("the publisher reads");
        assert_eq!(sub.out.next(), line);
    }
    drop(stdin);
    assert_eq!(publisher.end(), 0);
}

#[test]
fn refusals_are_the_hubs_own_words_and_exit_code_1() {
    let hub = Hub::start();
    for (arguments, code_name) in [
        (&["pub", "t", "x", "--id", "a b"][..], "invalid_id"),
        (&["pub", "t", "x", "--event", "fanfare.gap"], "invalid_event"),
        (&["pub", "t", "x", "--retry", "99999999999"], "invalid_retry"),
        (&["pub", "a\nb", "x"], "invalid_topic"),
        (&["sub", "a\nb"], "invalid_topic"),
        (&["sub", "t", "--event", "a\nb"], "invalid_event"),
    ] {
        let mut all = arguments.to_vec();
        all.extend(["--url", &hub.url]);
        let (code, out, err) = run(&all);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{arguments:?}: {err}");
        assert!(
            err.starts_with("fanfare: the hub refused: ") && err.contains(code_name),
            "{arguments:?}: {err}"
        );
        assert_eq!(err.lines().count(), 1, "{err}");
    }

    let bad = b"{\"data\":\"1\"}\n{\"data\":2}\n";
    let (code, out, err) = run_with_input(&["pub", "t", "--ndjson", "--url", &hub.url], bad);
    assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
    assert!(
        err.contains("lines 1 to 2") && err.contains("nothing of the input has been published before"),
        "{err}"
    );
    let (code, _, err) = run_with_input(&["pub", "t", "--lines", "--url", &hub.url], b"fine\n\xff\n");
    assert!(code == Some(1) && err.contains("line 2: is not UTF-8"), "{err}");
    let (code, _, err) = run_with_input(&["pub", "t", "--url", &hub.url], b"\xff");
    assert!(code == Some(1) && err.contains("invalid_data"), "{err}");
    assert_eq!(hub.stats()["events"]["published"], 0, "nothing was published");
}

#[test]
fn a_closed_topic_ends_its_readers_with_success() {
    let hub = Hub::start();
    let mut sub = hub.subscribed(&["t"], 1);
    hub.publish(&["t", "last"]);
    assert!(hub.request("DELETE", "/events/t").contains("{\"closed\":true}"));
    assert_eq!((sub.out.rest(), sub.end()), (vec!["last".to_owned()], 0));
    let (code, out, err) = run(&["pub", "t", "x", "--url", &hub.url]);
    assert!(code == Some(1) && out.is_empty() && err.contains("topic_closed"), "{err}");
}

#[test]
fn a_reader_of_the_output_may_go_away() {
    use std::io::{BufRead as _, BufReader};

    let hub = Hub::start();
    hub.publish(&["t", "first"]);
    let mut sub =
        fanfare(&["sub", "t", "--replay", "all", "--url", &hub.url]).spawn().expect("the program starts");
    let mut out = BufReader::new(sub.stdout.take().expect("piped"));
    let mut line = String::new();
    out.read_line(&mut line).expect("a line");
    assert_eq!(line, "first\n");
    drop(out);
    // It finds out with the next event.
    hub.publish(&["t", "nobody reads this"]);
    let output = sub.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), String::from_utf8(output.stderr)), (Some(0), Ok(String::new())));
}

#[test]
fn bench_counts_every_delivery() {
    let arguments = ["bench", "--subscribers", "20", "--events", "3000", "--size", "64"];
    let (code, out, err) = run(&arguments);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("verified   60000 deliveries: every event once, in order"), "{out}");
    assert!(out.contains("hub in this process") && out.contains("share this process"), "{out}");

    let hub = Hub::start_on("127.0.0.1:0", &["--set", "history.events=3000"]);
    let (code, out, err) = run(&["bench", "--subscribers", "5", "--events", "2000", "--url", &hub.url]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("verified   10000 deliveries") && out.contains(&hub.url), "{out}");
}
