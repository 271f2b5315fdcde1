//! A hub with its history on disk, as its clients see it.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "compiled into several test programs, each of which uses a part"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use super::{Running, WATCHDOG, run};

/// A hub with its history in a folder.
pub struct Hub {
    running: Running,
    pub address: String,
}

impl Hub {
    pub fn start(dir: &Path, settings: &[&str]) -> Self {
        let dir = dir.to_str().expect("UTF-8");
        let mut arguments = vec!["serve", "--listen", "127.0.0.1:0", "--data", dir, "--set", "console=false"];
        for setting in settings {
            arguments.extend(["--set", setting]);
        }
        let running = Running::start(&arguments);
        let line = running.out.next();
        let (_, address) = line.split_once("http://").unwrap_or_else(|| panic!("no address in {line:?}"));
        Self { address: address.trim_end_matches('/').to_owned(), running }
    }

    /// As a power button does to a process.
    pub fn kill(mut self) {
        self.running.signal("KILL");
        assert_eq!(self.running.end(), -9);
    }

    pub fn stop(mut self) {
        self.running.signal("TERM");
        assert_eq!(self.running.end(), 0);
    }

    pub fn publish(&self, topic: &str, data: &str) -> String {
        publish(&mut connect(&self.address), topic, data).expect("an answer").expect("is taken")
    }

    /// Many events at once, each line its data.
    pub fn publish_all(&self, topic: &str, lines: impl Iterator<Item = String>) {
        let body: String = lines.map(|data| format!("{{\"data\":\"{data}\"}}\n")).collect();
        let mut socket = connect(&self.address);
        write!(
            socket.get_mut(),
            "POST /events/{topic} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        )
        .expect("is sent");
        let (status, body) = answer(&mut socket).expect("an answer");
        assert_eq!(status, 200, "{body}");
    }

    /// Takes every descriptor from the process that it does not have already, until [`give_descriptors`](Self::give_descriptors).
    pub fn take_descriptors(&self) {
        let have = std::fs::read_dir(format!("/proc/{}/fd", self.running.child.id())).expect("it runs");
        let have: std::collections::BTreeSet<u32> =
            have.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
        // A new one would get the lowest number that is free.
        let free = (0..).find(|number| !have.contains(number)).expect("there are not so many");
        self.limit_descriptors(&format!("{free}:"));
    }

    pub fn give_descriptors(&self) {
        self.limit_descriptors("1024:");
    }

    fn limit_descriptors(&self, limit: &str) {
        let pid = self.running.child.id().to_string();
        let mut prlimit = Command::new("prlimit");
        let status = prlimit.args(["--pid", &pid, &format!("--nofile={limit}")]).status();
        assert!(status.expect("prlimit runs").success(), "{limit}");
    }

    /// Memory that the process holds, in KiB.
    pub fn resident(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most memory that the process has ever held, in KiB.
    pub fn resident_at_most(&self) -> u64 {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> u64 {
        let path = format!("/proc/{}/status", self.running.child.id());
        let status = std::fs::read_to_string(path).expect("it runs");
        let line = status.lines().find(|line| line.starts_with(name)).expect("has it");
        line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("a number")
    }

    /// What `/stats` says of its store.
    pub fn store(&self) -> serde_json::Value {
        let mut socket = connect(&self.address);
        write!(socket.get_mut(), "GET /stats HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("is sent");
        let (_, body) = answer(&mut socket).expect("an answer");
        serde_json::from_str::<serde_json::Value>(&body).expect("JSON")["store"].clone()
    }

    pub fn read(&self, topic: &str, query: &str, last_event_id: Option<&str>) -> Stream {
        self.read_path(&format!("/events/{topic}?{query}"), last_event_id)
    }

    pub fn read_path(&self, path: &str, last_event_id: Option<&str>) -> Stream {
        let mut socket = connect(&self.address);
        let id = last_event_id.map_or(String::new(), |id| format!("last-event-id: {id}\r\n"));
        // HTTP/1.0: the stream as it is, without chunks.
        write!(socket.get_mut(), "GET {path} HTTP/1.0\r\nhost: localhost\r\n{id}\r\n").expect("is sent");
        let mut line = String::new();
        while socket.read_line(&mut line).expect("a head") > 2 {
            line.clear();
        }
        Stream(socket)
    }
}

pub fn connect(address: &str) -> BufReader<TcpStream> {
    let socket = TcpStream::connect(address).expect("it listens");
    socket.set_read_timeout(Some(WATCHDOG)).expect("a timeout");
    BufReader::new(socket)
}

/// Sends a request without a body, method and path, of HTTP/1.0: the connection ends with the answer.
pub fn send(socket: &mut BufReader<TcpStream>, request: &str) {
    write!(socket.get_mut(), "{request} HTTP/1.0\r\nhost: localhost\r\n\r\n").expect("is sent");
}

/// The id that an event got, or the error; nothing if the hub has gone meanwhile.
pub fn publish(socket: &mut BufReader<TcpStream>, topic: &str, data: &str) -> Option<Result<String, String>> {
    let head =
        format!("POST /events/{topic} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", data.len());
    socket.get_mut().write_all(format!("{head}{data}").as_bytes()).ok()?;
    let (status, body) = answer(socket)?;
    Some(match status {
        200 => Ok(body.split('"').nth(3).expect("an id").to_owned()),
        _ => Err(body),
    })
}

pub fn answer(socket: &mut BufReader<TcpStream>) -> Option<(u16, String)> {
    let mut line = String::new();
    socket.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let status = line.split(' ').nth(1)?.parse().ok()?;
    let mut length = 0;
    loop {
        line.clear();
        socket.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let Some((name, value)) = line.split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body).ok()?;
    Some((status, String::from_utf8(body).ok()?))
}

/// An event stream.
pub struct Stream(BufReader<TcpStream>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    pub name: String,
    pub id: String,
    pub data: String,
}

impl Stream {
    /// The next event; none at the end.
    pub fn next(&mut self) -> Option<Event> {
        let (mut event, mut line) = (Event::default(), String::new());
        loop {
            line.clear();
            self.0.read_line(&mut line).ok().filter(|read| *read > 0)?;
            let text = line.strip_suffix('\n')?;
            match text.split_once(": ") {
                Some(("event", name)) => event.name = name.to_owned(),
                Some(("id", id)) => event.id = id.to_owned(),
                Some(("data", data)) => event.data = data.to_owned(),
                _ if text.is_empty() && !event.id.is_empty() => return Some(event),
                _ => {}
            }
        }
    }

    pub fn take(&mut self, count: usize) -> Vec<Event> {
        (0..count)
            .map(|n| self.next().unwrap_or_else(|| panic!("the stream ends after {n} of {count}")))
            .collect()
    }

    pub fn data(&mut self, count: usize) -> Vec<String> {
        self.take(count).into_iter().map(|event| event.data).collect()
    }
}

pub fn position(id: &str) -> u64 {
    id.rsplit_once('-').and_then(|(_, digits)| digits.parse().ok()).unwrap_or_else(|| panic!("an id: {id:?}"))
}

/// Numbers that look random, the same in every run.
pub fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Kills a hub under load `rounds` times, with durability `always`: every acknowledged event is there, in order, once, and a
/// reader that resumes after each kill has no hole.
pub fn killed_it_loses_nothing(rounds: u64) {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = ["history.durability=always", "history.events=50", "store.segment_bytes=64KiB"];
    let acknowledged = Mutex::new(Vec::new());
    let mut seed = 0x9e37_79b9_7f4a_7c15;
    let mut got: Vec<Event> = Vec::new();
    for round in 0..rounds {
        let hub = Hub::start(dir.path(), &settings);
        let pause = Duration::from_millis(20 + random(&mut seed) % 250);
        let mut reader = hub.read("t", "replay=all", got.last().map(|event| event.id.as_str()));
        thread::scope(|scope| {
            for publisher in 0..4 {
                // Connected before it may be killed.
                let (mut socket, acknowledged) = (connect(&hub.address), &acknowledged);
                scope.spawn(move || {
                    for n in 0.. {
                        let data = format!("{round}/{publisher}/{n}");
                        match publish(&mut socket, "t", &data) {
                            None => return,
                            Some(answer) => {
                                let id = answer.expect("is taken");
                                acknowledged.lock().expect("no panic").push((id, data));
                            }
                        }
                    }
                });
            }
            let reading = scope.spawn(move || std::iter::from_fn(|| reader.next()).collect::<Vec<_>>());
            thread::sleep(pause);
            hub.kill();
            got.extend(reading.join().expect("no panic"));
        });
    }
    let hub = Hub::start(dir.path(), &settings);
    let end = hub.publish("t", "end");
    let rest = |stream: &mut Stream| {
        let mut all = Vec::new();
        while all.last().is_none_or(|event: &Event| event.id != end) {
            all.extend(stream.take(1));
        }
        all
    };
    let all = rest(&mut hub.read("t", "replay=all", None));
    got.extend(rest(&mut hub.read("t", "replay=all", got.last().map(|event| event.id.as_str()))));
    assert!(all.iter().all(|event| event.name.is_empty()), "no gap notice: nothing was lost");
    assert!(all.windows(2).all(|two| position(&two[0].id) < position(&two[1].id)), "in order, each once");
    let acknowledged = acknowledged.into_inner().expect("no panic");
    assert!(acknowledged.len() > rounds as usize, "{} events", acknowledged.len());
    let stored: std::collections::HashMap<&str, &str> =
        all.iter().map(|event| (event.id.as_str(), event.data.as_str())).collect();
    for (id, data) in &acknowledged {
        assert_eq!(stored.get(id.as_str()), Some(&data.as_str()), "{id} was acknowledged");
    }
    assert_eq!(got, all, "a reader that resumed after every kill has the same, without hole or double");
    hub.stop();
    let (code, out, err) = run(&["data", "check", dir.path().to_str().expect("UTF-8")]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.starts_with(&format!("{} events\n", all.len())), "{out}");
}

/// A small file system of its own; unmounted at the end.
pub struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    pub fn new() -> Self {
        Self::of(512)
    }

    /// With room for so many KiB.
    pub fn of(kib: u32) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let mut mount = Command::new("mount");
        let size = format!("size={kib}k");
        let mounted = mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path()).status();
        assert!(
            mounted.expect("runs mount").success(),
            "this test mounts a small tmpfs, for which it has to be root"
        );
        Self(dir)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // A folder that stays mounted is told by its removal, which fails.
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}
