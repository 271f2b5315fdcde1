//! Modules that nobody has written: real ones with random changes.

use std::time::Duration;

use fanfare_engine::{Draft, Handler, Timestamp, Turn, Visitor};
use fanfare_wasi_host::{Config, Runtime, WasmHandler};

/// Numbers from a seed (xorshift64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// So many of them, one after the other.
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| (self.next() >> 32) as u8).collect()
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

/// `bytes` with a few of them changed, cut out, or doubled.
pub(crate) fn mutated(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        let end = (at + random.below(16)).min(bytes.len());
        match random.below(4) {
            0 => drop(bytes.drain(at..end)),
            1 => {
                let piece = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, piece));
            }
            2 => bytes[at] = random.next() as u8,
            _ => bytes[at] ^= 1 << random.below(8),
        }
    }
    bytes
}

/// What became of a file that nobody vouches for.
#[derive(Debug, Default)]
pub(crate) struct Tried {
    pub(crate) loaded: u64,
    pub(crate) answers: u64,
    pub(crate) faults: u64,
}

impl Tried {
    /// Loads it and, if it loads, lets it handle events, a reader and a tick. It may fail in any way but one: every call
    /// comes back.
    pub(crate) fn one(&mut self, runtime: &Runtime, bytes: &[u8]) {
        let config = Config { time: Duration::from_millis(1), ..Config::default() };
        let Ok(handler) = WasmHandler::new(runtime, "random", bytes, &config) else { return };
        self.loaded += 1;
        let now = Timestamp(1);
        let mut count = |worked: bool| if worked { self.answers += 1 } else { self.faults += 1 };
        for data in ["", "yes", "{\"a\":1}"] {
            let event = Draft::new("t", data).with_event("e");
            count(handler.handle(&event, now, &mut Turn::default()).is_ok());
        }
        let visitor = Visitor { topics: vec!["t"], ..Visitor::default() };
        count(handler.welcome(&visitor, now, &mut Turn::default()).is_ok());
        count(handler.tick(now, &mut Turn::default()).is_ok());
        let stats = handler.stats().expect("it counts");
        assert!(stats.instances <= 1, "{stats:?}");
    }
}
