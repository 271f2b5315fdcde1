//! What a store promises, alone and for a publish.

use fanfare_engine::{Draft, Epoch, JournalError, JournalStats, ReadFrom, ReadRequest, StoredState, Ticket};

use super::*;

#[test]
fn values_come_and_go() {
    let kv = Kv::new(1_000);
    assert_eq!(kv.get("a", 0), None);
    assert_eq!(kv.set("a", "1", None, 0), Ok(()));
    assert_eq!(kv.set("a", "22", Some(10), 0), Ok(()));
    assert_eq!(kv.get("a", 9).as_deref(), Some("22"));
    assert_eq!(kv.get("a", 10), None, "its time has passed");
    assert!(!kv.delete("a", 10), "so it was not there");
    assert_eq!(kv.bytes(), 0);
    assert_eq!(kv.set("a", "1", Some(u64::MAX), 5), Ok(()));
    assert!(kv.delete("a", u64::MAX - 1) && !kv.delete("a", 0));
}

#[test]
fn numbers_are_added_within_a_window() {
    let kv = Kv::new(1_000);
    assert_eq!(kv.increment("n", 5, Some(100), 0), Ok(5));
    assert_eq!(kv.increment("n", -7, Some(100), 99), Ok(-2), "the window is that of the first");
    assert_eq!(kv.increment("n", 1, Some(100), 100), Ok(1), "a new one");
    kv.set("n", "text", None, 100).expect("room");
    assert_eq!(kv.increment("n", 1, None, 100), Err(Refusal::NotANumber));
    kv.set("n", &i64::MAX.to_string(), None, 100).expect("room");
    assert_eq!(kv.increment("n", 1, None, 100), Err(Refusal::NotANumber));
    assert_eq!(kv.get("n", 100), Some(i64::MAX.to_string()), "unchanged");
}

#[test]
fn compare_and_set_changes_what_was_expected() {
    let kv = Kv::new(1_000);
    assert_eq!(kv.compare_and_set("k", Some("x"), "a", None, 0), Ok(false));
    assert_eq!(kv.compare_and_set("k", None, "a", None, 0), Ok(true));
    assert_eq!(kv.compare_and_set("k", None, "b", None, 0), Ok(false));
    assert_eq!(kv.compare_and_set("k", Some("a"), "b", Some(5), 0), Ok(true));
    assert_eq!(kv.get("k", 0).as_deref(), Some("b"));
    assert_eq!(kv.compare_and_set("k", None, "c", None, 5), Ok(true), "its time had passed");
}

#[test]
fn the_limit_holds_and_passed_entries_make_room() {
    let kv = Kv::new(3 * (ENTRY_BYTES as u64 + 10));
    for key in ["a", "b", "c"] {
        assert_eq!(kv.set(key, "123456789", Some(if key == "b" { 10 } else { 100 }), 0), Ok(()));
    }
    assert_eq!(kv.set("d", "", None, 9), Err(Refusal::Full));
    assert_eq!(kv.set("a", "1234567890", None, 9), Err(Refusal::Full), "a longer value, too");
    assert_eq!(kv.set("a", "987654321", None, 9), Ok(()), "one of the same length is fine");
    assert_eq!(kv.set("d", "123456789", None, 10), Ok(()), "b has made room");
    assert_eq!(kv.get("c", 10).as_deref(), Some("123456789"));
    assert_eq!(kv.bytes(), 3 * (ENTRY_BYTES + 10));
    assert_eq!(Kv::new(0).set("a", "", None, 0), Err(Refusal::Full));
}

#[test]
fn keys_have_a_length() {
    let kv = Kv::new(1_000);
    for key in ["", &"k".repeat(256)] {
        assert_eq!(kv.set(key, "", None, 0), Err(Refusal::InvalidKey));
        assert_eq!(kv.increment(key, 1, None, 0), Err(Refusal::InvalidKey));
    }
    assert_eq!(kv.set(&"k".repeat(255), "", None, 0), Ok(()));
}

/// What it holds, and that its bytes are what they say.
fn content(kv: &Kv) -> Vec<(String, String)> {
    let entries = kv.entries.lock();
    let counted: usize = entries.map.iter().map(|(key, entry)| cost(key, &entry.value)).sum();
    assert_eq!(entries.bytes, counted);
    assert!(entries.call.is_empty() && entries.calls.is_empty() && !entries.open);
    let mut all: Vec<_> =
        entries.map.iter().map(|(key, entry)| (key.to_string(), entry.value.to_string())).collect();
    all.sort();
    all
}

fn is(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[test]
fn a_call_that_fails_and_a_turn_that_is_dropped_change_nothing() {
    let kv = Arc::new(Kv::new(1_000));
    let first = kv.open();
    assert_eq!((kv.set("a", "1", None, 0), kv.set("b", "2", None, 0)), (Ok(()), Ok(())));
    first.end_call(true);
    assert!(kv.delete("a", 0));
    assert_eq!((kv.set("b", "longer", None, 0), kv.set("c", "3", None, 0)), (Ok(()), Ok(())));
    assert_eq!(kv.increment("c", 1, None, 0), Ok(4));
    first.end_call(false);
    assert_eq!((kv.get("a", 0).as_deref(), kv.get("c", 0)), (Some("1"), None));
    Box::new(first).commit();
    assert_eq!(content(&kv), is(&[("a", "1"), ("b", "2")]));
    let second = kv.open();
    assert!(kv.delete("a", 0) && kv.set("a", "other", None, 0).is_ok() && kv.delete("b", 0));
    second.end_call(true);
    assert!(kv.delete("a", 0) && kv.set("d", "4", None, 0).is_ok());
    second.end_call(true);
    drop(second);
    assert_eq!(content(&kv), is(&[("a", "1"), ("b", "2")]));
}

#[test]
fn one_has_it_open_at_a_time() {
    let kv = Arc::new(Kv::new(1_000));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..500 {
                    let open = kv.open();
                    let count: u64 = kv.get("n", 0).map_or(0, |count| count.parse().expect("a number"));
                    std::thread::yield_now();
                    kv.set("n", &(count + 1).to_string(), None, 0).expect("room");
                    if round % 2 == 0 {
                        Box::new(open).commit();
                    }
                }
            });
        }
    });
    assert_eq!(content(&kv), is(&[("n", "1000")]));
}

/// Keys that come and go leave nothing behind, so that what is needed to take changes back is bounded as they are.
#[test]
fn what_takes_changes_back_does_not_grow() {
    let kv = Arc::new(Kv::new(10_000));
    let open = kv.open();
    for round in 0..1_000_u64 {
        let (soon, now) = (format!("soon {round}"), round * 10);
        kv.set(&soon, &"x".repeat(3_000), Some(1), now).expect("what has passed makes room");
        kv.set("gone", "x", None, now).expect("room");
        assert!(kv.delete("gone", now));
        open.end_call(round % 3 > 0);
        let entries = kv.entries.lock();
        assert!(entries.call.is_empty() && entries.calls.len() <= 4, "{}", entries.calls.len());
    }
    drop(open);
    assert_eq!(content(&kv), is(&[]));
}

/// A journal that has this state and nothing else.
struct Journaled(Mutex<StoredState>);

impl Journal for Journaled {
    fn epoch(&self) -> Epoch {
        Epoch::from_seed(1)
    }

    fn next_position(&self) -> u64 {
        1
    }

    fn is_closed(&self, _: &str) -> bool {
        false
    }

    fn is_read_to_end(&self, _: &[&str], _: &ReadFrom, _: bool) -> bool {
        true
    }

    fn admit(&self, _: usize) -> Result<(), JournalError> {
        Ok(())
    }

    fn has_room(&self, _: usize) -> bool {
        true
    }

    fn try_submit(&self, _: &[&Draft<'_>], _: &[StateChanges]) -> Result<Option<Ticket>, JournalError> {
        Ok(None)
    }

    fn try_close(&self, _: &str) -> Result<Option<Ticket>, JournalError> {
        Ok(None)
    }

    fn try_delete(&self, _: &str) -> Result<Option<Ticket>, JournalError> {
        Ok(None)
    }

    fn read(&self, _: ReadRequest) {}

    fn stats(&self) -> JournalStats {
        JournalStats::default()
    }

    fn state(&self, _: &str) -> StoredState {
        self.0.lock().clone()
    }

    fn state_version(&self) -> u64 {
        self.0.lock().version
    }
}

#[test]
fn it_is_read_from_the_journal_which_gets_what_has_changed() {
    let value = |text: &str, until_ms| StateValue { text: text.into(), until_ms };
    let entries = vec![("a".into(), value("1", None)), ("b".into(), value("2", Some(100)))];
    let journal = Arc::new(Journaled(Mutex::new(StoredState { version: 7, entries })));
    let kv = Arc::new(Kv::stored(1_000, Arc::clone(&journal) as Arc<dyn Journal>, "tally"));
    let open = kv.open();
    assert_eq!((kv.get("a", 99), kv.get("b", 99)), (Some("1".into()), Some("2".into())));
    assert_eq!((kv.get("b", 100), open.changes()), (None, None), "its time has passed");
    // The same again, there and gone, and put back: no changes.
    assert!(kv.set("a", "1", None, 0).is_ok() && kv.set("c", "3", None, 0).is_ok() && kv.delete("c", 0));
    open.end_call(true);
    assert_eq!(open.changes(), None);
    assert!(kv.set("a", "5", Some(50), 10).is_ok() && kv.delete("b", 0));
    open.end_call(true);
    let mut changes = open.changes().expect("two");
    changes.changes.sort_by(|(a, _), (b, _)| a.cmp(b));
    assert_eq!((&*changes.name, changes.version), ("tally", 7));
    assert_eq!(changes.changes, [("a".into(), Some(value("5", Some(60)))), ("b".into(), None)]);
    Box::new(open).commit();
    assert_eq!(kv.get("a", 59).as_deref(), Some("5"));
    // The journal has lost that.
    journal.0.lock().version = 8;
    assert_eq!(kv.get("a", 59).as_deref(), Some("5"), "nobody has opened it");
    drop(kv.open());
    assert_eq!(content(&kv), is(&[("a", "1"), ("b", "2")]));
}
