//! Code exchanged while events go on: none is lost, doubled, or handled half by one and half by the other.
#![cfg(feature = "wasm-jit")]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use fanfare_engine::{Draft, Verdict};
use fanfare_wasi_host::FileWatch;
use support::exchange::{self, eventually, says, says_beside};
use support::*;

/// Puts a file into its place in one step, as a careful build does.
fn replace(file: &Path, bytes: &[u8]) {
    let beside = file.with_extension("new");
    std::fs::write(&beside, bytes).expect("written");
    std::fs::rename(&beside, file).expect("moved");
}

/// As long as a test of every day may be; `soak_wasi` does it for ten minutes.
#[test]
fn reloads_under_load_lose_nothing() {
    exchange::under_load(20, Duration::ZERO);
    exchange::under_load(50, Duration::from_millis(100));
}

/// A module that takes its time to compile, and then answers this letter.
fn large(letter: char) -> Vec<u8> {
    let steps: String = (1..40)
        .map(|step| {
            format!(
                "(local.set $x (i32.rotl (i32.mul (local.get $x) (i32.const {step}7)) (i32.const {step})))"
            )
        })
        .collect();
    let functions: String =
        (0..1_000).map(|_| format!("(func (param $x i32) (result i32) {steps} (local.get $x))")).collect();
    let module = says_beside(letter, &functions);
    assert!(module.len() > 300_000, "{}", module.len());
    module
}

/// Events are published, and handled by the old code, while new code is being compiled.
#[test]
fn compiling_keeps_no_event_waiting() {
    const ENOUGH: u32 = 10;
    let handler = Arc::new(load(&says('a')).expect("sound"));
    let engine = engine_with(Arc::clone(&handler));
    // Odd while a reload is under way.
    let round = AtomicU32::new(0);
    let seen = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            // Once is enough, unless this machine let nobody else run meanwhile.
            for letter in ['b', 'c'].into_iter().cycle().take(20) {
                let module = large(letter);
                round.fetch_add(1, Ordering::SeqCst);
                handler.reload(&module).expect("sound");
                round.fetch_add(1, Ordering::SeqCst);
                if seen.load(Ordering::SeqCst) {
                    return;
                }
            }
        });
        let mut during = (0, 0);
        while !seen.load(Ordering::SeqCst) && round.load(Ordering::SeqCst) < 40 {
            let now = round.load(Ordering::SeqCst);
            engine.publish(Draft::new("t", "x"), NOW).expect("no fault");
            if now % 2 == 1 && round.load(Ordering::SeqCst) == now {
                during = if during.0 == now { (now, during.1 + 1) } else { (now, 1) };
                seen.store(during.1 == ENOUGH, Ordering::SeqCst);
            }
        }
        assert!(seen.load(Ordering::SeqCst), "no {ENOUGH} events were published while code was compiled");
    });
    assert!(stats(&handler).reloads >= 1);
}

#[test]
fn a_refused_reload_changes_nothing() {
    let handler = load(&says('a')).expect("sound");
    for bad in [&b"nonsense"[..], &transform("(i32.const -4)")] {
        handler.reload(bad).expect_err("not a handler");
        assert!(matches!(call(&handler, "x"), Ok(Verdict::Replace(made)) if made.data == "aa"));
    }
    assert_eq!((stats(&handler).reloads, stats(&handler).failed_reloads), (0, 2));
}

#[test]
fn state_survives_a_reload() {
    let count = transform(&format!(
        "(i32.store8 (i32.const 32) (i32.const 110))
         (call $kv_increment (i32.const 32) (i32.const 1) (i64.const 1) (i32.const 0) (i64.const 0) (i32.const 200))
         (i32.store8 (i32.const 64) (i32.add (i32.const 64) (i32.load8_u (i32.const 208)))) {}",
        answer(2, "(i32.const 64)", "(i32.const 1)")
    ));
    let handler = load(&count).expect("sound");
    for expected in ["A", "B", "C"] {
        assert!(matches!(call(&handler, "x"), Ok(Verdict::Replace(made)) if made.data == expected));
        handler.reload(&count).expect("sound");
    }
}

#[test]
fn changed_files_are_taken_and_broken_ones_are_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("handler.wasm");
    replace(&file, &says('a'));
    let handler = Arc::new(load(&says('a')).expect("sound"));
    let watch = FileWatch::start().expect("a thread");
    watch.add(&file, says('a'), 1 << 20, &handler);
    let said =
        |letters: &str| matches!(call(&handler, "x"), Ok(Verdict::Replace(made)) if made.data == letters);

    replace(&file, &says('b'));
    eventually("the new code is taken", || said("bb"));
    replace(&file, b"half a f");
    eventually("the broken file is seen", || stats(&handler).failed_reloads == 1);
    assert!(said("bb"), "the old code goes on");
    std::fs::remove_file(&file).expect("removed");
    replace(&file, &says('c'));
    eventually("a file that comes back is taken", || said("cc"));
    // Written in place, too.
    std::fs::write(&file, says('d')).expect("written");
    eventually("the file written in place is taken", || said("dd"));
    let stats = stats(&handler);
    assert_eq!((stats.reloads, stats.failed_reloads), (3, 1), "and the same content is no change");
    drop(watch);
    replace(&file, &says('e'));
    assert!(said("dd"), "nobody watches any more");
}
