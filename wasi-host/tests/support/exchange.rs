//! Code exchanged while events go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fanfare_engine::Draft;

use super::*;

/// Answers this letter twice, written by two stores with a loop in between: half of one code and half of another would
/// show.
pub(crate) fn says(letter: char) -> Vec<u8> {
    transform(&twice(letter))
}

/// The same in a module with more functions.
pub(crate) fn says_beside(letter: char, functions: &str) -> Vec<u8> {
    transform_beside(&twice(letter), functions)
}

fn twice(letter: char) -> String {
    let letter = u32::from(letter);
    format!(
        "(i32.store8 (i32.const 64) (i32.const {letter}))
         (loop $l (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if $l (i32.lt_u (local.get $i) (i32.const 500))))
         (i32.store8 (i32.const 65) (i32.const {letter})) {}",
        answer(2, "(i32.const 64)", "(i32.const 2)")
    )
}

pub(crate) fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Two publishers, and new code every `pause`, `rounds` times: every event is handled once, by one code, and read once.
pub(crate) fn under_load(rounds: u64, pause: Duration) {
    let handler = Arc::new(load(&says('a')).expect("sound"));
    let engine = engine_with(Arc::clone(&handler));
    let done = Arc::new(AtomicBool::new(false));
    let publishers: Vec<_> = (0..2)
        .map(|publisher| {
            let (engine, done) = (engine.clone(), Arc::clone(&done));
            std::thread::spawn(move || {
                let topic = format!("t{publisher}");
                let options = SubscribeOptions { topics: vec![(&*topic).into()], ..Default::default() };
                let reader = engine.subscribe(&engine.watcher(), &options, NOW).expect("room");
                let (mut published, mut read, mut frames) = (0_u64, 0_u64, Vec::new());
                while !done.load(Ordering::Relaxed) {
                    let taken = engine.publish(Draft::new(&*topic, "x"), NOW).expect("no fault");
                    assert_eq!(taken.events, 1);
                    published += 1;
                    while reader.pull(&mut frames, 1 << 20) == Pulled::More {}
                    for frame in frames.drain(..) {
                        assert!(matches!(&*frame.data(), "aa" | "bb"), "{frame:?}: {}", frame.data());
                        read += 1;
                    }
                    // A steady load leaves time to others: to the compiler here, and to what else the machine does.
                    if published % 64 == 0 {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                }
                assert_eq!(read, published);
                published
            })
        })
        .collect();
    for round in 0..rounds {
        let before = stats(&handler).calls;
        handler.reload(&says(if round % 2 == 0 { 'b' } else { 'a' })).expect("sound");
        eventually("events go on", || stats(&handler).calls > before + 10);
        std::thread::sleep(pause);
    }
    done.store(true, Ordering::Relaxed);
    let published: Vec<u64> = publishers.into_iter().map(|thread| thread.join().expect("no panic")).collect();
    let stats = stats(&handler);
    assert_eq!((stats.reloads, stats.calls), (rounds, published.iter().sum::<u64>()));
    assert_eq!(engine.stats().published, stats.calls);
    println!("{rounds} reloads, {} events", stats.calls);
}
