//! Everything at once, by random choice: readers of all kinds and speeds that are cut, stall and come back, against the simplest model of
//! what they may see. Each event a reader asked for is delivered once and in order, or lies in a gap that it was told of.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use fanfare_engine::{Draft, LagPolicy, Start};

use super::client::Reader;
use super::{Ask, Rig, engine_config, lane_config};
use crate::config::Config;
use crate::handoff::Framing;

const TOPICS: [&str; 3] = ["a", "b", "c"];
const TYPES: [Option<&str>; 3] = [None, Some("vote"), Some("noise")];
const CLIENTS: [Option<&str>; 3] = [None, Some("ann"), Some("bob")];
const EVENTS: usize = 3_000;
const READERS: u64 = 12;

/// SplitMix64: the same seed makes the same choices.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

/// What the model knows of an event.
struct Event {
    seq: u64,
    topic: &'static str,
    kind: Option<&'static str>,
    except: Option<&'static str>,
}

/// What a reader has seen: positions, and the ranges (after, up to and with) that it was told are missing.
#[derive(Default)]
struct Seen {
    got: Vec<u64>,
    told: Vec<(u64, u64)>,
}

fn position(id: &str) -> u64 {
    id.rsplit_once('-').and_then(|(_, seq)| seq.parse().ok()).expect("a generated id")
}

fn publish(rig: &Rig, seed: u64) -> Vec<Event> {
    let mut dice = Dice(seed);
    let mut log = Vec::new();
    let mut send = |topic, kind: Option<&'static str>, except: Option<&'static str>, data: &str| {
        let mut draft = Draft::new(topic, data);
        draft.event = kind.map(Into::into);
        draft.except = except.map(Into::into);
        log.push(Event { seq: rig.send(draft), topic, kind, except });
    };
    for _ in 0..EVENTS {
        let size = match dice.below(200) {
            0 => 100_000,
            n => n * 10,
        };
        send(dice.pick(&TOPICS), dice.pick(&TYPES), dice.pick(&CLIENTS), &"x".repeat(size as usize));
        if dice.below(20) == 0 {
            thread::sleep(Duration::from_millis(1));
        }
    }
    for topic in TOPICS {
        send(topic, None, None, "end");
    }
    log
}

/// Reads until the end of each of its topics; comes back after the last id whenever its stream ends or the dice say so.
fn follow(rig: &Rig, ask: &Ask<'_>, dice: &mut Dice) -> Seen {
    let (mut seen, mut last, mut ends) = (Seen::default(), rig.engine.id_of(0).to_string(), 0);
    let slow = dice.below(3) == 0;
    loop {
        let start = Start::After(last.clone().into());
        let mut reader: Reader = rig.open(&Ask { start, ..ask.clone() });
        let stay = 20 + dice.below(400);
        for _ in 0..stay {
            let Some(event) = reader.event() else { break };
            if slow && dice.below(10) == 0 {
                thread::sleep(Duration::from_millis(dice.below(20)));
            }
            let at = position(&event.last_event_id);
            if event.event == "fanfare.gap" {
                let from =
                    event.data.strip_prefix("{\"requested\":\"").and_then(|rest| rest.split('"').next());
                seen.told.push((position(from.expect("what was asked for")), at));
            } else {
                seen.got.push(at);
            }
            ends += usize::from(event.data == "end");
            last = event.last_event_id;
            if ends == ask.topics.len() {
                return seen;
            }
        }
    }
}

fn check(seen: &Seen, ask: &Ask<'_>, log: &[Event]) {
    assert!(seen.got.is_sorted_by(|a, b| a < b), "in order, nothing twice");
    let wanted = |event: &&Event| {
        ask.topics.contains(&event.topic)
            && (ask.events.is_empty() || ask.events.contains(&event.kind.unwrap_or("message")))
            && (event.except.is_none() || event.except != ask.client)
    };
    // A notice stands before the oldest event that any topic has kept. Of one topic it is exact; of several, each may have lost
    // more, up to its own next event.
    let next_of_topic = |lost: &Event, through: u64| {
        let next = log.iter().find(|event| {
            event.topic == lost.topic && event.seq > through && seen.got.binary_search(&event.seq).is_ok()
        });
        next.map_or(u64::MAX, |event| event.seq)
    };
    let told_through = |event: &Event, through: u64| match ask.topics {
        [_] => through,
        _ => through.max(next_of_topic(event, through)),
    };
    let mut got = seen.got.iter().peekable();
    for event in log.iter().filter(wanted) {
        if got.next_if(|&&seq| seq == event.seq).is_none() {
            let told = seen
                .told
                .iter()
                .any(|&(after, through)| after < event.seq && event.seq <= told_through(event, through));
            assert!(
                told,
                "event {} is missing and nobody said so; {:?} gaps {:?}",
                event.seq, ask.topics, seen.told
            );
        }
    }
    assert_eq!(got.next(), None, "nothing came that was not for this reader");
}

#[test]
fn every_reader_gets_each_event_once_or_is_told() {
    let delivered = AtomicU64::new(0);
    for seed in 0..4 {
        let mut engine = engine_config();
        engine.history.events = 300;
        let config = Config { lanes: 2, heartbeat: Duration::from_millis(30), ..lane_config() };
        let rig = Rig::with(engine, config);
        thread::scope(|scope| {
            let publisher = scope.spawn(|| publish(&rig, seed));
            let readers: Vec<_> = (0..READERS)
                .map(|n| {
                    let (rig, delivered) = (&rig, &delivered);
                    scope.spawn(move || {
                        let mut dice = Dice(seed * 1_000 + n + 1);
                        let ask = Ask {
                            topics: dice.pick(&[&TOPICS[..1], &TOPICS[1..], &TOPICS[..]]),
                            events: dice.pick(&[&[][..], &["message", "vote"][..]]),
                            client: dice.pick(&CLIENTS),
                            lag: dice.pick(&[LagPolicy::Disconnect, LagPolicy::Skip]),
                            framing: dice.pick(&[Framing::Chunked, Framing::Chunked, Framing::Plain]),
                            buffers: dice.pick(&[None, Some(super::SMALL), Some((64 << 10, 4 << 10))]),
                            ..Ask::default()
                        };
                        let seen = follow(rig, &ask, &mut dice);
                        delivered.fetch_add(seen.got.len() as u64, Ordering::Relaxed);
                        (ask, seen)
                    })
                })
                .collect();
            let log = publisher.join().expect("no panic");
            for reader in readers {
                let (ask, seen) = reader.join().expect("no panic");
                check(&seen, &ask, &log);
            }
        });
        rig.stop(Duration::from_secs(2));
        assert_eq!((rig.stats().sockets, rig.open_streams(), rig.engine.stats().subscriptions), (0, 0, 0));
    }
    assert!(delivered.into_inner() > 10_000, "the readers did read");
}
