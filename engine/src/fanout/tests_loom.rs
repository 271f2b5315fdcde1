//! Models of waking. A wake-up that is lost shows as a deadlock. At LOOM_MAX_PREEMPTIONS=3 each takes up to 3 s.

use std::task::Waker;

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use super::{Interests, Watcher};
use crate::history::TopicKey;
use crate::sync::{Arc, Bell};

/// History, reduced to how many events there are, and who is interested.
struct Topic {
    committed: AtomicUsize,
    interests: Interests,
}

impl Topic {
    fn new(key: u64) -> Arc<Self> {
        Arc::new(Self { committed: AtomicUsize::new(0), interests: Interests::new(TopicKey::from_bits(key)) })
    }

    fn publish(&self) {
        self.committed.fetch_add(1, Ordering::Release);
        self.interests.notify();
    }

    fn committed(&self) -> usize {
        self.committed.load(Ordering::Acquire)
    }
}

/// Reads until `done` says that everything has come; sleeps in between.
fn read_until(watcher: &Watcher, bell: &Arc<Bell>, mut done: impl FnMut() -> bool) {
    watcher.set_waker(&Waker::from(Arc::clone(bell)));
    let mut dirty = Vec::new();
    loop {
        watcher.take_dirty(&mut dirty);
        if done() {
            return;
        }
        if watcher.park() {
            bell.wait();
        }
    }
}

/// One publisher of two events and one reader.
#[test]
fn loom_no_wakeup_is_lost() {
    loom::model(|| {
        let topic = Topic::new(1);
        let (watcher, bell) = (Watcher::new(), Bell::new());
        topic.interests.register(&watcher);
        let publisher = {
            let topic = Arc::clone(&topic);
            thread::spawn(move || {
                topic.publish();
                topic.publish();
            })
        };
        read_until(&watcher, &bell, || topic.committed() == 2);
        publisher.join().expect("no panic");
        topic.interests.unregister(&watcher);
    });
}

/// Two publishers to one topic.
#[test]
fn loom_no_wakeup_is_lost_between_two_publishers() {
    loom::model(|| {
        let topic = Topic::new(1);
        let (watcher, bell) = (Watcher::new(), Bell::new());
        topic.interests.register(&watcher);
        let publishers = [0, 1].map(|_| {
            let topic = Arc::clone(&topic);
            thread::spawn(move || topic.publish())
        });
        read_until(&watcher, &bell, || topic.committed() == 2);
        for publisher in publishers {
            publisher.join().expect("no panic");
        }
        topic.interests.unregister(&watcher);
    });
}

/// The same for a reader that does not ask which topics are dirty, and that a third thread gives one topic more.
#[test]
fn loom_who_looks_at_everything_misses_nothing() {
    loom::model(|| {
        let (topic, more) = (Topic::new(1), Topic::new(2));
        let (watcher, bell) = (Watcher::new(), Bell::new());
        topic.interests.register(&watcher);
        let publisher = {
            let topic = Arc::clone(&topic);
            thread::spawn(move || {
                topic.publish();
                topic.publish();
            })
        };
        let adder = {
            let (more, watcher) = (Arc::clone(&more), watcher.clone());
            thread::spawn(move || more.interests.register(&watcher))
        };
        let waker = Waker::from(Arc::clone(&bell));
        watcher.clear();
        while topic.committed() != 2 {
            if watcher.rest(&waker) {
                bell.wait();
                watcher.clear();
            }
        }
        publisher.join().expect("no panic");
        adder.join().expect("no panic");
        topic.interests.unregister(&watcher);
        more.interests.unregister(&watcher);
    });
}

/// Two publishers to two topics of one watcher, which looks only into the topics that are named.
#[test]
fn loom_each_dirty_topic_is_named() {
    loom::model(|| {
        let topics = [1, 2].map(Topic::new);
        let (watcher, bell) = (Watcher::new(), Bell::new());
        for topic in &topics {
            topic.interests.register(&watcher);
        }
        let publishers = topics.clone().map(|topic| thread::spawn(move || topic.publish()));
        watcher.set_waker(&Waker::from(Arc::clone(&bell)));
        let (mut dirty, mut got) = (Vec::new(), [0, 0]);
        while got != [1, 1] {
            watcher.take_dirty(&mut dirty);
            for key in dirty.drain(..) {
                let at = usize::from(key == TopicKey::from_bits(2));
                got[at] = topics[at].committed();
            }
            if got != [1, 1] && watcher.park() {
                bell.wait();
            }
        }
        for publisher in publishers {
            publisher.join().expect("no panic");
        }
        for topic in &topics {
            topic.interests.unregister(&watcher);
        }
    });
}

/// A watcher that leaves while a publisher marks it: nothing of it stays behind.
#[test]
fn loom_leaving_gives_everything_back() {
    loom::model(|| {
        let topic = Topic::new(1);
        let (watcher, bell) = (Watcher::new(), Bell::new());
        watcher.set_waker(&Waker::from(Arc::clone(&bell)));
        topic.interests.register(&watcher);
        topic.interests.register(&watcher);
        let publisher = {
            let topic = Arc::clone(&topic);
            thread::spawn(move || topic.publish())
        };
        topic.interests.unregister(&watcher);
        topic.interests.unregister(&watcher);
        drop(watcher);
        publisher.join().expect("no panic");
        assert_eq!(Arc::strong_count(&bell), 1, "neither a mark nor a waker is left");
    });
}
