//! What a store keeps: order, topics, pages, retention, topics' ends, handlers' state, restarts, exchange.

mod support;

use fanfare_engine::Draft;
use fanfare_store::{Change, Config, Durability, ErrorKind, GapCause, PageLimits, Store, Topics};
use support::{MemDisk, after, all, data, draft, open, small};

#[test]
fn every_field_comes_back_after_a_restart() {
    let dir = tempfile::tempdir().expect("a folder");
    let full = Draft {
        topic: "t".into(),
        event: Some("e".into()),
        id: Some("mine".into()),
        data: "a\nb\0\u{2028}".into(),
        retry: Some(7),
        except: Some("me".into()),
        key: Some("k".into()),
    };
    let store = Store::open(dir.path(), small(Durability::Always)).expect("opens");
    assert_eq!(store.append(&[full.clone(), draft("u", "")], &[], 99).expect("stored"), 1);
    let epoch = store.epoch().clone();
    store.close().expect("closes");
    let store = Store::open(dir.path(), small(Durability::Always)).expect("opens again");
    assert_eq!(store.epoch(), &epoch);
    let page = all(&store, Topics::All);
    assert_eq!((page.events[0].position, page.events[0].at_ms), (1, 99));
    assert_eq!(page.events[0].draft, full);
    assert!(page.gaps.is_empty() && page.events.len() == 2 && store.damages().is_empty());
    assert_eq!(store.append(&[draft("t", "x")], &[], 99).expect("stored"), 3);
}

#[test]
fn topics_are_read_alone_and_together_over_many_files() {
    let disk = MemDisk::default();
    let store = open(&disk, Durability::Os).expect("opens");
    for i in 0..700 {
        let topic = ["a", "b", "c"][i % 3];
        store.append(&[draft(topic, &i.to_string())], &[], 0).expect("stored");
    }
    assert!(store.stats().files > 5, "{:?}", store.stats());
    let check = |store: &Store| {
        for from in [0, 1, 63, 64, 65, 350, 699, 700, 900] {
            for (topics, step) in [(&["a"][..], 3), (&["b", "a"][..], 2), (&["none"][..], 0)] {
                let page = after(store, Topics::Only(topics), from);
                let want: Vec<_> = (from as usize..700)
                    .filter(|i| topics.contains(&["a", "b", "c"][i % 3]))
                    .map(|i| i.to_string())
                    .collect();
                assert_eq!(data(&page.events), want, "{topics:?} {step} after {from}");
                assert!(page.gaps.is_empty() && page.through >= 700.max(from));
            }
            let page = after(store, Topics::All, from);
            assert_eq!(page.events.len() as u64, 700_u64.saturating_sub(from));
        }
    };
    check(&store);
    store.close().expect("closes");
    check(&open(&disk, Durability::Os).expect("opens again"));
}

#[test]
fn pages_are_bounded_in_bytes_but_never_empty() {
    let store = open(&MemDisk::default(), Durability::Os).expect("opens");
    let events: Vec<_> = (0..5).map(|_| draft("t", &"x".repeat(1000))).collect();
    store.append(&events, &[], 0).expect("stored");
    let page = store.page(Topics::All, 0, PageLimits { events: 100, bytes: 1500 }).expect("a page");
    assert!(page.events.len() == 2 && page.more && page.through == 2);
    let page = store.page(Topics::Only(&["t"]), 0, PageLimits { events: 100, bytes: 1 }).expect("a page");
    assert!(page.events.len() == 1 && page.more);
}

#[test]
fn retention_gives_space_back_and_tells() {
    let dir = tempfile::tempdir().expect("a folder");
    let config = Config { max_events: 100, ..small(Durability::Os) };
    let store = Store::open(dir.path(), config.clone()).expect("opens");
    let put = Change::Put { table: "h".into(), key: "k".into(), value: "v".into(), until_ms: 0 };
    store.append(&[], &[put], 0).expect("stored");
    for i in 0..1000 {
        store.append(&[draft("t", &i.to_string())], &[], i).expect("stored");
    }
    let before = store.stats();
    assert!(store.retain(0).expect("retains") > 3);
    let now = store.stats();
    assert!(now.events >= 100 && now.events < 250 && now.bytes * 3 < before.bytes, "{now:?}");
    let files = std::fs::read_dir(dir.path()).expect("lists").count() as u64;
    assert!(files <= 2 * now.files + 4, "{files} files");
    let check = |store: &Store| {
        let page = all(store, Topics::Only(&["t"]));
        assert_eq!(page.gaps.len(), 1);
        assert_eq!((page.gaps[0].first, page.gaps[0].cause), (1, GapCause::LetGo));
        assert_eq!(page.gaps[0].last + 1, page.events[0].position);
        assert_eq!(page.events.last().map(|event| event.position), Some(1000));
        // Its record went with the first file.
        assert_eq!(store.table("h").1["k"].0, "v");
    };
    check(&store);
    store.close().expect("closes");
    check(&Store::open(dir.path(), config).expect("opens again"));
}

#[test]
fn age_and_bytes_let_go_too() {
    let config = Config { max_age_ms: 500, max_bytes: 8192, ..small(Durability::Os) };
    let store = Store::open_on(std::sync::Arc::new(MemDisk::default()), "d".into(), config).expect("opens");
    for i in 0..1000 {
        store.append(&[draft("t", "x")], &[], i).expect("stored");
    }
    store.retain(0).expect("retains");
    assert!(store.stats().bytes <= 8192 && store.stats().events > 0);
    store.retain(10_000).expect("retains");
    assert_eq!(store.stats().events, 0);
    assert_eq!(store.append(&[draft("t", "x")], &[], 10_000).expect("stored"), 1001);
}

#[test]
fn closed_and_deleted_topics_stay_so() {
    let disk = MemDisk::default();
    let store = open(&disk, Durability::Os).expect("opens");
    store.append(&[draft("a", "1"), draft("b", "2")], &[], 0).expect("stored");
    store.close_topic("a", 0).expect("closes it");
    store.delete_topic("b", 0).expect("deletes it");
    let check = |store: &Store| {
        let error = store.append(&[draft("c", "x"), draft("a", "x")], &[], 0).expect_err("it is closed");
        assert_eq!(error.kind(), ErrorKind::TopicClosed);
        assert_eq!(store.closed_topics(), ["a"]);
        assert!(all(store, Topics::Only(&["b"])).events.iter().all(|event| event.position > 2));
    };
    check(&store);
    store.append(&[draft("b", "new")], &[], 0).expect("stored");
    store.close().expect("closes");
    let store = open(&disk, Durability::Os).expect("opens again");
    check(&store);
    assert_eq!(data(&all(&store, Topics::All).events), ["1", "new"]);
}

#[test]
fn what_cannot_be_stored_is_refused_and_changes_nothing() {
    let store = open(&MemDisk::default(), Durability::Always).expect("opens");
    let good = draft("t", "x");
    let refused = [
        draft("", "x"),
        draft("a\nb", "x"),
        draft(&"x".repeat(256), "x"),
        good.clone().with_event(""),
        good.clone().with_id("a b"),
        Draft { retry: Some(u64::MAX), ..good.clone() },
        Draft { except: Some("\r".into()), ..good.clone() },
        Draft { key: Some("x".repeat(256).into()), ..good.clone() },
    ];
    for bad in refused {
        let error = store.append(&[good.clone(), bad], &[], 0).expect_err("it cannot be stored");
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    assert_eq!(store.append(&[good], &[], 0).expect("stored"), 1);
}

#[test]
fn one_process_owns_a_folder() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Store::open(dir.path(), Config::default()).expect("opens");
    let error = Store::open(dir.path(), Config::default()).err().expect("it is taken");
    assert_eq!(error.kind(), ErrorKind::Locked);
    assert!(error.to_string().contains("LOCK"), "{error}");
    drop(store);
    Store::open(dir.path(), Config::default()).expect("opens after the other has ended");
}

#[test]
fn publishers_at_the_same_time_share_syncs() {
    let disk = MemDisk::default();
    let store = open(&disk, Durability::Always).expect("opens");
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let store = &store;
            scope.spawn(move || {
                for i in 0..200 {
                    let topic = format!("t{thread}");
                    store.append(&[draft(&topic, &i.to_string())], &[], 0).expect("stored");
                }
            });
        }
    });
    let timing = store.stats().timing;
    assert_eq!(timing.transactions, 1600);
    let page = all(&store, Topics::All);
    assert!(page.events.iter().map(|event| event.position).eq(1..=1600));
    for thread in 0..8 {
        let page = all(&store, Topics::Only(&[&format!("t{thread}")]));
        assert!(page.events.iter().enumerate().all(|(i, event)| event.draft.data == i.to_string()));
    }
}

#[test]
fn an_export_is_imported_whole_and_bad_lines_are_named() {
    let store = open(&MemDisk::default(), Durability::Os).expect("opens");
    let put = Change::Put { table: "h".into(), key: "k".into(), value: "v\n".into(), until_ms: 5 };
    store.append(&[draft("a", "1\r\n"), draft("b", "2").with_id("x")], &[put], 3).expect("stored");
    store.close_topic("a", 0).expect("closes it");
    let mut text = Vec::new();
    assert_eq!(store.export(&mut text).expect("exports").events, 2);
    let other = open(&MemDisk::default(), Durability::Os).expect("opens");
    assert_eq!(other.import(&mut &text[..]).expect("imports").events, 2);
    assert_eq!(all(&other, Topics::All).events, all(&store, Topics::All).events);
    assert_eq!(other.table("h").1, store.table("h").1);
    assert_eq!(other.closed_topics(), ["a"]);
    assert!(other.import(&mut &text[..]).is_err(), "it is not empty");

    let cut = text.len() - 5;
    let third = open(&MemDisk::default(), Durability::Os).expect("opens");
    let error = third.import(&mut &text[..cut]).expect_err("it is cut");
    assert!(
        error.to_string().starts_with("line 5: ") && error.to_string().contains(" at column "),
        "{error}"
    );
}

#[test]
fn the_last_events_of_topics_are_found_from_the_end() {
    let disk = MemDisk::default();
    let store = open(&disk, Durability::Os).expect("opens");
    let topic = |position: u64| ["a", "b", "c"][position as usize % 3];
    for position in 1..=700 {
        store.append(&[draft(topic(position), "x")], &[], 0).expect("stored");
    }
    assert!(store.stats().files > 5, "{:?}", store.stats());
    let check = |store: &Store| {
        for topics in [&["a"][..], &["c", "a"], &["a", "b", "c"], &["none"]] {
            let of: Vec<u64> = (1..=700).filter(|position| topics.contains(&topic(*position))).collect();
            for count in [1, 2, 3, 64, 100, 233, 234, 466, 467, 700, 701, usize::MAX] {
                let want = of.len().checked_sub(count).and_then(|at| of.get(at)).map_or(0, |first| first - 1);
                assert_eq!(store.before_last(topics, count).expect("found"), want, "{count} of {topics:?}");
            }
        }
        assert_eq!(store.before_last(&["a"], 0).expect("found"), 700);
    };
    check(&store);
    store.close().expect("closes");
    let indexes: Vec<_> =
        disk.names().into_iter().filter(|name| name.extension() == Some("idx".as_ref())).collect();
    let store = open(&disk, Durability::Os).expect("opens again");
    check(&store);
    for index in &indexes {
        let mut bytes = disk.bytes(index);
        bytes.iter_mut().skip(200).for_each(|byte| *byte ^= 0xff);
        disk.set(index, &bytes);
    }
    assert!(indexes.len() > 4);
    check(&store);
}

#[test]
fn what_may_be_lost_is_told_before_anything_new_comes() {
    let disk = MemDisk::default();
    let slow = || Config { sync_interval: std::time::Duration::from_secs(60), ..small(Durability::Interval) };
    let store = Store::open_on(std::sync::Arc::new(disk.clone()), "d".into(), slow()).expect("opens");
    store.append(&[draft("t", "kept")], &[], 0).expect("taken");
    store.flush().expect("written");
    store.append(&[draft("t", "lost")], &[], 0).expect("taken");
    let after_kill = disk.after_kill();
    let store =
        Store::open_on(std::sync::Arc::new(after_kill.clone()), "d".into(), slow()).expect("opens again");
    let next = store.next_position();
    assert!(next > 3, "no position twice");
    for from in [0, 1, 2] {
        let page = after(&store, Topics::Only(&["t"]), from);
        assert_eq!(data(&page.events), if from == 0 { &["kept"][..] } else { &[] });
        let first = from.max(1) + 1;
        assert_eq!((page.gaps.len(), page.gaps[0].first, page.gaps[0].last), (1, first, next - 1));
        assert_eq!((page.gaps[0].cause, page.through, page.more), (GapCause::Unsynced, next - 1, false));
    }
    assert_eq!(after(&store, Topics::All, next - 1).gaps, []);
}

#[test]
fn a_page_says_how_far_it_is_complete_and_what_waits_can_be_written() {
    let disk = MemDisk::default();
    let config = Config { sync_interval: std::time::Duration::from_secs(60), ..small(Durability::Interval) };
    let store = Store::open_on(std::sync::Arc::new(disk.clone()), "d".into(), config).expect("opens");
    for n in 0..5 {
        store.append(&[draft("t", &n.to_string())], &[], 0).expect("taken");
    }
    assert_eq!(after(&store, Topics::All, 0).through, 0, "all of it waits");
    store.write().expect("written");
    let page = after(&store, Topics::All, 0);
    assert_eq!((page.events.len(), page.through), (5, 5));
    assert_eq!(after(&store, Topics::Only(&["other"]), 2).through, 5);
}

#[test]
fn who_may_not_wait_is_told_that_there_is_no_room() {
    let disk = MemDisk::default();
    let config = Config { sync_interval: std::time::Duration::from_secs(60), ..small(Durability::Interval) };
    let store = Store::open_on(std::sync::Arc::new(disk.clone()), "d".into(), config).expect("opens");
    let big = [draft("t", &"x".repeat(40 << 10))];
    let mut taken = 0;
    while let Some(ticket) = store.try_submit(&big, &[], 0, Durability::Interval).expect("no failure") {
        assert!(ticket.is_settled_at_once() && ticket.outcome().is_some_and(|outcome| outcome.is_ok()));
        taken += 1;
        assert!(taken < 1_000, "it takes without end");
    }
    assert!(taken > 1);
    store.admit(1, Durability::Interval).expect("room is made");
    assert!(store.try_submit(&big, &[], 0, Durability::Interval).expect("no failure").is_some());
    assert_eq!(store.next_position(), taken + 2);
    store.close_topic("t", 0).expect("closes");
    let refused = store.try_submit(&big, &[], 0, Durability::Interval).expect_err("closed");
    assert_eq!(refused.kind(), ErrorKind::TopicClosed);
}

#[test]
fn ids_of_publishers_are_found_whatever_became_of_the_index() {
    let disk = MemDisk::default();
    let store = open(&disk, Durability::Os).expect("opens");
    for i in 1..=400_u64 {
        let own = if i % 100 == 50 { "again".to_owned() } else { format!("own-{i}") };
        store.append(&[draft(["a", "b"][i as usize % 2], "x").with_id(own)], &[], 0).expect("stored");
    }
    store.append(&[draft("a", "x").with_id("own-398"), draft("a", "without")], &[], 0).expect("stored");
    assert!(store.stats().files > 3, "{:?}", store.stats());
    let check = |store: &Store| {
        let find = |topics: &[&str], id: &str| store.position_of_id(topics, id).expect("looks");
        for i in [1, 2, 49, 200, 333, 399, 400] {
            let topic = ["a", "b"][i as usize % 2];
            assert_eq!(find(&[topic], &format!("own-{i}")), Some(i));
            assert_eq!(find(&["a", "b"], &format!("own-{i}")), Some(i));
            assert_eq!(find(&[["b", "a"][i as usize % 2]], &format!("own-{i}")), None, "not in that topic");
        }
        for unknown in ["again", "own-0", "own-398", ""] {
            assert_eq!(find(&["a", "b"], unknown), None, "{unknown}: none, or several");
        }
    };
    check(&store);
    store.close().expect("closes");
    check(&open(&disk, Durability::Os).expect("opens again"));
    for name in disk.names().iter().filter(|name| name.extension().is_some_and(|end| end == "idx")) {
        // As the version before wrote it, which knew no ids.
        let mut bytes = disk.bytes(name);
        bytes[7] = 1;
        disk.set(name, &bytes);
    }
    let store = open(&disk, Durability::Os).expect("makes them again");
    check(&store);
    store.delete_topic("a", 0).expect("deletes it");
    assert_eq!(store.position_of_id(&["a"], "own-2").expect("looks"), None, "with its events");
}

/// A store whose topics have rules.
fn ruled(disk: &MemDisk, rules: &[&str]) -> Store {
    let topics = rules.iter().map(|rule| (*rule).to_owned()).collect();
    let config = Config { topics, ..small(Durability::Os) };
    Store::open_on(std::sync::Arc::new(disk.clone()), "d".into(), config).expect("opens")
}

#[test]
fn topics_have_limits_of_their_own() {
    let disk = MemDisk::default();
    let rules = ["few/* events=20", "young age=1s", "light bytes=2KiB"];
    let store = ruled(&disk, &rules);
    let put = Change::Put { table: "h".into(), key: "k".into(), value: "v".into(), until_ms: 0 };
    store.append(&[], &[put], 0).expect("stored");
    for i in 0..600_u64 {
        let text = i.to_string();
        let topics = ["few/a", "few/b", "young", "light", "kept"];
        let events: Vec<_> = topics.iter().map(|topic| draft(topic, &text)).collect();
        store.append(&events, &[], i).expect("stored");
    }
    let before = store.stats();
    store.retain(10_000).expect("retains");
    let now = store.stats();
    assert!(now.bytes * 2 < before.bytes && now.files >= before.files, "{now:?} {before:?}");
    let check = |store: &Store| {
        let numbers = |topic: &str| -> Vec<u64> {
            all(store, Topics::Only(&[topic]))
                .events
                .iter()
                .map(|e| e.draft.data.parse().expect("a number"))
                .collect()
        };
        assert_eq!(numbers("kept"), (0..600).collect::<Vec<_>>(), "what has no rule stays");
        for (topic, least, most) in
            [("few/a", 20, 120), ("few/b", 20, 120), ("young", 0, 100), ("light", 20, 150)]
        {
            let left = numbers(topic);
            assert!((least..=most).contains(&left.len()), "{topic}: {}", left.len());
            let newest = 600 - left.len() as u64..600;
            assert_eq!(left, newest.collect::<Vec<_>>(), "{topic}: the newest, without a hole");
            let page = all(store, Topics::Only(&[topic, "kept"]));
            assert!(page.gone.iter().any(|(_, of)| of == topic), "{topic}: {:?}", page.gone);
            assert!(page.gaps.is_empty() && page.events.len() == left.len() + 600);
            // From anywhere before what is left, it is told; from there on, it is not.
            let first =
                page.events.iter().find(|event| event.draft.topic == *topic).map_or(3000, |e| e.position);
            for from in [0, 1, 7, 500, first.saturating_sub(6)] {
                assert!(!after(store, Topics::Only(&[topic]), from).gone.is_empty(), "{topic} after {from}");
            }
            assert!(after(store, Topics::Only(&[topic]), first).gone.is_empty(), "{topic} after {first}");
        }
        assert!(all(store, Topics::Only(&["kept"])).gone.is_empty());
        assert_eq!(store.table("h").1["k"].0, "v");
        assert_eq!(store.check().expect("checks").damages, Vec::new());
    };
    check(&store);
    store.close().expect("closes");
    let store = ruled(&disk, &rules);
    check(&store);
    drop(store);
    // Without their indexes they are read from front to back.
    for name in disk.names().iter().filter(|name| name.extension().is_some_and(|end| end == "idx")) {
        disk.forget(name);
    }
    check(&ruled(&disk, &rules));
}

#[test]
fn topics_have_a_durability_of_their_own() {
    let disk = MemDisk::default();
    let store = ruled(&disk, &["safe/* durability=always", "loose durability=none"]);
    assert_eq!(store.durability_of("safe/x"), Durability::Always);
    assert_eq!(store.durability_of("loose"), Durability::None);
    assert_eq!(store.durability_of("other"), Durability::Os);
    assert_eq!(store.durability_of_all(&[draft("loose", ""), draft("safe/x", "")]), Durability::Always);
    let syncs = disk.syncs();
    store.append(&[draft("safe/x", "1")], &[], 0).expect("stored");
    assert_eq!(disk.syncs(), syncs + 1);
    store.append(&[draft("other", "2")], &[], 0).expect("stored");
    store.append(&[draft("loose", "3")], &[], 0).expect("stored");
    assert_eq!(disk.syncs(), syncs + 1);
}
