//! Compiling beside a hub at work, without being in its way.
//!
//! A compiler takes all of a processor for milliseconds to seconds. On a thread of its own, which the system puts behind
//! others, it takes what publishers and readers leave. Only the compiler goes there: what follows, the trial of the new code, runs under
//! a time limit, and a thread that went behind others cannot come back.

use std::panic::resume_unwind;
use std::thread;

/// By how much such a thread is nicer than the one that asks for its work.
#[cfg(target_os = "linux")]
const NICER: i32 = 10;

/// Does `work` on a thread behind others, and waits for it. Where the system has no thread left, or knows no threads that are
/// behind others, it is done like anything else.
pub(crate) fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let mut work = Some(work);
    let taken = &mut work;
    let done = thread::scope(|scope| {
        let run = move || {
            give_way();
            taken.take().map(|work| work())
        };
        let started = thread::Builder::new().name("fanfare-compile".to_owned()).spawn_scoped(scope, run);
        started.ok().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
    });
    match (done.flatten(), work) {
        (Some(done), _) => done,
        (None, Some(work)) => work(),
        (None, None) => unreachable!("work that was taken was done, or has panicked"),
    }
}

/// Puts this thread behind others.
#[cfg(target_os = "linux")]
fn give_way() {
    #[expect(unsafe_code, reason = "the standard library has no priorities")]
    // SAFETY: it touches no memory; on Linux it is about the calling thread alone (nice(2), pthreads(7)).
    let _ = unsafe { libc::nice(NICER) };
}

/// Elsewhere a nice value is the whole process's.
#[cfg(not(target_os = "linux"))]
fn give_way() {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the calling thread: field 19, behind the name, which may hold anything but a closing bracket.
    #[cfg(target_os = "linux")]
    fn niceness() -> i32 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("Linux");
        let fields = stat.rsplit(')').next().expect("fields");
        fields.split_whitespace().nth(16).and_then(|nice| nice.parse().ok()).expect("a number")
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn only_the_work_is_behind_others() {
        let before = niceness();
        assert_eq!(apart(niceness), (before + NICER).min(19));
        assert_eq!(niceness(), before);
    }

    #[test]
    #[should_panic(expected = "as it was")]
    fn a_panic_arrives() {
        apart(|| panic!("as it was"));
    }
}
