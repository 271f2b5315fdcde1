//! `fanfare serve --data`: the real program, killed and started again, with readers that resume over HTTP.

mod support;

use std::io::{BufRead as _, Read as _, Write as _};

use support::history::{Event, Hub, Tmpfs, answer, connect, killed_it_loses_nothing, position, publish};
use support::{run, run_with_input};

#[test]
fn killed_at_random_moments_with_always_it_loses_nothing() {
    killed_it_loses_nothing(20);
}

#[test]
fn with_an_interval_a_reader_of_what_is_lost_is_told() {
    let dir = tempfile::tempdir().expect("a folder");
    let hub = Hub::start(dir.path(), &[]);
    let kept: Vec<String> = (1..=3).map(|n| hub.publish("t", &format!("kept {n}"))).collect();
    hub.stop();
    // Nothing is written in the minute that this one has not.
    let hub = Hub::start(dir.path(), &["history.sync_interval=60s"]);
    let lost: Vec<String> = (1..=3).map(|n| hub.publish("t", &format!("lost {n}"))).collect();
    assert_eq!(hub.read("t", "", Some(&kept[2])).data(3), ["lost 1", "lost 2", "lost 3"], "while it runs");
    hub.kill();
    let hub = Hub::start(dir.path(), &[]);
    let told = |event: &Event, asked: &str| {
        assert_eq!(event.name, "fanfare.gap", "{event:?}");
        assert!(event.data.contains(&format!("\"requested\":\"{asked}\"")), "{event:?}");
    };
    // Told at once, before anything new comes.
    let mut early = hub.read("t", "", Some(&lost[1]));
    told(&early.take(1)[0], &lost[1]);
    let new = hub.publish("t", "new");
    assert!(position(&new) > position(&lost[2]), "no position twice: {new} after {lost:?}");
    assert_eq!(early.data(1), ["new"]);
    let mut late = hub.read("t", "", Some(&kept[1]));
    assert_eq!(late.data(1), ["kept 3"]);
    told(&late.take(1)[0], &kept[2]);
    assert_eq!(late.data(1), ["new"]);
    let mut again = hub.read("t", "", Some(&lost[0]));
    told(&again.take(1)[0], &lost[0]);
    assert_eq!(again.data(1), ["new"]);
    hub.stop();
}

#[test]
fn a_slow_replay_of_a_long_history_joins_what_is_published_meanwhile() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = ["history.events=100", "store.segment_bytes=1MiB"];
    let hub = Hub::start(dir.path(), &settings);
    for batch in 0..20 {
        hub.publish_all("t", (0..500).map(|n| format!("{} {}", batch * 500 + n, "x".repeat(200))));
    }
    // Larger than what a socket takes at once, and in no ring any more when it is read.
    hub.publish("t", &format!("10000 {}", "y".repeat(900_000)));
    hub.publish_all("other", (0..500).map(|n| n.to_string()));
    hub.stop();
    let hub = Hub::start(dir.path(), &settings);
    let mut slow = hub.read("t", "replay=all", None);
    let number = |event: &Event| event.data.split(' ').next().and_then(|n| n.parse::<u64>().ok());
    let mut seen: Vec<Option<u64>> = slow.take(10).iter().map(number).collect();
    // It does not read while others publish more than any ring holds.
    for batch in 0..4 {
        hub.publish_all("t", (0..500).map(|n| format!("{} {}", 10_001 + batch * 500 + n, "z".repeat(200))));
    }
    seen.extend(slow.take(11_991).iter().map(number));
    hub.publish("t", "12001 live");
    seen.extend(slow.take(1).iter().map(number));
    assert_eq!(seen, (0..=12_001).map(Some).collect::<Vec<_>>());
    assert_eq!(
        hub.read("t", "replay=2", None).take(2).iter().filter_map(number).collect::<Vec<_>>(),
        [12_000, 12_001]
    );
    assert_eq!(
        hub.read("other", "replay=300", None).data(300),
        (200..500).map(|n| n.to_string()).collect::<Vec<_>>()
    );
    hub.stop();
}

#[test]
fn a_closed_topic_stays_closed() {
    let dir = tempfile::tempdir().expect("a folder");
    let hub = Hub::start(dir.path(), &["history.durability=always"]);
    let first = hub.publish("t", "first");
    let last = hub.publish("t", "last");
    hub.publish("other", "later");
    let mut socket = connect(&hub.address);
    write!(socket.get_mut(), "DELETE /events/t HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("is sent");
    assert_eq!(answer(&mut socket).expect("an answer"), (200, "{\"closed\":true}\n".to_owned()));
    let status = |hub: &Hub, id: &str| {
        let mut socket = connect(&hub.address);
        write!(socket.get_mut(), "GET /events/t HTTP/1.0\r\nhost: localhost\r\nlast-event-id: {id}\r\n\r\n")
            .expect("is sent");
        let mut line = String::new();
        socket.read_line(&mut line).expect("a head");
        line.split(' ').nth(1).map(str::to_owned).expect("a status")
    };
    assert_eq!(status(&hub, &last), "204", "before");
    hub.kill();
    let hub = Hub::start(dir.path(), &["history.durability=always"]);
    let refused = publish(&mut connect(&hub.address), "t", "late").expect("an answer").expect_err("closed");
    assert!(refused.contains("topic_closed"), "{refused}");
    let mut stream = hub.read("t", "replay=all", None);
    assert_eq!(stream.data(2), ["first", "last"]);
    assert_eq!(stream.next(), None, "and ends");
    assert_eq!(hub.read("t", "", Some(&first)).data(1), ["last"]);
    assert_eq!(status(&hub, &last), "204", "and after");
    hub.stop();
}

#[test]
fn an_id_of_a_publisher_is_resumed_after_a_restart() {
    let dir = tempfile::tempdir().expect("a folder");
    let hub = Hub::start(dir.path(), &[]);
    for n in 1..=3 {
        let mut socket = connect(&hub.address);
        write!(
            socket.get_mut(),
            "POST /events/t?id=order-{n} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n\r\n{n}"
        )
        .expect("is sent");
        let (status, body) = answer(&mut socket).expect("an answer");
        assert_eq!((status, body.contains(&format!("\"order-{n}\""))), (200, true), "{body}");
    }
    hub.stop();
    let hub = Hub::start(dir.path(), &[]);
    hub.publish("t", "4");
    let mut stream = hub.read("t", "", Some("order-2"));
    assert_eq!(stream.take(1)[0], Event { id: "order-3".into(), data: "3".into(), ..Event::default() });
    assert_eq!(stream.data(1), ["4"]);
    let told = hub.read("t", "", Some("order-9")).take(1).remove(0);
    assert!(told.name == "fanfare.gap" && told.data.contains("\"requested\":\"order-9\""), "{told:?}");
    hub.stop();
}

#[test]
fn one_process_has_the_folder_and_tools_say_so() {
    let dir = tempfile::tempdir().expect("a folder");
    let text = dir.path().to_str().expect("UTF-8");
    let hub = Hub::start(dir.path(), &[]);
    hub.publish("t", "a \u{e9} \\ \" b");
    for arguments in [&["serve", "--listen", "127.0.0.1:0", "--data", text][..], &["data", "stats", text]] {
        let (code, _, err) = run(arguments);
        assert_eq!(code, Some(1), "{err}");
        assert!(
            err.contains(text) && err.contains("another process, or this one, has the store open"),
            "{err}"
        );
    }
    hub.stop();
    let (code, out, err) = run(&["data", "stats", text]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("\nevents  1\n") && out.contains("\nnext    2\n"), "{out}");
    let (code, exported, err) = run(&["data", "export", text]);
    assert_eq!((code, err.as_str()), (Some(0), "fanfare: 1 events exported\n"));
    let copy = dir.path().join("copy");
    let copied = copy.to_str().expect("UTF-8");
    let (code, _, err) = run_with_input(&["data", "import", copied], exported.as_bytes());
    assert_eq!((code, err.as_str()), (Some(0), "fanfare: 1 events imported\n"));
    let hub = Hub::start(&copy, &[]);
    assert_eq!(hub.read("t", "replay=all", None).data(1), ["a \u{e9} \\ \" b"]);
    hub.stop();
    let (code, _, err) = run(&["data", "export", &format!("{text}/nowhere")]);
    assert_eq!(code, Some(2));
    assert!(err.contains("nowhere holds no history"), "{err}");
    assert!(!dir.path().join("nowhere").exists());
}

#[test]
fn a_folder_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("file");
    std::fs::write(&file, "not a folder").expect("written");
    let text = file.to_str().expect("UTF-8");
    let (code, _, err) = run(&["serve", "--listen", "127.0.0.1:0", "--data", text]);
    assert_eq!(code, Some(1));
    assert!(err.contains(&format!("data: {text}: cannot make the folder")), "{err}");
    let damaged = dir.path().join("damaged");
    Hub::start(&damaged, &[]).stop();
    std::fs::write(damaged.join("META"), "fanfare store 99\n").expect("written");
    let (code, _, err) =
        run(&["serve", "--listen", "127.0.0.1:0", "--data", damaged.to_str().expect("UTF-8")]);
    assert_eq!(code, Some(1));
    assert!(err.contains("META: it is of version 99"), "{err}");
}

#[test]
fn the_disk_is_counted() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = ["history.durability=always", "history.events=2"];
    let hub = Hub::start(dir.path(), &settings);
    for n in 0..10 {
        hub.publish("t", &n.to_string());
    }
    hub.read("t", "replay=all", None).take(10);
    let get = |path: &str| {
        let mut socket = connect(&hub.address);
        write!(socket.get_mut(), "GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n").expect("is sent");
        let mut text = String::new();
        socket.read_to_string(&mut text).expect("UTF-8");
        text
    };
    let stats = get("/stats");
    for part in
        ["\"store\":{", "\"events\":10", "\"pages\":1", "\"page_events\":10", "\"failing\":null", "-1\""]
    {
        assert!(stats.contains(part), "{part} in {stats}");
    }
    let metrics = get("/metrics");
    for part in [
        "fanfare_store_events 10\n",
        "fanfare_store_oldest 1\n",
        "fanfare_store_failing 0\n",
        "fanfare_store_write_seconds_count 10\n",
        "fanfare_store_pages_total 1\n",
    ] {
        assert!(metrics.contains(part), "{part} in {metrics}");
    }
    hub.stop();
    let hub = Hub::start(dir.path(), &["history.durability=always", "history.events=2", "log=warn"]);
    assert_eq!(
        hub.publish("t", "x").rsplit_once('-').map(|(_, n)| n.to_owned()),
        Some("11".to_owned()),
        "no hole after a stop"
    );
    hub.stop();
}

#[test]
fn a_full_disk_refuses_publishers_and_nothing_else() {
    let disk = Tmpfs::new();
    let settings = ["history.durability=always", "history.events=4"];
    let hub = Hub::start(&disk.path().join("data"), &settings);
    let ballast = disk.path().join("ballast");
    std::fs::write(&ballast, vec![1; 128 << 10]).expect("there is room");
    let mut live = hub.read("t", "", None);
    let mut socket = connect(&hub.address);
    let long = "x".repeat(4000);
    let mut taken = Vec::new();
    let refused = loop {
        match publish(&mut socket, "t", &format!("{} {long}", taken.len())).expect("an answer") {
            Ok(id) => taken.push(id),
            Err(refused) => break refused,
        }
        // At once: who is more than `history.events` behind is ended.
        assert_eq!(live.take(1)[0].id, taken[taken.len() - 1], "who reads has what was taken");
        assert!(taken.len() < 1_000, "the disk is never full");
    };
    assert!(refused.contains("\"not_stored\"") && refused.contains("No space left on device"), "{refused}");
    assert!(taken.len() > 10, "{}", taken.len());
    let ids = |events: Vec<Event>| events.into_iter().map(|event| event.id).collect::<Vec<_>>();
    assert_eq!(ids(hub.read("t", "replay=all", None).take(taken.len())), taken, "and who comes");
    assert!(publish(&mut socket, "t", &long).expect("an answer").is_err(), "it is still full");
    std::fs::remove_file(&ballast).expect("removed");
    taken.push(publish(&mut socket, "t", "room again").expect("an answer").expect("is taken"));
    assert_eq!(live.data(1), ["room again"], "without a restart, and nothing of what was refused");
    hub.kill();
    let hub = Hub::start(&disk.path().join("data"), &settings);
    assert_eq!(ids(hub.read("t", "replay=all", None).take(taken.len())), taken);
    hub.stop();
}

#[test]
fn topics_have_rules_of_their_own_and_can_be_deleted() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = ["history.topics=safe/* durability=always,few events=10", "history.sync_interval=60s"];
    let hub = Hub::start(dir.path(), &settings);
    let lost = hub.publish("loose", "waits for the interval");
    let safe = hub.publish("safe/1", "on disk");
    hub.kill();
    let hub = Hub::start(dir.path(), &settings);
    assert_eq!(hub.read("safe/1", "replay=all", None).take(1)[0].id, safe);
    // One sync was for both.
    assert_eq!(hub.read("loose", "replay=all", None).take(1)[0].id, lost);
    hub.publish("loose", "lost");
    hub.kill();
    let hub = Hub::start(dir.path(), &settings);
    let told = hub.read("loose", "", Some(&lost)).take(1).remove(0);
    assert_eq!(told.name, "fanfare.gap", "{told:?}");
    let second = hub.publish("safe/1", "second");
    let mut socket = connect(&hub.address);
    let mut delete = |query: &str| {
        let path = format!("/events/safe%2F1?{query}");
        write!(socket.get_mut(), "DELETE {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("is sent");
        answer(&mut socket).expect("an answer")
    };
    assert_eq!(delete("history=keep").0, 400);
    assert_eq!(delete("history=delete"), (200, "{\"deleted\":true}\n".to_owned()));
    let third = hub.publish("safe/1", "third");
    let mut back = hub.read("safe%2F1", "", Some(&safe));
    assert_eq!(back.take(1)[0].name, "fanfare.gap");
    assert_eq!(back.take(1)[0].id, third);
    assert_eq!(hub.read("safe%2F1", "", Some(&second)).take(1)[0].id, third, "who had it misses nothing");
    hub.stop();
    let text = dir.path().to_str().expect("UTF-8");
    let (code, out, err) = run(&["data", "delete", text, "safe/1"]);
    assert_eq!((code, out.as_str()), (Some(0), ""), "{err}");
    assert!(err.contains("the topic's events are deleted"), "{err}");
    let (_, exported, _) = run(&["data", "export", text]);
    assert!(exported.contains("waits for the interval") && !exported.contains("safe/1"), "{exported}");
    for name in std::fs::read_dir(dir.path()).expect("lists") {
        let bytes = std::fs::read(name.expect("a file").path()).expect("is read");
        assert!(!bytes.windows(5).any(|part| part == b"third"));
    }
    let (code, _, err) = run(&["serve", "--set", "history.topics=t durability=often"]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("history.topics") && err.contains("t durability=often"), "{err}");
}

#[test]
fn a_folder_that_cannot_be_used_is_dealt_with_as_configured() {
    let disk = Tmpfs::new();
    let data = disk.path().join("data");
    let serve = |on_fault: &str| {
        let on_fault = format!("data.on_fault={on_fault}");
        let text = data.to_str().expect("UTF-8").to_owned();
        run(&["serve", "--listen", "127.0.0.1:0", "--data", &text, "--set", &on_fault])
    };
    let goes_on = |on_fault: &str, kept: &[&str]| {
        let on_fault = format!("data.on_fault={on_fault}");
        let hub = Hub::start(&data, &[&on_fault, "history.durability=always"]);
        let new = hub.publish("t", "new");
        let mut stream = hub.read("t", "replay=all", None);
        let seen = stream.take(kept.len() + 1);
        assert_eq!(seen.last().expect("one").id, new);
        let events = seen[..kept.len()].iter().map(|event| match &*event.name {
            "" => &*event.data,
            name => name,
        });
        assert_eq!(events.collect::<Vec<_>>(), kept, "{on_fault}");
        hub.kill();
    };
    let hub = Hub::start(&data, &["history.durability=always"]);
    for text in ["first", "second", "third"] {
        hub.publish("t", text);
    }
    hub.stop();
    goes_on("strict", &["first", "second", "third"]);
    // A bit of an event.
    let log = data.join("0000000001.log");
    let mut bytes = std::fs::read(&log).expect("is read");
    let at = bytes.windows(6).position(|part| part == b"second").expect("is there");
    bytes[at] ^= 1;
    std::fs::write(&log, &bytes).expect("is written");
    let (code, _, err) = serve("strict");
    assert_eq!(code, Some(1));
    assert!(err.contains("0000000001.log: byte") && err.contains("events are damaged or missing"), "{err}");
    goes_on("refuse", &["first", "fanfare.gap", "third", "new"]);
    goes_on("memory", &["first", "fanfare.gap", "third", "new", "new"]);
    // A file system that cannot be written.
    let remount = |how: &str| {
        let mut mount = std::process::Command::new("mount");
        assert!(mount.args(["-o", how]).arg(disk.path()).status().expect("runs mount").success());
    };
    remount("remount,ro");
    for on_fault in ["refuse", "strict"] {
        let (code, _, err) = serve(on_fault);
        assert_eq!(code, Some(1));
        assert!(err.contains("Read-only file system") && err.contains("LOCK"), "{err}");
    }
    goes_on("memory", &[]);
    remount("remount,rw");
    // What cannot be read around.
    std::fs::write(data.join("META"), "nonsense").expect("is written");
    let (code, _, err) = serve("refuse");
    assert_eq!(code, Some(1));
    assert!(err.contains("META: byte 0"), "{err}");
    goes_on("memory", &[]);
    assert_eq!(std::fs::read(data.join("META")).expect("is read"), b"nonsense", "nothing is changed");
}

#[test]
fn replaying_readers_share_one_bound() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = ["history.replay_bytes=64KiB", "history.events=10"];
    let hub = Hub::start(dir.path(), &settings);
    for batch in 0..4 {
        hub.publish_all("t", (0..500).map(|n| format!("{} {}", batch * 500 + n, "x".repeat(500))));
    }
    // The first ones come to a stop when their sockets are full, and the last ones get everything all the same.
    let mut readers: Vec<_> = (0..6).map(|_| hub.read("t", "replay=all", None)).collect();
    for reader in readers.iter_mut().rev() {
        for n in 0..2_000 {
            assert!(reader.next().expect("an event").data.starts_with(&format!("{n} ")));
        }
    }
    hub.stop();
}
