//! Readers that fall out of history: each policy gives exactly what it says.
#![cfg(not(loom))]

mod support;

use fanfare_engine::{Draft, LagPolicy, Pulled, Start, SubscribeError};
use support::*;

const TOPIC: &[&str] = &["t"];

#[test]
fn disconnect_ends_and_the_way_back_is_told() {
    let engine = keeping(2);
    let reader = Reader::new(&engine, TOPIC, Start::Live);
    put(&engine, "t", "a");
    assert_eq!(reader.idle(), ["a"]);
    put_all(&engine, "t", &["b", "c", "d"]);
    assert_eq!(reader.until(Pulled::Lapped), [""; 0]);
    assert_eq!(reader.until(Pulled::Lapped), [""; 0], "it stays ended");
    assert_eq!(engine.stats().lapped, 1);

    let back = reader.subscription.last_id();
    assert_eq!(back, id(1));
    let told = gap(2, &back, Some(&id(3)), Some(&id(4)));
    assert_eq!(read(&engine, TOPIC, Start::After(back.into())), [&told, "c", "d"]);
}

#[test]
fn a_full_history_behind_is_not_behind() {
    for lag in [LagPolicy::Disconnect, LagPolicy::Skip, LagPolicy::Conflate] {
        let engine = keeping(3);
        let reader = Reader::with_lag(&engine, TOPIC, Start::Live, lag);
        put(&engine, "t", "a");
        assert_eq!(reader.idle(), ["a"]);
        put_all(&engine, "t", &["b", "c", "d"]);
        assert_eq!(reader.idle(), ["b", "c", "d"], "{lag}");
        assert_eq!((engine.stats().gaps, engine.stats().lapped), (0, 0));
    }
}

#[test]
fn skip_tells_exactly_what_is_missing() {
    for missing in 1..20 {
        let engine = keeping(4);
        let reader = Reader::with_lag(&engine, TOPIC, Start::Live, LagPolicy::Skip);
        put_all(&engine, "t", &["a", "b"]);
        assert_eq!(reader.idle(), ["a", "b"]);
        let published = 4 + missing;
        for n in 0..published {
            put(&engine, "t", &n.to_string());
        }
        let newest = 2 + published;
        let mut expected = vec![gap(newest - 4, &id(2), Some(&id(newest - 3)), Some(&id(newest)))];
        expected.extend((missing..published).map(|n| n.to_string()));
        assert_eq!(reader.idle(), expected, "from behind position 2 up to before the oldest");
        put(&engine, "t", "on");
        assert_eq!(reader.idle(), ["on"], "told once");
        assert_eq!(engine.stats().gaps, 1);
    }
}

#[test]
fn a_live_reader_misses_what_was_evicted_before_its_first_pull() {
    for (lag, end) in [(LagPolicy::Disconnect, Pulled::Lapped), (LagPolicy::Skip, Pulled::Idle)] {
        let engine = keeping(2);
        put_all(&engine, "t", &["a", "b", "c"]);
        let reader = Reader::with_lag(&engine, TOPIC, Start::Live, lag);
        put_all(&engine, "t", &["d", "e", "f"]);
        let told = gap(4, &id(3), Some(&id(5)), Some(&id(6)));
        let expected = if end == Pulled::Idle { vec![&*told, "e", "f"] } else { vec![] };
        assert_eq!(reader.until(end), expected, "{lag}");
    }
}

#[test]
fn a_first_visit_does_not_miss_what_was_there_before_it() {
    let engine = keeping(3);
    put_all(&engine, "t", &["a", "b", "c"]);
    let all = Reader::new(&engine, TOPIC, Start::All);
    let last = Reader::new(&engine, TOPIC, Start::Last(2));
    put_all(&engine, "t", &["d", "e"]);
    assert_eq!(all.idle(), ["c", "d", "e"]);
    assert_eq!(last.idle(), ["c", "d", "e"]);
}

#[test]
fn who_comes_back_is_told_whatever_its_policy() {
    for lag in [LagPolicy::Disconnect, LagPolicy::Skip, LagPolicy::Conflate] {
        let engine = keeping(2);
        put_all(&engine, "t", &["a", "b"]);
        let reader = Reader::with_lag(&engine, TOPIC, after(1), lag);
        put_all(&engine, "t", &["c", "d"]);
        let told = gap(2, &id(1), Some(&id(3)), Some(&id(4)));
        assert_eq!(
            reader.idle(),
            [&told, "c", "d"],
            "{lag}: b was evicted between its return and its first pull"
        );
    }
}

#[test]
fn conflate_gives_the_last_value_of_every_key() {
    let engine = keeping(4);
    let reader = Reader::with_lag(&engine, TOPIC, Start::Live, LagPolicy::Conflate);
    put(&engine, "t", "start");
    assert_eq!(reader.idle(), ["start"]);
    for round in 0..50 {
        for key in 0..10 {
            let data = format!("k{key}={round}");
            put_draft(&engine, keyed("t", &format!("k{key}"), &data)).unwrap();
        }
    }
    put_draft(&engine, keyed("t", "k3", "k3=last")).unwrap();
    let expected: Vec<String> = (0..10)
        .filter(|key| *key != 3)
        .map(|key| format!("k{key}=49"))
        .chain(["k3=last".to_owned()])
        .collect();
    assert_eq!(reader.idle(), expected);
    assert_eq!(reader.idle(), [""; 0]);
    assert_eq!(engine.stats().gaps, 0);
}

#[test]
fn conflate_keeps_keys_that_were_evicted_long_ago() {
    let engine = keeping(2);
    let reader = Reader::with_lag(&engine, TOPIC, Start::Live, LagPolicy::Conflate);
    put_draft(&engine, keyed("t", "rare", "rare")).unwrap();
    for n in 0..1000 {
        put_draft(&engine, keyed("t", "often", &n.to_string())).unwrap();
    }
    assert_eq!(reader.idle(), ["rare", "998", "999"], "what the ring holds is not thinned out");
}

#[test]
fn the_default_key_is_the_type() {
    let engine = keeping(1);
    let reader = Reader::with_lag(&engine, TOPIC, Start::Live, LagPolicy::Conflate);
    for n in 0..5 {
        put_draft(&engine, Draft::new("t", format!("x{n}")).with_event("x")).unwrap();
        put_draft(&engine, Draft::new("t", format!("plain{n}"))).unwrap();
    }
    assert_eq!(reader.idle(), ["x4", "plain4"]);
}

#[test]
fn conflate_has_the_newest_value_although_it_is_older_than_the_reader() {
    let engine = keeping(2);
    put_draft(&engine, keyed("t", "k", "old")).unwrap();
    put_draft(&engine, keyed("t", "k", "new")).unwrap();
    let reader = Reader::with_lag(&engine, TOPIC, Start::Position(0), LagPolicy::Conflate);
    put_draft(&engine, keyed("t", "other", "1")).unwrap();
    put_draft(&engine, keyed("t", "other", "2")).unwrap();
    put_draft(&engine, keyed("t", "other", "3")).unwrap();
    assert_eq!(reader.idle(), ["new", "2", "3"]);
}

#[test]
fn conflate_tells_when_it_had_to_drop_a_key() {
    let engine = engine(|config| {
        config.history.events = 2;
        config.limits.conflate_keys = 3;
    });
    let reader = Reader::with_lag(&engine, TOPIC, Start::Live, LagPolicy::Conflate);
    put(&engine, "t", "start");
    assert_eq!(reader.idle(), ["start"]);
    for n in 2..=10 {
        put_draft(&engine, keyed("t", &format!("k{n}"), &n.to_string())).unwrap();
    }
    let told = gap(5, &id(1), Some(&id(6)), Some(&id(10)));
    assert_eq!(reader.idle(), [&told, "6", "7", "8", "9", "10"], "two in the ring and three kept");
    put(&engine, "t", "on");
    assert_eq!(reader.idle(), ["on"], "told once");
}

#[test]
fn a_dropped_key_is_told_once_even_if_the_pull_stops_before_what_follows() {
    let engine = engine(|config| {
        config.history.events = 1;
        config.limits.conflate_keys = 1;
    });
    let reader = Reader::with_lag(&engine, TOPIC, Start::Live, LagPolicy::Conflate);
    for n in 1..=6 {
        put_draft(&engine, keyed("t", &format!("k{n}"), &n.to_string())).unwrap();
    }
    let mut frames = Vec::new();
    for through in [2, 3, u64::MAX] {
        assert_eq!(reader.subscription.pull_through(&mut frames, usize::MAX, through), Pulled::Idle);
    }
    let got: Vec<String> = frames.iter().map(words).collect();
    assert_eq!(got, [&gap(2, &id(0), None, None), "5", "6"]);
}

#[test]
fn conflate_tells_what_was_evicted_before_anybody_conflated() {
    let engine = keeping(2);
    for n in 1..=4 {
        put_draft(&engine, keyed("t", &format!("k{n}"), &n.to_string())).unwrap();
    }
    let reader = Reader::with_lag(&engine, TOPIC, Start::Position(1), LagPolicy::Conflate);
    let told = gap(2, &id(1), Some(&id(3)), Some(&id(4)));
    assert_eq!(reader.idle(), [&told, "3", "4"]);
}

#[test]
fn a_topic_added_to_a_conflating_reader_begins_there() {
    let engine = keeping(1);
    let watcher = engine.watcher();
    let helper = Reader::with_lag(&engine, &["u"], Start::Live, LagPolicy::Conflate);
    let options =
        fanfare_engine::SubscribeOptions { lag: LagPolicy::Conflate, ..options(TOPIC, Start::Live) };
    let subscription = engine.subscribe(&watcher, &options, NOW).unwrap();
    let reader = Reader { subscription, watcher };
    put_draft(&engine, keyed("u", "before", "before")).unwrap();
    assert!(reader.subscription.add_topic("u", NOW).unwrap());
    for key in ["x", "y", "z"] {
        put_draft(&engine, keyed("u", key, key)).unwrap();
    }
    assert_eq!(reader.idle(), ["x", "y", "z"]);
    assert_eq!(helper.idle(), ["before", "x", "y", "z"]);
}

#[test]
fn one_reader_that_lags_costs_the_others_nothing() {
    let engine = keeping(2);
    let stuck = Reader::new(&engine, TOPIC, Start::Live);
    let reader = Reader::new(&engine, TOPIC, Start::Live);
    put(&engine, "t", "a");
    assert_eq!((stuck.idle(), reader.idle()), (vec!["a".to_owned()], vec!["a".to_owned()]));
    for n in 0..100 {
        put(&engine, "t", &n.to_string());
        assert_eq!(reader.idle(), [n.to_string()]);
    }
    assert_eq!(stuck.until(Pulled::Lapped), [""; 0]);
}

#[test]
fn several_topics_lose_on_their_own() {
    let engine = keeping(2);
    let reader = Reader::with_lag(&engine, &["x", "y"], Start::Live, LagPolicy::Skip);
    put(&engine, "x", "x1");
    assert_eq!(reader.idle(), ["x1"]);
    put(&engine, "y", "y2");
    put_all(&engine, "x", &["x3", "x4", "x5"]);
    put(&engine, "y", "y6");
    let told = gap(1, &id(1), Some(&id(2)), Some(&id(6)));
    assert_eq!(reader.idle(), [&told, "y2", "x4", "x5", "y6"], "only x3 is lost");
}

#[test]
fn words_of_policies_are_read_back() {
    for lag in [LagPolicy::Disconnect, LagPolicy::Skip, LagPolicy::Conflate] {
        assert_eq!(lag.to_string().parse(), Ok(lag));
    }
    assert!("skipp".parse::<LagPolicy>().is_err());
}

#[test]
fn a_lapped_reader_of_a_closed_topic_comes_back_to_what_is_left() {
    let engine = keeping(2);
    let reader = Reader::new(&engine, TOPIC, Start::Live);
    put(&engine, "t", "a");
    assert_eq!(reader.idle(), ["a"]);
    put_all(&engine, "t", &["b", "c", "d"]);
    assert!(engine.close_topic("t", NOW).unwrap());
    assert_eq!(reader.until(Pulled::Lapped), [""; 0]);
    let back = Reader::new(&engine, TOPIC, after(1));
    let told = gap(2, &id(1), Some(&id(3)), Some(&id(4)));
    assert_eq!(back.until(Pulled::Ended), [&told, "c", "d"]);
    let refused = Reader::open(&engine, &options(TOPIC, after(4))).err();
    assert_eq!(refused, Some(SubscribeError::Closed));
}
