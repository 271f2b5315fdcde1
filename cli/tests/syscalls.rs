//! With `history.durability` = `always`, the order of system calls, as strace sees it: the event's bytes are written, then
//! synced, and a new file's name too, and only then its publisher gets the answer. Nothing but this shows it: a process
//! that is killed loses nothing that it has written, synced or not.

mod support;

use std::collections::HashMap;
use std::io::Write as _;
use std::process::Command;
use std::thread;

use support::history::{answer, connect};
use support::{Running, fanfare};

const EVENTS: usize = 1_000;
const AT_ONCE: usize = 8;

#[test]
fn every_answer_comes_after_the_sync_of_its_event() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("data");
    let trace = dir.path().join("trace");
    let mut hub = traced(&data, &trace);
    let line = hub.out.next();
    let (_, address) = line.split_once("http://").unwrap_or_else(|| panic!("no address in {line:?}"));
    let address = address.trim_end_matches('/');
    let mut ids = HashMap::new();
    thread::scope(|scope| {
        let publish = |thread: usize| {
            let mut socket = connect(address);
            let event = |n: usize| {
                // Names itself in what is written, and is large enough for files to be filled.
                let data = format!("event:{n}; {}", "x".repeat(100));
                let length = data.len();
                let head =
                    format!("POST /events/t HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n");
                socket.get_mut().write_all(format!("{head}{data}").as_bytes()).expect("is sent");
                let (status, body) = answer(&mut socket).expect("an answer");
                assert_eq!(status, 200, "{body}");
                (body.split('"').nth(3).expect("an id").to_owned(), n)
            };
            (thread..EVENTS).step_by(AT_ONCE).map(event).collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..AT_ONCE).map(|thread| scope.spawn(move || publish(thread))).collect();
        for thread in threads {
            ids.extend(thread.join().expect("publishes"));
        }
    });
    assert_eq!(ids.len(), EVENTS, "every answer has an id of its own");
    // The hub, not the tracer: the first process in the trace.
    let text = std::fs::read_to_string(&trace).expect("a trace");
    let pid = text.split_whitespace().next().expect("a process").to_owned();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
    assert_eq!(hub.end(), 0);
    let text = std::fs::read_to_string(&trace).expect("a trace");
    let seen = Seen::through(&text, &ids, data.to_str().expect("UTF-8"));
    assert_eq!(seen.answers, EVENTS, "every answer is found in the trace");
    assert!(seen.files > 2, "new files are among it: {}", seen.files);
}

/// A hub under strace. Where tracing is not permitted, this fails.
fn traced(data: &std::path::Path, trace: &std::path::Path) -> Running {
    let calls = "trace=openat,pwrite64,fdatasync,fsync,write,writev,sendto,sendmsg";
    let data = data.to_str().expect("UTF-8");
    let set = [
        "--set",
        "history.durability=always",
        "--set",
        "store.segment_bytes=32KiB",
        "--set",
        "console=false",
    ];
    let hub = fanfare(&[&["serve", "--listen", "127.0.0.1:0", "--data", data], &set[..]].concat());
    let mut strace = Command::new("strace");
    strace.args(["-f", "-ttt", "-s", "65536", "-e", calls, "-o"]).arg(trace).arg(hub.get_program());
    strace.args(hub.get_args());
    for (name, value) in hub.get_envs() {
        match value {
            Some(value) => strace.env(name, value),
            None => strace.env_remove(name),
        };
    }
    strace.stdin(std::process::Stdio::null());
    strace.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    Running::spawn(strace)
}

/// What is known of a file at a moment of the trace.
#[derive(Default)]
struct File {
    /// Events whose bytes are written, and not known to be on disk.
    written: Vec<usize>,
    /// Its name may not be on disk.
    is_new: bool,
}

#[derive(Default)]
struct Seen {
    files_by_number: HashMap<String, File>,
    folders: Vec<String>,
    safe: Vec<usize>,
    /// What was in a file when a sync of it began, by thread.
    syncing: HashMap<String, Vec<usize>>,
    answers: usize,
    files: usize,
}

impl Seen {
    /// Goes through a trace and fails at the first answer to an event that is not on disk.
    fn through(text: &str, ids: &HashMap<String, usize>, data: &str) -> Self {
        let mut seen = Self::default();
        let mut unfinished: HashMap<String, String> = HashMap::new();
        for line in text.lines() {
            let Some((thread, rest)) = line.split_once(' ') else { continue };
            let Some((_, call)) = rest.trim_start().split_once(' ') else { continue };
            if let Some(begun) = call.strip_suffix(" <unfinished ...>") {
                seen.begin(thread, begun, ids);
                unfinished.insert(thread.to_owned(), begun.to_owned());
            } else if call.starts_with("<... ") {
                let rest = call.split_once(" resumed>").map_or("", |(_, rest)| rest);
                let begun = unfinished.remove(thread).unwrap_or_default();
                seen.end(thread, &format!("{begun}{rest}"), data);
            } else {
                seen.begin(thread, call, ids);
                seen.end(thread, call, data);
            }
        }
        seen
    }

    /// A call begins: a sync is for what has been written by now, and an answer has to be for what is on disk by now.
    fn begin(&mut self, thread: &str, call: &str, ids: &HashMap<String, usize>) {
        let (name, rest) = call.split_once('(').unwrap_or_default();
        let number = rest.split([',', ')']).next().unwrap_or_default();
        match name {
            "fdatasync" | "fsync" => {
                let written = self.files_by_number.get(number).map(|file| file.written.clone());
                self.syncing.insert(thread.to_owned(), written.unwrap_or_default());
            }
            "write" | "writev" | "sendto" | "sendmsg" => {
                for part in rest.split("{\\\"id\\\":\\\"").skip(1) {
                    let id = part.split('\\').next().unwrap_or_default();
                    let event = ids.get(id).unwrap_or_else(|| panic!("an answer that nobody got: {call}"));
                    assert!(
                        self.safe.contains(event),
                        "event {event} is answered before it is on disk: {call}"
                    );
                    self.answers += 1;
                }
            }
            _ => {}
        }
    }

    /// A call has ended.
    fn end(&mut self, thread: &str, call: &str, data: &str) {
        let (name, rest) = call.split_once('(').unwrap_or_default();
        let result = call.rsplit(" = ").next().unwrap_or_default();
        let number = rest.split([',', ')']).next().unwrap_or_default().to_owned();
        match name {
            "openat" if !result.starts_with('-') => {
                let path = rest.split('"').nth(1).unwrap_or_default();
                self.folders.retain(|folder| folder != result);
                self.files_by_number.remove(result);
                if path == data {
                    self.folders.push(result.to_owned());
                } else if path.ends_with(".log") && rest.contains("O_CREAT") {
                    self.files += 1;
                    self.files_by_number.insert(result.to_owned(), File { is_new: true, ..File::default() });
                }
            }
            "pwrite64" => {
                let events = call.split("event:").skip(1);
                let numbers = events.filter_map(|part| part.split(';').next()?.parse::<usize>().ok());
                self.files_by_number.entry(number).or_default().written.extend(numbers);
            }
            "fdatasync" if result == "0" => {
                let written = self.syncing.remove(thread).unwrap_or_default();
                if let Some(file) = self.files_by_number.get_mut(&number) {
                    assert!(
                        !file.is_new || written.is_empty(),
                        "a file is used whose name is not on disk: {call}"
                    );
                    file.written.retain(|event| !written.contains(event));
                    self.safe.extend(written);
                }
            }
            "fsync" if result == "0" && self.folders.contains(&number) => {
                self.files_by_number.values_mut().for_each(|file| file.is_new = false);
            }
            _ => {}
        }
    }
}

#[test]
fn an_answer_before_its_sync_is_found() {
    let ids = HashMap::from([("e-1".to_owned(), 7)]);
    let write = "1 1.0 openat(AT_FDCWD, \"/d/1.log\", O_RDWR|O_CREAT, 0666) = 5\n1 1.0 openat(AT_FDCWD, \"/d\", 0) = 6\n\
                 1 1.0 fsync(6) = 0\n1 1.1 pwrite64(5, \"event:7; x\", 9, 0) = 9\n";
    let sync = "1 1.2 fdatasync(5) = 0\n";
    let answer = "2 1.3 sendto(9, \"{\\\"id\\\":\\\"e-1\\\"}\", 12, 0, NULL, 0) = 12\n";
    let early = "1 1.2 fdatasync(5 <unfinished ...>\n";
    let ended = "1 1.4 <... fdatasync resumed>) = 0\n";
    assert_eq!(Seen::through(&format!("{write}{sync}{answer}"), &ids, "/d").answers, 1);
    assert_eq!(Seen::through(&format!("{write}{early}{ended}{answer}"), &ids, "/d").answers, 1);
    for bad in [
        format!("{write}{answer}{sync}"),
        format!("{write}{early}{answer}{ended}"),
        format!("{sync}{write}{answer}"),
    ] {
        let found = thread::spawn({
            let ids = ids.clone();
            move || Seen::through(&bad, &ids, "/d").answers
        });
        assert!(found.join().is_err());
    }
}
