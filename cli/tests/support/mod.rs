//! What the tests of the program share: running it with a clean environment, and a hub on a free port.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "compiled into several test programs, each of which uses a part"
)]

pub mod crash;
pub mod history;
pub mod state;

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// A watchdog far above what anything here takes: it turns a hang into a failure.
pub const WATCHDOG: Duration = Duration::from_secs(60);

/// The program, with no configuration from outside.
pub fn fanfare(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FANFARE_") {
            command.env_remove(name);
        }
    }
    // What is compiled is kept from test to test, and out of the folder of whoever runs them.
    command.env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the program to its end: exit code, standard output, standard error.
pub fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    finished(fanfare(arguments).output().expect("the program starts"))
}

/// As [`run`], in a process that may have so many descriptors.
pub fn run_with_descriptors(limit: u32, arguments: &[&str]) -> (Option<i32>, String, String) {
    let program = fanfare(arguments);
    let mut limited = Command::new("sh");
    limited.arg("-c").arg(format!("ulimit -n {limit} && exec \"$0\" \"$@\"")).arg(program.get_program());
    limited.args(program.get_args()).stdin(Stdio::null());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    finished(limited.output().expect("a shell"))
}

/// As [`run`], with text on standard input.
pub fn run_with_input(arguments: &[&str], input: &[u8]) -> (Option<i32>, String, String) {
    use std::io::Write as _;

    let mut child = fanfare(arguments).stdin(Stdio::piped()).spawn().expect("the program starts");
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_vec();
    // In a thread, because both sides may fill their pipes; the program may also end without reading it all.
    let writer = thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("writer");
    finished(output)
}

fn finished(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A program that runs beside the test; killed when dropped.
pub struct Running {
    pub child: Child,
    /// Lines of standard output and standard error, without their ends.
    pub out: Lines,
    pub err: Lines,
}

impl Running {
    pub fn start(arguments: &[&str]) -> Self {
        Self::spawn(fanfare(arguments))
    }

    pub fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().expect("the program starts");
        let out = Lines::of(child.stdout.take().expect("piped"));
        let err = Lines::of(child.stderr.take().expect("piped"));
        Self { child, out, err }
    }

    /// Sends a signal by name, as `kill` takes it.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.expect("kill").success(), "kill -{name}");
    }

    /// Waits for the end: the exit code, or the negated number of the signal that ended it.
    pub fn end(&mut self) -> i32 {
        use std::os::unix::process::ExitStatusExt as _;

        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("wait") {
                return status.code().unwrap_or_else(|| -status.signal().expect("code or signal"));
            }
            assert!(start.elapsed() < WATCHDOG, "it does not end");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lines as they come.
pub struct Lines(Mutex<Receiver<String>>);

impl Lines {
    fn of(stream: impl std::io::Read + Send + 'static) -> Self {
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stream).lines() {
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self(Mutex::new(receiver))
    }

    fn within(&self, time: Duration) -> Result<String, mpsc::RecvTimeoutError> {
        self.0.lock().expect("no panic").recv_timeout(time)
    }

    /// The next line.
    pub fn next(&self) -> String {
        self.within(WATCHDOG).expect("a line")
    }

    /// The next line that contains `part`; others are passed over.
    pub fn find(&self, part: &str) -> String {
        loop {
            let line = self.within(WATCHDOG).unwrap_or_else(|_| panic!("no line with {part:?}"));
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Everything up to the end of the stream.
    pub fn rest(&self) -> Vec<String> {
        std::iter::from_fn(|| self.within(WATCHDOG).ok()).collect()
    }
}

/// A hub on a free loopback port whose readers come back fast.
pub struct Hub {
    pub running: Running,
    pub url: String,
}

impl Hub {
    pub fn start() -> Self {
        Self::start_on("127.0.0.1:0", &[])
    }

    pub fn start_on(address: &str, more: &[&str]) -> Self {
        let mut arguments = vec![
            "serve",
            "--listen",
            address,
            "--set",
            "retry=0",
            "--set",
            "retry.jitter=0",
            "--set",
            "timeouts.stop=1",
        ];
        arguments.extend_from_slice(more);
        let running = Running::start(&arguments);
        let line = running.out.next();
        let url = line.rsplit(' ').next().expect("a word").to_owned();
        assert_eq!(line, format!("fanfare {} listening on {url}", env!("CARGO_PKG_VERSION")));
        Self { running, url }
    }

    /// Address and port.
    pub fn address(&self) -> &str {
        self.url.strip_prefix("http://").expect("http")
    }

    /// `fanfare sub` with these arguments, once the hub counts `streams` open streams.
    pub fn subscribed(&self, arguments: &[&str], streams: u64) -> Running {
        let mut all = vec!["sub", "--url", &self.url];
        all.extend_from_slice(arguments);
        let running = Running::start(&all);
        self.wait_for_streams(streams);
        running
    }

    /// Waits until so many streams are open.
    pub fn wait_for_streams(&self, streams: u64) {
        let start = Instant::now();
        while self.stats()["streams"]["open"] != streams {
            assert!(start.elapsed() < WATCHDOG, "never {streams} streams: {}", self.stats());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// What `/stats` says.
    pub fn stats(&self) -> serde_json::Value {
        let answer = self.get("/stats");
        let (_, body) = answer.split_once("\r\n\r\n").expect("head and body");
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }

    /// The answer to a request without a body, head included.
    pub fn request(&self, method: &str, path: &str) -> String {
        use std::io::Write as _;

        let mut stream = std::net::TcpStream::connect(self.address()).expect("the hub listens");
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    pub fn get(&self, path: &str) -> String {
        self.request("GET", path)
    }

    /// Publishes with `fanfare pub` and gives the id.
    pub fn publish(&self, arguments: &[&str]) -> String {
        let mut all = vec!["pub", "--url", &self.url];
        all.extend_from_slice(arguments);
        let (code, out, err) = run(&all);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{arguments:?}");
        out.trim_end().to_owned()
    }
}
