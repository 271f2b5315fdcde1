//! An engine whose history a journal keeps: what readers see when, over restarts, beyond the rings, and at the seam.
//!
//! Long because: every test here needs the journal in memory, which is compiled into this program.

#[path = "support/journal.rs"]
mod journal;
mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use fanfare_engine::{Draft, LagPolicy, PublishError, Pulled, Start, SubscribeError, SubscribeOptions};
use journal::Memory;
use support::{EPOCH, NOW, Reader, Wakes, after, gap, id, options, put, put_all, read};

fn numbers(range: std::ops::RangeInclusive<u64>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

fn nothing() -> Vec<String> {
    Vec::new()
}

/// Publishes each number as its own position says it should come.
fn put_numbers(engine: &fanfare_engine::Engine, range: std::ops::RangeInclusive<u64>) {
    for n in range {
        assert_eq!(put(engine, "t", &n.to_string()), n);
    }
}

#[test]
fn history_outlives_the_engine() {
    let memory = Memory::new();
    put_numbers(&memory.engine(1000), 1..=20);
    let engine = memory.engine(1000);
    assert_eq!(engine.config().epoch.as_str(), EPOCH, "the journal's, not the configuration's");
    assert_eq!(read(&engine, &["t"], Start::All), numbers(1..=20));
    assert_eq!(read(&engine, &["t"], after(13)), numbers(14..=20));
    assert_eq!(read(&engine, &["t"], after(20)), nothing());
    assert_eq!(read(&engine, &["t"], Start::Last(4)), numbers(17..=20));
    assert_eq!(read(&engine, &["t"], Start::Last(100)), numbers(1..=20));
    assert_eq!(read(&engine, &["t"], Start::Last(0)), nothing());
    assert_eq!(read(&engine, &["t"], Start::Position(18)), numbers(19..=20));
    assert_eq!(read(&engine, &["t"], Start::Live), nothing());
    assert_eq!(read(&engine, &["other"], Start::All), nothing());
    put_numbers(&engine, 21..=22);
    assert_eq!(read(&engine, &["t"], after(19)), numbers(20..=22));
    assert_eq!(read(&engine, &["t"], Start::Last(4)), numbers(19..=22), "of the journal and the ring");
    assert_eq!(engine.stats().published, 2, "of this life");
}

#[test]
fn what_the_rings_have_lost_comes_from_the_journal() {
    let memory = Memory::new();
    let engine = memory.engine(4);
    put_numbers(&engine, 1..=50);
    for start in 0..=50 {
        assert_eq!(read(&engine, &["t"], after(start)), numbers(start + 1..=50));
        assert_eq!(read(&engine, &["t"], Start::Last(50 - start)), numbers(start + 1..=50));
    }
    let pages = memory.pages();
    assert_eq!(read(&engine, &["t"], after(46)), numbers(47..=50));
    assert_eq!(memory.pages(), pages, "what the ring holds needs no page");
}

#[test]
fn several_topics_come_in_one_order() {
    let memory = Memory::new();
    let engine = memory.engine(2);
    for n in 1..=30_u64 {
        put(&engine, ["a", "b", "c"][n as usize % 3], &n.to_string());
    }
    let want: Vec<String> = (1..=30_u64).filter(|n| n % 3 != 2).map(|n| n.to_string()).collect();
    assert_eq!(read(&engine, &["a", "b"], Start::All), want);
    assert_eq!(read(&engine, &["b", "a"], after(15)), want[10..]);
    let narrowed = SubscribeOptions { events: vec!["none".into()], ..options(&["a"], Start::All) };
    assert_eq!(Reader::open(&engine, &narrowed).expect("can be read").idle(), nothing());
}

#[test]
fn the_seam_has_neither_hole_nor_double() {
    let memory = Memory::new();
    let engine = memory.engine(8);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            put_numbers(&engine, 1..=20_000);
            done.store(true, Ordering::Release);
        });
        for start in 0..4 {
            let (engine, done) = (&engine, &done);
            scope.spawn(move || {
                let start = engine.newest().saturating_sub(start * 100);
                let reader = Reader::new(engine, &["t"], after(start));
                let (mut frames, mut last, mut ended) = (Vec::new(), start, false);
                while !ended {
                    ended = done.load(Ordering::Acquire);
                    let mut pulled = Pulled::More;
                    while pulled == Pulled::More {
                        pulled = reader.subscription.pull(&mut frames, 256);
                        for frame in frames.drain(..) {
                            assert!(!frame.is_gap() && frame.seq() == last + 1, "{frame:?} after {last}");
                            last += 1;
                        }
                    }
                    if pulled == Pulled::Lapped {
                        // It had caught up and was overtaken: it comes back, as a client does.
                        assert_eq!(reader.subscription.last_id(), id(last));
                        return;
                    }
                }
                assert_eq!(last, 20_000);
            });
        }
    });
}

#[test]
fn a_slow_reader_holds_one_page_and_stops_nobody() {
    let memory = Memory::new();
    let engine = memory.engine(4);
    put_numbers(&engine, 1..=40);
    memory.hold_reads();
    let reader = Reader::new(&engine, &["t"], Start::All);
    let (wakes, waker) = Wakes::new();
    reader.watcher.set_waker(&waker);
    assert_eq!(reader.idle(), nothing());
    assert!(reader.subscription.wait_as(7));
    assert!(reader.watcher.park());
    assert_eq!(memory.requests(), 1);
    assert_eq!(reader.idle(), nothing(), "and does not ask twice");
    assert_eq!(memory.requests(), 1);
    put_numbers(&engine, 41..=42);
    wakes.take();
    let mut dirty = Vec::new();
    reader.watcher.take_dirty(&mut dirty);
    assert!(reader.watcher.park());
    memory.answer();
    assert_eq!(wakes.take(), 1, "woken when the page is there");
    let mut arrived = Vec::new();
    reader.watcher.take_arrived(&mut arrived);
    dirty.clear();
    reader.watcher.take_dirty(&mut dirty);
    assert_eq!((&arrived[..], dirty.len()), (&[7][..], 0), "nobody else is looked for");
    let mut out = Vec::new();
    assert_eq!(reader.subscription.pull(&mut out, 1), Pulled::More);
    assert_eq!((out.len(), memory.requests()), (1, 0), "the next page is asked for when this one is read");
    assert_eq!(reader.idle(), numbers(2..=3));
    assert_eq!(memory.requests(), 1);
    drop(reader);
    assert_eq!(memory.requests(), 0, "nobody wants it any more");
    memory.answer();
}

#[test]
fn who_waits_for_a_page_is_told_also_when_it_came_before() {
    let memory = Memory::new();
    let engine = memory.engine(4);
    put_numbers(&engine, 1..=40);
    memory.hold_reads();
    let reader = Reader::new(&engine, &["t"], Start::All);
    assert_eq!(reader.idle(), nothing());
    memory.answer();
    let (mut dirty, mut arrived) = (Vec::new(), Vec::new());
    reader.watcher.take_dirty(&mut dirty);
    reader.watcher.take_arrived(&mut arrived);
    assert_eq!((dirty.len(), arrived.len()), (1, 0), "who has given no token is found by the topic");
    assert!(reader.watcher.park());
    assert!(reader.subscription.wait_as(8));
    assert!(!reader.watcher.park(), "there is something to look at");
    reader.watcher.take_arrived(&mut arrived);
    assert_eq!(arrived, [8]);
    let mut out = Vec::new();
    assert_eq!(reader.subscription.pull(&mut out, 1), Pulled::More);
    assert!(!reader.subscription.wait_as(9), "it has its page");
}

#[test]
fn a_reader_that_cannot_be_served_is_ended() {
    let memory = Memory::new();
    put_numbers(&memory.engine(4), 1..=9);
    let engine = memory.engine(4);
    memory.hold_reads();
    let reader = Reader::new(&engine, &["t"], after(2));
    assert_eq!(reader.idle(), nothing());
    memory.drop_request();
    assert_eq!(reader.until(Pulled::Lapped), nothing());
    assert_eq!(reader.subscription.last_id(), id(2), "from where it can come back");
}

#[test]
fn topics_may_come_and_go_while_a_page_is_on_its_way() {
    let memory = Memory::new();
    let engine = memory.engine(2);
    for n in 1..=9_u64 {
        put(&engine, ["a", "b", "c"][n as usize % 3], &n.to_string());
    }
    memory.hold_reads();
    let reader = Reader::new(&engine, &["a", "b"], Start::All);
    assert_eq!(reader.idle(), nothing());
    assert!(reader.subscription.remove_topic("a"));
    assert!(reader.subscription.add_topic("c", NOW).expect("can be read"));
    put(&engine, "c", "10");
    put(&engine, "a", "11");
    let mut got = Vec::new();
    while memory.requests() > 0 {
        memory.answer();
        got.extend(reader.idle());
    }
    assert_eq!(got, ["1", "4", "7", "10"], "all of b, of c what came since, nothing of a");
}

#[test]
fn what_is_missing_on_disk_is_told() {
    let memory = Memory::new();
    put_numbers(&memory.engine(2), 1..=12);
    memory.lose(6);
    memory.let_go(3);
    let engine = memory.engine(2);
    let told = |at: u64, asked: u64| gap(at, &id(asked), Some(&id(at + 1)), Some(&id(at + 1)));
    let rest = |from: u64| [vec![told(6, 5)], numbers(from..=12)].concat();
    assert_eq!(read(&engine, &["t"], after(5)), rest(7));
    assert_eq!(
        read(&engine, &["t"], Start::All),
        [numbers(4..=5), rest(7)].concat(),
        "let go before it came"
    );
    assert_eq!(read(&engine, &["t"], after(1)), [vec![told(3, 1)], numbers(4..=5), rest(7)].concat());
    let unknown = gap(3, "older-7", Some(&id(4)), Some(&id(4)));
    let resumed = read(&engine, &["t"], Start::After("older-7".into()));
    assert_eq!(
        resumed,
        [vec![unknown], numbers(4..=5), rest(7)].concat(),
        "another epoch: told, then everything"
    );
}

#[test]
fn an_id_of_a_lost_tail_is_told_and_no_position_comes_twice() {
    let memory = Memory::new();
    put_numbers(&memory.engine(10), 1..=5);
    // Event 5 was seen, and the machine stopped before it was on disk.
    memory.lose(5);
    memory.skip_to(1000);
    let engine = memory.engine(10);
    assert_eq!(put(&engine, "t", "x"), 1000);
    let lost = gap(999, &id(5), Some(&id(1000)), Some(&id(1000)));
    assert_eq!(read(&engine, &["t"], after(5)), [lost, "x".to_owned()]);
    let lost = gap(999, &id(4), Some(&id(1000)), Some(&id(1000)));
    assert_eq!(read(&engine, &["t"], after(4)), [lost, "x".to_owned()]);
    let future = gap(4, &id(1001), Some(&id(1)), Some(&id(1000)));
    assert_ne!(read(&engine, &["t"], after(1001))[0], future, "a gap notice, and all that is retained");
    assert!(read(&engine, &["t"], after(1001))[0].starts_with("gap "));
}

#[test]
fn an_event_is_seen_when_it_is_on_disk_and_in_order() {
    let memory = Memory::new();
    let engine = memory.engine(10);
    memory.wait_for_disk();
    let reader = Reader::new(&engine, &["t"], Start::Live);
    thread::scope(|scope| {
        let publish = |data: &'static str| {
            let engine = &engine;
            scope.spawn(move || engine.publish(Draft::new("t", data), NOW))
        };
        let first = publish("first");
        memory.until_waiting(1);
        let second = publish("second");
        memory.until_waiting(2);
        let third = publish("third");
        memory.until_waiting(3);
        assert_eq!(reader.idle(), nothing());
        assert_eq!((engine.newest(), engine.stats().history_events), (0, 0));
        memory.settle(1, Ok(()));
        assert_eq!(first.join().expect("no panic").expect("stored").seq, 1);
        assert_eq!(reader.idle(), ["first"]);
        memory.settle(1, Err("the disk is full"));
        let refused = second.join().expect("no panic").expect_err("not stored");
        assert_eq!(refused, PublishError::NotStored { reason: "the disk is full".into() });
        assert_eq!(refused.to_string(), "it could not be stored: the disk is full");
        memory.settle(1, Ok(()));
        assert_eq!(third.join().expect("no panic").expect("stored").seq, 3);
        assert_eq!(reader.idle(), ["third"], "one that failed leaves a hole that nobody is told of");
    });
    assert_eq!((engine.newest(), engine.stats().published, engine.stats().refused), (3, 2, 1));
    assert_eq!(read(&engine, &["t"], after(0)), ["first", "third"]);
    assert_eq!(
        read(&memory.engine(10), &["t"], Start::Last(2)),
        ["first", "third"].map(String::from)[..],
        "{EPOCH}"
    );
}

#[test]
fn whoever_comes_first_makes_all_visible_that_is_settled() {
    let memory = Memory::new();
    let engine = memory.engine(100);
    memory.wait_for_disk();
    thread::scope(|scope| {
        let publishers: Vec<_> = (0..16)
            .map(|n| {
                let engine = &engine;
                scope.spawn(move || {
                    let batch = (0..3).map(|_| Draft::new("t", n.to_string())).collect();
                    engine
                        .publish_batch(batch, NOW)
                        .expect("stored")
                        .iter()
                        .map(|done| done.seq)
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        memory.until_waiting(16);
        memory.settle(16, Ok(()));
        let mut all: Vec<u64> =
            publishers.into_iter().flat_map(|publisher| publisher.join().expect("no panic")).collect();
        all.sort_unstable();
        assert_eq!(all, (1..=48).collect::<Vec<_>>());
    });
    let got = read(&engine, &["t"], Start::All);
    assert_eq!(got.len(), 48);
    assert!(
        got.chunks(3).all(|batch| batch.iter().all(|data| *data == batch[0])),
        "batches stay whole: {got:?}"
    );
}

#[test]
fn a_store_that_takes_nothing_refuses_publishers_and_serves_readers() {
    let memory = Memory::new();
    let engine = memory.engine(2);
    put_numbers(&engine, 1..=6);
    memory.refuse(Some("META: no space left on device"));
    let error = engine.publish(Draft::new("t", "x"), NOW).expect_err("refused");
    assert_eq!(error.to_string(), "it could not be stored: META: no space left on device");
    assert_eq!(error.code().as_str(), "not_stored");
    let batch =
        engine.publish_batch(vec![Draft::new("t", "x"), Draft::new("t", "y")], NOW).expect_err("refused");
    assert!(matches!(batch.error, PublishError::NotStored { .. }));
    assert!(matches!(engine.close_topic("t", NOW), Err(PublishError::NotStored { .. })));
    assert_eq!(read(&engine, &["t"], Start::All), numbers(1..=6));
    memory.refuse(None);
    memory.say_full(3);
    put_numbers(&engine, 7..=7);
    assert_eq!(read(&engine, &["t"], after(5)), numbers(6..=7));
}

#[test]
fn a_closed_topic_stays_closed() {
    let memory = Memory::new();
    let engine = memory.engine(2);
    put_all(&engine, "t", &["1", "2", "3", "4"]);
    assert_eq!(engine.close_topic("t", NOW), Ok(true));
    assert_eq!(engine.close_topic("t", NOW), Ok(false));
    let engine = memory.engine(2);
    assert_eq!(engine.publish(Draft::new("t", "5"), NOW), Err(PublishError::TopicClosed));
    let reader = Reader::new(&engine, &["t"], after(1));
    assert_eq!(reader.until(Pulled::Ended), ["2", "3", "4"]);
    assert_eq!(engine.close_topic("t", NOW), Ok(false));
    let live = Reader::open(&engine, &options(&["t"], Start::Live));
    assert!(matches!(live.err(), Some(SubscribeError::Closed)));
}

#[test]
fn closing_waits_for_what_was_published_before() {
    let memory = Memory::new();
    let engine = memory.engine(10);
    memory.wait_for_disk();
    let reader = Reader::new(&engine, &["t"], Start::Live);
    thread::scope(|scope| {
        let publisher = scope.spawn(|| engine.publish(Draft::new("t", "last"), NOW));
        memory.until_waiting(1);
        let closing = scope.spawn(|| engine.close_topic("t", NOW));
        memory.until_waiting(2);
        assert_eq!(engine.publish(Draft::new("t", "late"), NOW), Err(PublishError::TopicClosed));
        let again = scope.spawn(|| engine.close_topic("t", NOW));
        assert_eq!(reader.idle(), nothing());
        memory.settle(1, Ok(()));
        publisher.join().expect("no panic").expect("stored");
        assert_eq!(reader.idle(), ["last"]);
        memory.settle(1, Ok(()));
        assert_eq!(closing.join().expect("no panic"), Ok(true));
        assert_eq!(again.join().expect("no panic"), Ok(false));
    });
    assert_eq!(reader.until(Pulled::Ended), nothing());
}

#[test]
fn a_topic_is_not_freed_while_an_event_of_it_waits() {
    let memory = Memory::new();
    let engine = memory.engine(10);
    memory.wait_for_disk();
    thread::scope(|scope| {
        let publisher = scope.spawn(|| engine.publish(Draft::new("t", "x"), NOW));
        memory.until_waiting(1);
        engine.handle_timeout(fanfare_engine::Timestamp(1_000_000_000));
        assert_eq!(engine.stats().topics, 1);
        memory.settle(1, Ok(()));
        publisher.join().expect("no panic").expect("stored");
    });
    assert_eq!(engine.topic_stats(1)[0].events, 1);
}

#[test]
fn a_reader_that_has_caught_up_lags_like_any_other() {
    let memory = Memory::new();
    let engine = memory.engine(4);
    put_numbers(&engine, 1..=10);
    let cut = Reader::new(&engine, &["t"], after(0));
    let skips = Reader::with_lag(&engine, &["t"], Start::All, LagPolicy::Skip);
    assert_eq!((cut.idle(), skips.idle()), (numbers(1..=10), numbers(1..=10)));
    put_numbers(&engine, 11..=20);
    assert_eq!(cut.until(Pulled::Lapped), nothing());
    let told = gap(16, &id(10), Some(&id(17)), Some(&id(20)));
    assert_eq!(skips.idle(), [vec![told], numbers(17..=20)].concat());
    assert_eq!(read(&engine, &["t"], after(10)), numbers(11..=20), "and comes back to no loss");
}

#[test]
fn a_large_event_from_disk_is_kept_until_it_is_written() {
    let memory = Memory::new();
    let engine = memory.engine(1);
    put_numbers(&engine, 1..=3);
    let hold = |start: Start<'_>| Reader::new(&engine, &["t"], start).frames().0[0].downgrade();
    let (stored, retained) = (hold(Start::All), hold(after(2)));
    assert!(stored.upgrade().is_some() && retained.upgrade().is_some());
    put_numbers(&engine, 4..=4);
    assert!(stored.upgrade().is_some(), "no ring has it");
    assert!(retained.upgrade().is_none(), "it was the ring's, which has let it go");
}

#[test]
fn who_has_read_a_closed_topic_to_its_end_is_told_so_after_a_restart() {
    let memory = Memory::new();
    let engine = memory.engine(2);
    put_all(&engine, "t", &["1", "2"]);
    engine.publish(Draft::new("t", "3").with_id("mine"), NOW).expect("published");
    put_all(&engine, "other", &["4", "5", "6"]);
    assert_eq!(engine.close_topic("t", NOW), Ok(true));
    assert_eq!(engine.close_topic("empty", NOW), Ok(true));
    let engine = memory.engine(2);
    put_all(&engine, "other", &["7"]);
    let open = |topics: &[&str], start| Reader::open(&engine, &options(topics, start));
    for start in [after(3), after(5), after(6), Start::After("mine".into())] {
        let ended = open(&["t"], start.clone()).err();
        assert!(matches!(ended, Some(SubscribeError::Closed)), "{start:?}: {ended:?}");
    }
    for start in [Start::All, Start::Last(3)] {
        assert!(matches!(open(&["empty"], start).err(), Some(SubscribeError::Closed)));
    }
    assert_eq!(open(&["t"], after(2)).expect("has one to read").until(Pulled::Ended), ["3"]);
    assert_eq!(open(&["t", "empty"], Start::All).expect("has three").until(Pulled::Ended), ["1", "2", "3"]);
    assert!(matches!(open(&["t", "empty"], after(4)).err(), Some(SubscribeError::Closed)));
    assert_eq!(open(&["t", "other"], after(5)).expect("one is open").idle(), numbers(6..=7));
    // What was let go behind its id, a reader has to be told.
    memory.let_go(3);
    let told = open(&["t"], after(1)).expect("is told").until(Pulled::Ended);
    assert!(told.len() == 1 && told[0].starts_with("gap "), "{told:?}");
    assert!(matches!(open(&["t"], Start::All).err(), Some(SubscribeError::Closed)), "a first visit is not");
}

#[test]
fn an_id_of_a_publisher_is_found_in_the_journal() {
    let memory = Memory::new();
    let engine = memory.engine(2);
    for (n, own) in [(1, "a"), (2, "twice"), (3, "twice"), (4, "d"), (5, "e"), (6, "f")] {
        let draft = Draft::new("t", n.to_string()).with_id(own);
        assert_eq!(engine.publish(draft, NOW).expect("published").seq, n);
    }
    put_all(&engine, "u", &["7", "8", "9"]);
    for engine in [engine, memory.engine(2)] {
        let from = |own: &'static str| read(&engine, &["t"], Start::After(own.into()));
        assert_eq!(from("a"), numbers(2..=6), "in no ring any more");
        assert_eq!(from("d"), numbers(5..=6));
        assert_eq!(from("f"), nothing());
        assert_eq!(read(&engine, &["u", "t"], Start::After("e".into())), numbers(6..=9));
        for unknown in ["twice", "never"] {
            let got = from(unknown);
            assert!(got[0].contains(&format!("\"requested\":\"{unknown}\"")), "{got:?}");
            assert_eq!(got[1..], numbers(1..=6));
        }
    }
}

#[test]
fn what_is_deleted_is_gone_for_all_and_told() {
    for stored in [false, true] {
        let memory = Memory::new();
        let engine = if stored { memory.engine(4) } else { support::engine(|_| {}) };
        put_all(&engine, "t", &["1", "2", "3"]);
        put_all(&engine, "u", &["4", "5", "6"]);
        let behind = Reader::new(&engine, &["t"], after(1));
        engine.delete_history("t", NOW).expect("deleted");
        assert_eq!(put(&engine, "t", "7"), 7);
        let got = behind.idle();
        assert!(got.len() == 2 && got[0].starts_with("gap ") && got[1] == "7", "{got:?}");
        let told = |topics: &[&str], from| {
            let mut got = read(&engine, topics, after(from));
            assert!(got.remove(0).starts_with("gap "), "{got:?}");
            got
        };
        assert_eq!(told(&["t"], 1), ["7"]);
        assert_eq!(told(&["t", "u"], 0), ["4", "5", "6", "7"]);
        assert_eq!(read(&engine, &["t"], after(3)), ["7"], "nothing is missing behind it");
        assert_eq!(
            read(&engine, &["t", "u"], Start::All),
            ["4", "5", "6", "7"],
            "a first visit misses nothing"
        );
        assert_eq!(engine.close_topic("t", NOW), Ok(true));
        engine.delete_history("t", NOW).expect("deleted");
        assert_eq!(
            engine.publish(Draft::new("t", "8"), NOW),
            Err(PublishError::TopicClosed),
            "it stays closed"
        );
    }
}

#[test]
fn deleting_waits_for_what_was_published_before() {
    let memory = Memory::new();
    let engine = memory.engine(8);
    memory.wait_for_disk();
    thread::scope(|scope| {
        scope.spawn(|| put(&engine, "t", "1"));
        memory.until_waiting(1);
        scope.spawn(|| engine.delete_history("t", NOW).expect("deleted"));
        memory.until_waiting(2);
        scope.spawn(|| put(&engine, "t", "2"));
        memory.until_waiting(3);
        memory.settle(3, Ok(()));
    });
    assert_eq!(read(&engine, &["t"], Start::All), ["2"]);
}

#[test]
fn a_page_is_given_back_when_it_is_handed_out() {
    let memory = Memory::new();
    let engine = memory.engine(2);
    put_numbers(&engine, 1..=20);
    let reader = Reader::new(&engine, &["t"], after(0));
    let other = Reader::new(&engine, &["t"], after(0));
    let mut frames = Vec::new();
    for reader in [&reader, &other] {
        // One event of the page's three.
        while frames.is_empty() {
            let _ = reader.subscription.pull(&mut frames, 1);
        }
        frames.clear();
    }
    assert_eq!(memory.held(), 2);
    drop(other);
    assert_eq!(memory.held(), 1, "who goes gives it back");
    assert_eq!(reader.idle(), numbers(2..=20));
    assert_eq!(memory.held(), 0);
}

#[test]
fn a_page_that_is_taken_back_is_read_again() {
    let memory = Memory::new();
    let engine = memory.engine(2);
    let own = Draft { id: Some("own".into()), ..Draft::new("t", "1") };
    assert_eq!(engine.publish(own, NOW).expect("is taken").seq, 1);
    put_numbers(&engine, 2..=20);
    let starts = [
        (Start::All, 1),
        (Start::Last(15), 6),
        (after(4), 5),
        (Start::After("own".into()), 2),
        (Start::After("nobody's".into()), 1),
    ];
    for (start, first) in starts {
        // Before it is looked at, and after one event, two events, ..
        for every in 0..5 {
            let unknown = start == Start::After("nobody's".into());
            let reader = Reader::new(&engine, &["t"], start.clone());
            let (mut frames, mut seen) = (Vec::new(), 0);
            // It asks for its first page.
            let _ = reader.subscription.pull(&mut frames, 1);
            memory.take_back();
            assert_eq!(memory.held(), 0, "nobody holds anything");
            while frames.len() < 20 - first + 1 + usize::from(unknown) {
                let _ = reader.subscription.pull(&mut frames, 1);
                if frames.len() > seen + every {
                    seen = frames.len();
                    memory.take_back();
                    assert_eq!(memory.held(), 0);
                }
            }
            let data: Vec<String> = frames.iter().map(|frame| frame.data().into_owned()).collect();
            let told = usize::from(unknown);
            assert_eq!(data[told..], numbers(first as u64..=20), "{start:?}, every {every}");
            assert_eq!(frames[0].is_gap(), unknown);
            put(&engine, "other", "x");
            assert_eq!(reader.idle(), nothing());
        }
    }
}
