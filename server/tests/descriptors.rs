//! Descriptors run out: the accept loop neither spins nor dies, open streams go on, and new connections are served when there is room again
//! (checklist L5).
//!
//! The limit holds for a process, so the hub runs in one of its own: this very test program, started again with fewer descriptors.

mod support;

use std::io::{BufRead, BufReader, Lines, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use support::{Conn, Hub, wait_until};

/// Descriptors of the process with the hub.
const LIMIT: usize = 96;

/// What the child writes before its address.
const MARK: &str = "listening on ";

#[test]
#[ignore = "the other half of the test below, which starts it in a process with few descriptors"]
fn child() {
    let hub = Hub::start();
    println!("{MARK}{}", hub.addr);
    // Until the parent closes the pipe.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

struct Process {
    child: Child,
    addr: SocketAddr,
    /// Held open: what the child says last would fail otherwise.
    _output: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start() -> Process {
        let program = std::env::current_exe().expect("this program");
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(format!("ulimit -n {LIMIT} && exec \"$0\" --exact child --ignored --nocapture"))
            .arg(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let mut output = BufReader::new(child.stdout.take().expect("its output")).lines();
        let found =
            output.by_ref().map_while(Result::ok).find_map(|line| Some(line.split_once(MARK)?.1.to_owned()));
        let addr = found.and_then(|text| text.trim().parse().ok()).expect("its address");
        Process { child, addr, _output: output }
    }

    /// Processor time of all its threads so far.
    fn processor(&self) -> Duration {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("its threads");
        let nanos = tasks.map_while(Result::ok).filter_map(|task| {
            std::fs::read_to_string(task.path().join("schedstat"))
                .ok()?
                .split(' ')
                .next()?
                .parse::<u64>()
                .ok()
        });
        Duration::from_nanos(nanos.sum())
    }

    fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).map_or(0, Iterator::count)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

#[test]
fn running_out_of_descriptors_harms_nobody_who_is_connected() {
    let process = Process::start();
    let mut conn = Conn::to(process.addr);
    conn.send("GET /events/t HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut reader = conn.into_stream();
    let mut publisher = Conn::to(process.addr);
    let mut publish = |data: &str| {
        publisher.send(support::post("/events/t", "", data));
        assert_eq!(publisher.response(false).expect("an answer").status, 200);
    };
    publish("before");

    let mut crowd: Vec<Conn> = (0..LIMIT * 2).map(|_| Conn::to(process.addr)).collect();
    wait_until("the table is full", || process.descriptors() >= LIMIT - 1);
    // Connections wait that cannot be accepted. A loop that tries again at once would take a whole core.
    let (used, since) = (process.processor(), Instant::now());
    std::thread::sleep(Duration::from_secs(2));
    let share = (process.processor() - used).as_secs_f64() / since.elapsed().as_secs_f64();
    assert!(share < 0.2, "{:.0} % of a core while nothing can be accepted", share * 100.0);
    publish("meanwhile");
    assert_eq!(reader.datas(2), ["before", "meanwhile"]);

    crowd.clear();
    let mut late = Conn::to(process.addr);
    late.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(late.response(false).expect("an answer").status, 200);
    wait_until("the crowd's descriptors are back", || process.descriptors() < LIMIT / 2);
}
