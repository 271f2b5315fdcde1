//! Batches for many: some of the many are full, broken or excepted, and the others notice nothing.

use std::net::TcpStream;

use fanfare_engine::Draft;

use super::client::{End, Reader};
use super::{Ask, Rig, SMALL, engine_config, eventually, has_ring, lane_config};

/// Readers of a kind; with the others far more than one run of sends.
const EACH: usize = 60;

/// Before they take their first stream.
#[test]
fn a_lane_says_how_it_sends() {
    let rig = Rig::new();
    let _reader = rig.open(&Ask::default()).opened();
    assert_eq!(rig.stats().io_uring, has_ring());
}

#[test]
fn full_broken_and_excepted_members_leave_what_the_others_get_alone() {
    let mut engine = engine_config();
    engine.history.events = 4_096;
    engine.history.bytes = 64 << 20;
    let rig = Rig::with(engine, lane_config());
    let (mut good, mut stuck, mut named, mut gone) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    // In turn, so that every run of sends has all kinds.
    for _ in 0..EACH {
        good.push(rig.open(&Ask::default()).opened());
        stuck.push(rig.open(&Ask { buffers: Some(SMALL), ..Ask::default() }).opened());
        named.push(rig.open(&Ask { client: Some("ann"), ..Ask::default() }).opened());
        gone.push(rig.open(&Ask::default()).opened());
    }
    let text = |n: usize| format!("{n:06}{}", "x".repeat(1_000));
    let is_for_ann = |n: usize| !n.is_multiple_of(5);
    let all = 600;
    for n in 0..all {
        // Peers that go without a word, in the middle of it all.
        if n % 10 == 5 {
            drop(gone.pop());
        }
        let mut draft = Draft::new("chat", text(n));
        draft.except = (!is_for_ann(n)).then(|| "ann".into());
        rig.send(draft);
        let next = |reader: &mut Reader| assert_eq!(reader.data(), text(n));
        good.iter_mut().for_each(next);
        gone.iter_mut().for_each(next);
        if is_for_ann(n) {
            named.iter_mut().for_each(next);
        }
    }
    eventually("the stuck ones are full", || rig.stats().partial >= EACH as u64);
    eventually("the others are gone", || rig.stats().sockets == 3 * EACH as u64);
    // Now they read: everything, in order, once, over the seam where each was cut and the one where it joins the group again.
    for reader in &mut stuck {
        (0..all).for_each(|n| assert_eq!(reader.data(), text(n)));
    }
    rig.publish("chat", "to all");
    for reader in good.iter_mut().chain(&mut stuck).chain(&mut named) {
        assert_eq!(reader.data(), "to all");
    }
    let whole = (2 * EACH * all + EACH * (all - all / 5) + 3 * EACH) as u64;
    eventually("all that was read is counted", || rig.shared.counters.frames.get() >= whole);
    assert_eq!(rig.shared.counters.lapped.get(), 0);
    assert_eq!(rig.shared.counters.gaps.get(), 0);
}

/// Topics with a few readers each, published to at once: each reader gets what is its own, whatever becomes of those that are
/// sent to by the same call.
#[test]
fn small_topics_that_are_sent_together_get_each_its_own() {
    let mut engine = engine_config();
    engine.history.events = 1 << 16;
    engine.history.bytes = 256 << 20;
    let rig = Rig::with(engine, lane_config());
    let names: Vec<String> = (0..40).map(|n| format!("topic {n}")).collect();
    let (mut good, mut stuck, mut named, mut gone) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (n, name) in names.iter().enumerate() {
        let topics = [name.as_str()];
        let ask = || Ask { topics: &topics, ..Ask::default() };
        good.extend((0..=n % 3).map(|_| (n, rig.open(&ask()).opened())));
        match n % 4 {
            0 => stuck.push((n, rig.open(&Ask { buffers: Some(SMALL), ..ask() }).opened())),
            1 => named.push((n, rig.open(&Ask { client: Some("ann"), ..ask() }).opened())),
            2 => gone.push(rig.open(&ask()).opened()),
            _ => {}
        }
    }
    let text = |topic: usize, round: usize| format!("{topic} {round} {}", "x".repeat(1_000 + topic));
    let is_for_ann = |round: usize| !round.is_multiple_of(7);
    let rounds = 400;
    for round in 0..rounds {
        let draft = |(n, name): (usize, &String)| {
            let mut draft = Draft::new(name.clone(), text(n, round));
            draft.except = (!is_for_ann(round)).then(|| "ann".into());
            draft
        };
        rig.engine.publish_batch(names.iter().enumerate().map(draft).collect(), rig.now()).expect("valid");
        if round % 20 == 7 {
            drop(gone.pop());
        }
        let next = |(n, reader): &mut (usize, Reader)| assert_eq!(reader.data(), text(*n, round));
        // Now and then several rounds come together.
        if round % 16 == 15 {
            for (n, reader) in &mut good {
                (round - 15..=round).for_each(|round| assert_eq!(reader.data(), text(*n, round)));
            }
        }
        if is_for_ann(round) {
            named.iter_mut().for_each(next);
        }
    }
    eventually("the stuck ones are full", || rig.stats().partial >= stuck.len() as u64);
    for (n, reader) in &mut stuck {
        (0..rounds).for_each(|round| assert_eq!(reader.data(), text(*n, round)));
    }
    for name in &names {
        rig.publish(name, "the last");
        rig.engine.close_topic(name, rig.now()).expect("valid");
    }
    for (_, reader) in good.iter_mut().chain(&mut stuck).chain(&mut named) {
        let (got, end) = reader.rest();
        assert_eq!((got, end), (vec!["the last".to_owned()], End::Whole));
    }
    assert_eq!(rig.shared.counters.lapped.get(), 0);
    assert_eq!(rig.shared.counters.gaps.get(), 0);
}

/// Resets come back as errors of the next send.
#[test]
fn members_that_reset_are_dropped_and_the_run_goes_on() {
    let rig = Rig::new();
    let mut good: Vec<Reader> = Vec::new();
    for _ in 0..10 {
        let resetting: Vec<TcpStream> = (0..EACH)
            .map(|at| {
                if at % 20 == 0 {
                    good.push(rig.open(&Ask::default()).opened());
                }
                rig.open(&Ask::default()).opened().into_socket()
            })
            .collect();
        for socket in &resetting {
            socket2::SockRef::from(socket).set_linger(Some(std::time::Duration::ZERO)).expect("settable");
        }
        rig.publish("chat", "before");
        drop(resetting);
        rig.publish("chat", "after");
        for reader in &mut good {
            assert_eq!((reader.data(), reader.data()), ("before".into(), "after".into()));
        }
    }
    eventually("only the good ones are left", || rig.stats().sockets == good.len() as u64);
}

#[test]
fn a_lane_that_is_dropped_in_the_middle_of_a_large_group_cuts_nothing_it_has_not() {
    for _ in 0..20 {
        let rig = Rig::new();
        let readers: Vec<Reader> = (0..EACH).map(|_| rig.open(&Ask::default()).opened()).collect();
        for n in 0..200 {
            rig.publish("chat", &n.to_string());
        }
        drop(rig.lanes);
        for mut reader in readers {
            let (got, _) = reader.rest();
            assert!(got.iter().enumerate().all(|(at, data)| *data == at.to_string()), "{got:?}");
        }
    }
}
