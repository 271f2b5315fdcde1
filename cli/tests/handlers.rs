//! Event handlers in the binary: loading, effect, statistics, reload, and `fanfare check`.
#![cfg(feature = "wasm-jit")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use support::{Hub, WATCHDOG, run, run_with_input};

/// A folder with an example built from source.
struct Built {
    folder: tempfile::TempDir,
}

impl Built {
    fn new(examples: &[&str]) -> Self {
        let built = Self { folder: tempfile::tempdir().expect("a folder") };
        for example in examples {
            built.build(example, &built.file(example));
        }
        built
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name).with_extension("wasm")
    }

    /// As an argument: `votes=/tmp/../tally.wasm`.
    fn on(&self, topics: &str, name: &str) -> String {
        format!("{topics}={}", self.file(name).display())
    }

    fn build(&self, example: &str, to: &Path) {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/handlers/c").join(example);
        let built = Command::new("clang")
            .args(["--target=wasm32", "-O2", "-mbulk-memory", "-nostdlib", "-Wl,--no-entry", "-o"])
            .arg(to)
            .arg(source.with_extension("c"))
            .status()
            .expect("clang runs; `cargo xtask install-deps` installs clang and lld");
        assert!(built.success(), "{example}");
    }
}

#[test]
fn a_voting_application_is_one_file() {
    let built = Built::new(&["tally"]);
    let hub = Hub::start_on("127.0.0.1:0", &["--handler", &built.on("votes", "tally")]);
    let mut reader = hub.subscribed(&["votes"], 1);
    for vote in ["yes", "no", "yes"] {
        hub.publish(&["votes", vote]);
    }
    assert_eq!(reader.out.next(), "{}", "the counts when it came");
    for said in
        [r#"{"choice":"yes","votes":1}"#, r#"{"choice":"no","votes":1}"#, r#"{"choice":"yes","votes":2}"#]
    {
        assert_eq!(reader.out.next(), said);
    }
    reader.signal("TERM");
    reader.end();
    let (_, out, err) = run(&["sub", "--url", &hub.url, "-n", "1", "votes"]);
    assert_eq!(out.trim_end(), r#"{"yes":2,"no":1}"#, "whoever comes later has them all: {err}");

    let (code, _, err) = run(&["pub", "--url", &hub.url, "votes", ""]);
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("handler tally refused the event: a vote has 1 to 64 bytes"), "{err}");

    let stats = &hub.stats()["handlers"][0];
    assert_eq!((&stats["name"], &stats["topics"]), (&"tally".into(), &"votes".into()));
    assert_eq!(
        (&stats["calls"], &stats["outcomes"]["emit"], &stats["outcomes"]["reject"]),
        (&6.into(), &3.into(), &1.into())
    );
    assert_eq!(stats["outcomes"]["greet"], 2);
    let metrics = hub.get("/metrics");
    for line in [
        r#"fanfare_handler_outcomes_total{handler="tally",outcome="emit"} 3"#,
        r#"fanfare_handler_seconds_count{handler="tally"} 6"#,
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} in {metrics}");
    }
}

#[test]
fn handlers_from_a_file_pass_events_on_in_their_order() {
    let built = Built::new(&["uppercase", "mask"]);
    let path = |name: &str| built.file(name).display().to_string();
    let text = format!(
        "[handlers]\n\"rooms/*\" = [\"{}\", \"{}\"]\n[handler]\nconfig = [\"words=DARN\"]\n",
        path("uppercase"),
        path("mask")
    );
    let file = built.folder.path().join("fanfare.toml");
    std::fs::write(&file, text).expect("written");
    let hub = Hub::start_on("127.0.0.1:0", &["--config", &file.display().to_string()]);
    hub.publish(&["rooms/1", "darn it"]);
    hub.publish(&["other", "darn it"]);
    for (topic, said) in [("rooms/1", "**** IT"), ("other", "darn it")] {
        let (_, out, err) = run(&["sub", "--url", &hub.url, "--replay", "all", "-n", "1", topic]);
        assert_eq!(out.trim_end(), said, "{err}");
    }
}

#[test]
fn handlers_have_settings_of_their_own() {
    let built = Built::new(&["mask"]);
    let file = built.file("mask").display().to_string();
    let text = format!(
        "[handlers]\nquiet = \"{file}\"\n[handlers.chat]\nfile = \"{file}\"\nevent = [\"say\", \"message\"]\n\
         config = {{ words = \"darn heck\" }}\ntime = \"20ms\"\n[handler]\nconfig = [\"words=psst\"]\n"
    );
    let toml = built.folder.path().join("fanfare.toml");
    std::fs::write(&toml, text).expect("written");
    let chat =
        format!("{};event=say;event=message;config.words=darn heck;time=20ms", built.on("chat", "mask"));
    let quiet = built.on("quiet", "mask");
    let toml = toml.display().to_string();
    for args in [
        &["--config", &toml][..],
        &["--handler", &quiet, "--handler", &chat, "--set", "handler.config=words=psst"],
    ] {
        let hub = Hub::start_on("127.0.0.1:0", args);
        for (topic, kind, said) in [
            ("chat", Some("say"), "**** psst"),
            ("chat", None, "**** psst"),
            ("chat", Some("shout"), "darn psst"),
            ("quiet", Some("shout"), "darn ****"),
        ] {
            let mut event = vec![topic, "darn psst"];
            event.extend(kind.into_iter().flat_map(|kind| ["--event", kind]));
            hub.publish(&event);
            let (_, out, err) = run(&["sub", "--url", &hub.url, "--replay", "1", "-n", "1", topic]);
            assert_eq!(out.trim_end(), said, "{topic} {kind:?} {args:?}: {err}");
        }
        let stats = hub.stats();
        let of = |topics: &str| {
            let handlers = stats["handlers"].as_array().expect("a list");
            handlers.iter().find(|handler| handler["topics"] == topics).expect("it is there")
        };
        assert_eq!((&of("chat")["calls"], &of("quiet")["calls"]), (&2.into(), &1.into()), "{stats}");
        assert_eq!(of("chat")["events"], serde_json::json!(["say", "message"]));
        assert_eq!(of("quiet")["events"], serde_json::json!([]));
    }
    let (code, _, err) =
        run(&["serve", "--listen", "127.0.0.1:0", "--handler", &format!("{quiet};tiem=5ms")]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("--handler: handlers = \"tiem=5ms\" is no setting of a handler"), "{err}");
}

#[test]
fn a_changed_file_is_taken_into_use() {
    let built = Built::new(&["uppercase"]);
    let hub = Hub::start_on("127.0.0.1:0", &["--handler", &built.on("t", "uppercase")]);
    hub.publish(&["t", "loud"]);
    let next = built.folder.path().join("next");
    built.build("fan_out", &next);
    std::fs::rename(next, built.file("uppercase")).expect("moved");
    let start = Instant::now();
    while hub.stats()["handlers"][0]["reloads"]["done"] != 1 {
        assert!(start.elapsed() < WATCHDOG, "{}", hub.stats());
        thread::sleep(Duration::from_millis(20));
    }
    hub.publish(&["t", "quiet"]);
    let (_, out, _) = run(&["sub", "--url", &hub.url, "--replay", "all", "-n", "2", "t"]);
    assert_eq!(out.lines().collect::<Vec<_>>(), ["LOUD", "quiet"]);
}

#[test]
fn a_handler_that_does_not_load_keeps_the_hub_from_starting() {
    let built = Built::new(&[]);
    std::fs::write(built.file("text"), "not a module").expect("written");
    for (name, says) in
        [("text", "it is named .wasm and is no WebAssembly, which begins with"), ("absent", "cannot read it")]
    {
        let handler = built.on("t", name);
        let (code, out, err) = run(&["serve", "--listen", "127.0.0.1:0", "--handler", &handler]);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
        assert!(
            err.contains("cannot load the handler ") && err.contains(says) && err.contains(name),
            "{err}"
        );
    }
}

#[test]
fn check_tells_what_a_file_is_and_what_it_answers() {
    let built = Built::new(&["tally", "uppercase"]);
    let tally = built.file("tally").display().to_string();
    let (code, out, err) = run(&["check", &tally]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    for part in [
        "a handler: core module of ",
        "exports transform, on-subscribe",
        "imports fanfare:handler/kv@0.1.0",
        "loaded in ",
    ] {
        assert!(out.contains(part), "{part:?} in {out}");
    }
    let (code, out, err) =
        run_with_input(&["check", &tally, "--events", "-", "--topic", "votes"], b"yes\n\nyes\r\n");
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    let answers: Vec<_> = out.lines().filter(|line| line.contains(" us ")).collect();
    assert_eq!(answers.len(), 3, "{out}");
    assert!(
        answers[0].ends_with(" us emit 1") && answers[1].ends_with(" us reject a vote has 1 to 64 bytes"),
        "{out}"
    );
    assert!(out.contains("  votes tally: {\"choice\":\"yes\",\"votes\":2}"), "{out}");

    let upper = built.file("uppercase").display().to_string();
    let (code, out, err) = run_with_input(
        &["check", &upper, "--events", "-", "--set", "handler.output_bytes=1KiB"],
        &[b'x'; 1_025],
    );
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("FAULT output: ") && err.contains("failed for 1 of these events"), "{out}{err}");

    std::fs::write(built.file("cut"), b"\0asm\x01\0\0\0\x01").expect("written");
    let (code, out, err) = run(&["check", &built.file("cut").display().to_string()]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains("is no usable handler: it is broken or cut off"), "{err}");
}

#[test]
fn check_takes_what_is_set_for_a_handler() {
    let built = Built::new(&["mask"]);
    let mask = built.file("mask").display().to_string();
    let check = |args: &[&str]| {
        let args: Vec<_> = ["check"].iter().chain(args).chain(&["--events", "-"]).copied().collect();
        run_with_input(&args, b"darn it\n")
    };
    let settings = format!("rooms/*={mask};event=chat;config.words=darn");
    let (code, out, err) = check(&[&settings, "--event", "chat"]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains(" us replace **** it"), "{out}");
    let (code, out, err) = check(&[&settings]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.ends_with("passed by: it is for events of other types\n"), "{out}");

    let (code, out, err) = check(&[&format!("{mask};tiem=5ms")]);
    assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
    assert!(err.contains("tiem=5ms") && err.contains("is no setting of a handler"), "{err}");

    let toml = built.file("mask").with_file_name("fanfare.toml");
    let named = toml.display().to_string();
    let tables =
        |others: &str| format!("[handlers.rooms]\nfile = {mask:?}\nconfig = {{ words = \"it\" }}\n{others}");
    std::fs::write(&toml, tables("")).expect("written");
    let (code, out, err) = check(&[&mask, "--config", &named]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains(" us replace darn **"), "{out}");
    std::fs::write(&toml, tables(&format!("[handlers.votes]\nfile = {mask:?}\n"))).expect("written");
    let (code, out, err) = check(&[&mask, "--config", &named]);
    assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
    assert!(err.contains("handles several topics (rooms, votes): say which with --topic"), "{err}");
    let (code, out, err) = check(&[&mask, "--config", &named, "--topic", "rooms"]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains(" us replace darn **"), "{out}");
}
