//! `kill -9` at random moments, and a disk that is full: with real processes and real files.
//!
//! It has a `main` of its own because it is two programs: started with a folder in `FANFARE_STORE_WRITER` it publishes
//! and prints each position that it has an answer for, until somebody kills it; else it starts that and checks.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fanfare_engine::Draft;
use fanfare_store::{Config, Durability, ErrorKind, PageLimits, Store, Topics};

const WRITER: &str = "FANFARE_STORE_WRITER";
/// `FANFARE_STORE_KILLS` sets another number, as the soak does.
const ROUNDS: u64 = 12;

fn main() {
    if let Some(dir) = std::env::var_os(WRITER) {
        return write(Path::new(&dir));
    }
    let rounds = std::env::var("FANFARE_STORE_KILLS").map_or(ROUNDS, |text| text.parse().expect("a number"));
    killed_writers_lose_nothing(rounds);
    a_full_disk_refuses_and_recovers();
    println!("kill: {rounds} rounds, disk full: ok");
}

fn config() -> Config {
    Config { durability: Durability::Always, segment_bytes: 16 * 1024, max_bytes: 0, ..Config::default() }
}

/// The writer: four publishers, each line of output one answered position.
fn write(dir: &Path) {
    let store = Store::open(dir, config()).expect("opens");
    std::thread::scope(|scope| {
        for publisher in 0..4 {
            let store = &store;
            scope.spawn(move || {
                let topic = format!("t{publisher}");
                loop {
                    let events = [Draft::new(&*topic, "first"), Draft::new(&*topic, "second")];
                    let first = store.append(&events, &[], 0).expect("stored");
                    // Whoever is killed between the two lines has an answered event that nobody knows of.
                    println!("{first}");
                }
            });
        }
    });
}

fn killed_writers_lose_nothing(rounds: u64) {
    let dir = tempfile::tempdir().expect("a folder");
    let mut answered = Vec::new();
    for round in 0..rounds {
        let mut writer = start(dir.path());
        let output = BufReader::new(writer.stdout.take().expect("a pipe"));
        let reader = std::thread::spawn(move || {
            output.lines().map_while(|line| line.ok()?.parse::<u64>().ok()).collect::<Vec<_>>()
        });
        // The moment differs from round to round; it may be while the store is opened.
        std::thread::sleep(Duration::from_millis(20 + round * 37 % 120));
        writer.kill().expect("kills it");
        writer.wait().expect("it ends");
        let new = reader.join().expect("its lines");
        let highest = answered.iter().copied().max().unwrap_or(0);
        assert!(
            new.iter().all(|position| *position > highest),
            "round {round}: a position was given out twice"
        );
        answered.extend(new);

        let store = Store::open(dir.path(), config()).expect("opens after a kill");
        let positions = positions(&store);
        assert!(positions.is_sorted_by(|a, b| a < b), "round {round}: order");
        for first in &answered {
            for position in [*first, first + 1] {
                assert!(positions.binary_search(&position).is_ok(), "round {round}: {position} is lost");
            }
        }
        assert_eq!(positions.len() % 2, 0, "round {round}: half a transaction");
        let report = store.check().expect("checks");
        assert!(report.damages.iter().all(|damage| damage.positions.is_none()), "{report:?}");
    }
    assert!(answered.len() as u64 > rounds, "the writers have hardly written: {}", answered.len());
}

fn start(dir: &Path) -> Child {
    let program = std::env::current_exe().expect("this program");
    Command::new(program).env(WRITER, dir).stdout(Stdio::piped()).spawn().expect("starts the writer")
}

fn positions(store: &Store) -> Vec<u64> {
    let (mut after, mut positions) = (0, Vec::new());
    loop {
        let page =
            store.page(Topics::All, after, PageLimits { events: 1000, bytes: 1 << 20 }).expect("a page");
        positions.extend(page.events.iter().map(|event| event.position));
        after = page.through;
        if !page.more {
            return positions;
        }
    }
}

/// A small file system of its own; unmounted at the end.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
            .arg(dir.path())
            .status()
            .expect("runs mount");
        assert!(mounted.success(), "this test mounts a small tmpfs, for which it has to be root");
        Self(dir)
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // A folder that stays mounted is told by its removal, which fails.
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

fn a_full_disk_refuses_and_recovers() {
    let disk = Tmpfs::new();
    let dir = disk.0.path().join("store");
    let store = Store::open(&dir, config()).expect("opens");
    let ballast = disk.0.path().join("ballast");
    std::fs::write(&ballast, vec![1; 64 * 1024]).expect("there is room");
    let data = "x".repeat(1000);
    let mut stored = Vec::new();
    let error = loop {
        match store.append(&[Draft::new("t", &*data)], &[], 0) {
            Ok(position) => stored.push(position),
            Err(error) => break error,
        }
        assert!(stored.len() < 1000, "the disk is never full");
    };
    assert_eq!(error.kind(), ErrorKind::DiskFull, "{error}");
    assert!(error.file().starts_with(&dir), "{error}");
    for _ in 0..10 {
        assert!(store.append(&[Draft::new("t", &*data)], &[], 0).is_err(), "it is still full");
        assert_eq!(positions(&store), stored, "readers are unharmed");
    }
    std::fs::remove_file(&ballast).expect("removes it");
    for _ in 0..10 {
        stored.push(store.append(&[Draft::new("t", &*data)], &[], 0).expect("there is room again"));
    }
    assert_eq!(positions(&store), stored);
    drop(store);
    let store = Store::open(&dir, config()).expect("opens again");
    assert_eq!(positions(&store), stored);
    std::io::stdout().flush().expect("prints");
}
