//! Any text as `Last-Event-ID`: it is refused, or it is a position and reading goes on right after it, or a gap
//! notice comes first and then all that is retained. Never silence, never a hole.

#![no_main]

use arbitrary::Arbitrary;
use fanfare_engine::{Config, Draft, Engine, Epoch, Start, SubscribeError, SubscribeOptions, Timestamp};
use libfuzzer_sys::fuzz_target;

const HISTORY_EVENTS: usize = 4;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    /// Publishers' ids of the events, in order: a few short ones, so that they collide.
    own_ids: Vec<Option<OwnId>>,
    asked: Asked<'a>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum OwnId {
    A,
    B,
    C,
}

#[derive(Arbitrary, Debug)]
enum Asked<'a> {
    Text(&'a str),
    Sequence(u64),
    Near(u8),
    Own(OwnId),
}

fuzz_target!(|input: Input<'_>| {
    let mut config = Config::new(Epoch::parse("fuzz").expect("a valid epoch"));
    config.history.events = HISTORY_EVENTS as u32;
    let engine = Engine::new(config).expect("a valid configuration");
    let mut ids: Vec<String> = Vec::new();
    for (i, own) in input.own_ids.iter().take(16).enumerate() {
        let own = own.map(|own| format!("{own:?}"));
        let draft = Draft { id: own.clone().map(Into::into), ..Draft::new("t", i.to_string()) };
        let published = engine.publish(draft, Timestamp(1)).expect("within the rules");
        assert_eq!(published.seq, i as u64 + 1);
        ids.push(own.unwrap_or_else(|| format!("fuzz-{}", i + 1)));
    }
    let asked = match input.asked {
        Asked::Text(text) => text.to_owned(),
        Asked::Sequence(n) => format!("fuzz-{n}"),
        Asked::Near(n) => format!("fuzz-{}", n % 20),
        Asked::Own(own) => format!("{own:?}"),
    };

    let watcher = engine.watcher();
    let start = Start::After(asked.as_str().into());
    let options = SubscribeOptions { topics: vec!["t".into()], start, ..SubscribeOptions::default() };
    let subscription = match engine.subscribe(&watcher, &options, Timestamp(2)) {
        Ok(subscription) => subscription,
        Err(SubscribeError::Invalid(invalid)) => {
            // Ids of the published form must never be refused.
            let good = |c: char| c.is_ascii_alphanumeric() || "._~-".contains(c);
            let valid = (1..=128).contains(&asked.len()) && asked.chars().all(good);
            assert!(!valid, "{asked:?}: {invalid}");
            return;
        }
        Err(other) => panic!("{other}"),
    };
    let mut frames = Vec::new();
    let _ = subscription.pull(&mut frames, usize::MAX);
    let got: Vec<String> =
        frames.iter().filter(|frame| !frame.is_gap()).map(|frame| frame.data().into()).collect();
    let told = frames.iter().filter(|frame| frame.is_gap()).count();

    let lost = ids.len().saturating_sub(HISTORY_EVENTS);
    let after = position(&asked, &ids, lost);
    let first = after.unwrap_or(lost);
    let expected: Vec<String> = (first..ids.len()).map(|i| i.to_string()).collect();
    assert_eq!(got, expected, "asked for {asked:?}, ids {ids:?}");
    assert_eq!(told, usize::from(after.is_none()), "asked for {asked:?}, ids {ids:?}");
    assert!(told == 0 || frames[0].is_gap(), "the notice comes first");
});

/// How many events are before the answer, if `asked` is a position from which nothing is lost.
fn position(asked: &str, ids: &[String], lost: usize) -> Option<usize> {
    if let Some(digits) = asked.strip_prefix("fuzz-") {
        let sequence: usize = digits.parse().ok()?;
        let canonical = sequence.to_string() == digits;
        return (canonical && (lost..=ids.len()).contains(&sequence)).then_some(sequence);
    }
    let mut matches = (lost..ids.len()).filter(|&i| ids[i] == asked);
    let found = matches.next()?;
    matches.next().is_none().then_some(found + 1)
}
