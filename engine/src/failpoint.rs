//! Faults on purpose, for tests of what a fault of ours costs: with the feature `failpoints` a named place panics once when it is told
//! to. In a build without it, which is every build but that of those tests, a place is nothing.

/// A place that can be told to fail.
#[inline]
pub fn reach(place: &'static str) {
    #[cfg(feature = "failpoints")]
    armed::reach(place);
    let _ = place;
}

#[cfg(feature = "failpoints")]
pub use armed::arm;

#[cfg(feature = "failpoints")]
mod armed {
    use crate::sync::atomic::{AtomicUsize, Ordering};

    /// The number of the place that fails next; 0 for none.
    static ARMED: AtomicUsize = AtomicUsize::new(0);

    /// FNV-1a; two places of one number would be noticed by the test that arms one.
    fn number(place: &str) -> usize {
        place.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ usize::from(byte)).wrapping_mul(0x0100_0193)) | 1
    }

    /// The next thread that comes by that place panics there. The empty name disarms; true if a place was still armed.
    pub fn arm(place: &str) -> bool {
        let next = if place.is_empty() { 0 } else { number(place) };
        // Relaxed, here and below: nothing else is published with it.
        ARMED.swap(next, Ordering::Relaxed) != 0
    }

    pub(super) fn reach(place: &'static str) {
        if ARMED.load(Ordering::Relaxed) == 0 {
            return;
        }
        let here = number(place);
        if ARMED.compare_exchange(here, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            panic!("failpoint {place}");
        }
    }
}
