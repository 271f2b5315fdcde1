//! How long a hub with fifty handlers takes to start: the first time, when they are compiled, and later, when their code comes from the
//! cache.
//!
//! `cargo xtask guests && cargo bench -p fanfare-hub --features wasm-jit --bench handlers`
//!
//! The handlers are the examples in C, Rust and JavaScript, in turn, each made different by a section or a comment that nobody reads,
//! so that each is compiled and kept on its own (scripts share their engine). Measured is all of `Hub::start`. The processor time, of all
//! threads, is what it would take one processor alone; unlike the other figures it says little about what else the machine does.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fanfare_hub::{Hub, Loader};

const HANDLERS: usize = 50;
/// Starts with a filled cache; the median is told, and the extremes.
const STARTS: usize = 31;

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    for (what, examples) in [
        ("C and Rust", [built("c"), built("rust")].concat()),
        ("JavaScript", scripts()),
        ("all of them", [built("c"), built("rust"), scripts()].concat()),
    ] {
        run(what, &examples, &folder.path().join(what));
    }
}

fn run(what: &str, examples: &[PathBuf], folder: &Path) {
    fs::create_dir_all(folder).expect("a folder");
    let handlers: Vec<String> = (0..HANDLERS)
        .map(|number| {
            let file = different(&examples[number % examples.len()], number, folder);
            format!("topic-{number}={}", file.display())
        })
        .collect();
    let cache = folder.join("cache");
    let first = start(&handlers, &cache);
    let before = processor_time();
    let mut later: Vec<_> = (0..STARTS).map(|_| start(&handlers, &cache)).collect();
    let computed = (processor_time() - before) / STARTS as u32;
    later.sort();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let (least, median, most) = (later[0], later[STARTS / 2], later[STARTS - 1]);
    println!(
        "{HANDLERS} handlers ({what}): compiled {:.0} ms, cached {:.1} ms (from {:.1} to {:.1}; start and stop take {:.0} ms of \
         processor time), {:.0} times faster",
        ms(first),
        ms(median),
        ms(least),
        ms(most),
        ms(computed),
        first.as_secs_f64() / median.as_secs_f64(),
    );
}

/// A hub with these handlers: how long it took to start.
fn start(handlers: &[String], cache: &Path) -> Duration {
    let mut loader = Loader::new();
    for (key, value) in [
        ("listen", "127.0.0.1:0"),
        ("handlers", handlers.join(",").as_str()),
        ("handler.cache_dir", &cache.display().to_string()),
        ("handler.time", "1s"),
        // What the examples ask for.
        ("handler.config", "words=darn,drop=debug,rate=2"),
    ] {
        loader.flag("--set", key, value).expect("an option");
    }
    let config = loader.finish().expect("sound");
    let begin = Instant::now();
    let hub = Hub::start(config).expect("it starts");
    let took = begin.elapsed();
    assert_eq!(hub.handlers().len(), handlers.len());
    hub.stop(Duration::from_secs(10));
    took
}

/// What all threads of this process have computed, in hundredths of a second.
fn processor_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    // Behind the name, which may hold anything but a closing bracket, field 3 is the first.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 =
        [11, 12].iter().map(|&field: &usize| fields[field].parse::<u64>().expect("a number")).sum();
    Duration::from_millis(ticks * 10)
}

/// The example with something in it that only this one has.
fn different(example: &Path, number: usize, folder: &Path) -> PathBuf {
    let mut bytes = fs::read(example).expect("readable");
    let ending = example.extension().expect("an ending").to_string_lossy().into_owned();
    match ending.as_str() {
        "js" => bytes.extend_from_slice(format!("\n// {number}\n").as_bytes()),
        // A custom section: its name `n`, and the number.
        _ => bytes.extend_from_slice(&[0, 3, 1, b'n', number as u8]),
    }
    let stem = example.file_stem().expect("a name").to_string_lossy();
    let file = folder.join(format!("{stem}-{number}.{ending}"));
    fs::write(&file, bytes).expect("written");
    file
}

fn scripts() -> Vec<PathBuf> {
    listed(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/handlers/js"), "js")
}

/// What `cargo xtask guests` has built in this language.
fn built(language: &str) -> Vec<PathBuf> {
    let binary = std::env::current_exe().expect("a path");
    let target = binary.ancestors().nth(3).expect("it is in target/release/deps");
    listed(&target.join("guests").join(language), "wasm")
}

fn listed(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}: run `cargo xtask guests`", folder.display()));
    let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    files.retain(|file| file.extension().is_some_and(|found| found == ending));
    files.sort();
    assert!(!files.is_empty(), "{} has no *.{ending}", folder.display());
    files
}
