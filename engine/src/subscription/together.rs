//! Pulling for many readers at once: what the last one got goes to the next one that stands where it stood.
//!
//! A reader keeps its own cursor, filter and notices; only the look into history is shared, so a reader costs one lock of its
//! own instead of a slot's lock and a count of every frame beside.

use super::pull::{Place, Pulled};
use super::{Ordering, Subscription};
use crate::wire::Frame;

/// [Pulls](Subscription::pull) once for each of `readers`, and gives `each` the reader, what is new to it, and how the pull
/// ended. `frames` is where it stands meanwhile; what it held is dropped. True if any of them said [`Pulled::More`].
///
/// It is made for one task that serves many subscriptions of one [`Watcher`](crate::Watcher): neighbours that read the same
/// one topic from the same place, without a filter, are served several times as fast as one by one. The others are pulled as
/// usual. `each` runs without any lock of the engine.
pub fn pull_each<'a>(
    readers: impl IntoIterator<Item = &'a Subscription>,
    frames: &mut Vec<Frame>,
    max_bytes: usize,
    mut each: impl FnMut(&'a Subscription, &[Frame], Pulled),
) -> bool {
    let mut more = false;
    let mut last: Option<(Place, Place, Pulled)> = None;
    for reader in readers {
        let mut state = reader.0.state.lock();
        let pulled = match &last {
            Some((from, to, pulled)) if state.follow(from, to) => *pulled,
            _ => {
                frames.clear();
                let from = state.place();
                let pulled =
                    state.pull(&reader.0.core, &reader.0.watcher, reader.0.lag, frames, max_bytes, u64::MAX);
                let goes_on = matches!(pulled, Pulled::More | Pulled::Idle);
                last = from.filter(|_| goes_on).and_then(|from| Some((from, state.place()?, pulled)));
                pulled
            }
        };
        drop(state);
        // Whoever polls it next has to look for itself.
        reader.0.rested.store(false, Ordering::Relaxed);
        more |= pulled == Pulled::More;
        each(reader, frames, pulled);
    }
    more
}
