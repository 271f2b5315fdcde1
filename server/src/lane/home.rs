//! Which lane a stream goes to.
//!
//! Every lane with a reader of a topic is woken by every publish to it, and to wake a thread costs as much as several sends. So
//! readers of one topic come to the same lane, some dozens of them, before the next lane gets some; a large crowd is spread over
//! all lanes, and so are topics.

use std::sync::atomic::{AtomicU16, Ordering};

use ahash::RandomState;

/// How many readers of a topic come to a lane one after the other. Their sends take about ten times as long as it takes to wake a
/// lane: with fewer the waking shows, with more the last of them waits longer than it had to.
const TOGETHER: usize = 32;
/// Homes that are remembered. Topics whose names collide share one, and may be spread more than they had to be.
const PLACES: usize = 4096;

/// The lanes that topics' readers come to at present.
pub(super) struct Homes {
    hasher: RandomState,
    /// Lanes by the hash of a topic. Relaxed: each is a hint.
    lanes: Box<[AtomicU16]>,
}

impl Homes {
    pub(super) fn new() -> Homes {
        Homes { hasher: RandomState::new(), lanes: (0..PLACES).map(|_| AtomicU16::new(0)).collect() }
    }

    /// The lane for one more reader of `topic`, which has `readers` already, among lanes with these numbers of connections.
    pub(super) fn pick(
        &self,
        topic: &str,
        readers: usize,
        loads: impl Iterator<Item = usize> + Clone,
    ) -> usize {
        let home = &self.lanes[self.hasher.hash_one(topic) as usize % PLACES];
        let at = usize::from(home.load(Ordering::Relaxed));
        // There is at least one lane: as many as configured, or one per core.
        let (least, fewest) = loads.clone().enumerate().min_by_key(|&(_, load)| load).unwrap_or((0, 0));
        let stays = !readers.is_multiple_of(TOGETHER);
        if stays && loads.clone().nth(at).is_some_and(|load| load <= most(fewest)) {
            return at;
        }
        // The configuration allows 1,024.
        home.store(least as u16, Ordering::Relaxed);
        least
    }
}

/// How many connections a lane may have where another has `fewest`: topics of very unequal liveliness are nothing that can be
/// foreseen here, but no lane gets many more readers than another.
fn most(fewest: usize) -> usize {
    fewest + fewest / 4 + 2 * TOGETHER
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds readers to topics in this order; the lanes' numbers of connections, and the lanes of each topic.
    fn place(lanes: usize, order: impl Iterator<Item = usize>) -> (Vec<usize>, Vec<Vec<usize>>) {
        let homes = Homes::new();
        let (mut loads, mut topics) = (vec![0; lanes], Vec::<Vec<usize>>::new());
        for topic in order {
            topics.resize(topics.len().max(topic + 1), vec![0; lanes]);
            let readers = topics[topic].iter().sum();
            let lane = homes.pick(&format!("topic {topic}"), readers, loads.iter().copied());
            loads[lane] += 1;
            topics[topic][lane] += 1;
        }
        (loads, topics)
    }

    #[test]
    fn few_readers_of_a_topic_share_a_lane() {
        let (_, topics) = place(8, std::iter::repeat_n(0, TOGETHER));
        assert_eq!(topics[0].iter().filter(|&&readers| readers > 0).count(), 1);
    }

    #[test]
    fn a_crowd_is_spread_over_all_lanes() {
        let (loads, _) = place(8, std::iter::repeat_n(0, 10_000));
        let (most, least) = (loads.iter().max().unwrap(), loads.iter().min().unwrap());
        assert!(most - least <= TOGETHER, "{loads:?}");
    }

    #[test]
    fn small_topics_are_spread_over_all_lanes() {
        // Readers come to each topic in turn, as many topics as would collide now and then.
        let (loads, topics) = place(4, (0..10 * 100).map(|n| n % 100));
        let (most, least) = (loads.iter().max().unwrap(), loads.iter().min().unwrap());
        assert!(*most <= super::most(*least), "{loads:?}");
        let apart = topics.iter().filter(|lanes| lanes.iter().filter(|&&n| n > 0).count() > 2).count();
        assert!(apart < 20, "{apart} of 100 topics are on more than two lanes");
    }

    #[test]
    fn two_small_topics_do_not_burden_one_lane() {
        let (loads, _) = place(2, (0..20).map(|n| n / 10));
        assert_eq!(loads, [10, 10]);
    }

    #[test]
    fn a_lane_that_has_many_more_gets_no_more() {
        let homes = Homes::new();
        assert_eq!(homes.pick("t", 0, [0, 5].into_iter()), 0);
        assert_eq!(homes.pick("t", 1, [60, 0].into_iter()), 0);
        assert_eq!(homes.pick("t", 2, [1_000, 0].into_iter()), 1);
        assert_eq!(homes.pick("t", 3, [500, 450].into_iter()), 1, "its home has moved");
    }
}
