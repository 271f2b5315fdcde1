//! Polls a connection again at once where it has woken itself.
//!
//! hyper's parts wake each other within one task: a service that waits for a body asks for it, and the reader of the body is the
//! connection that has just called the service. To the runtime that looks like a task that has to be run again, and like work that
//! another thread could take: it wakes one, which finds the request answered. That costs more than the request. So wakes that come
//! while the task is being polled anyway do not reach the runtime.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Polls in a row; then others have their turn.
const MOST: usize = 4;

/// It is being polled.
const POLLED: u8 = 1;
/// It was woken since the present poll began.
const WOKEN: u8 = 2;

struct SelfWaker {
    state: AtomicU8,
    /// The task's own.
    outer: Waker,
}

/// Runs `future`, polled again by itself while it wakes itself.
pub(crate) fn settle<F: Future>(future: F) -> impl Future<Output = F::Output> {
    // An `async fn` would have room for it twice.
    let mut future = Box::pin(future);
    let mut known: Option<(Arc<SelfWaker>, Waker)> = None;
    poll_fn(move |cx| {
        let same = known.take().filter(|(own, _)| own.outer.will_wake(cx.waker()));
        let (own, waker) = known.insert(same.unwrap_or_else(|| SelfWaker::new(cx.waker())));
        for _ in 0..MOST {
            // Acquire: what was written before a wake is seen by the poll that the wake is for.
            own.state.swap(POLLED, Ordering::AcqRel);
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(waker)) {
                return Poll::Ready(output);
            }
            // From here on a wake goes to the runtime.
            if own.state.swap(0, Ordering::AcqRel) & WOKEN == 0 {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

impl SelfWaker {
    fn new(outer: &Waker) -> (Arc<SelfWaker>, Waker) {
        let own = Arc::new(SelfWaker { state: AtomicU8::new(0), outer: outer.clone() });
        let waker = Waker::from(Arc::clone(&own));
        (own, waker)
    }
}

impl Wake for SelfWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Release: the counterpart is in `poll`. One step, so that no wake is between "polled" and "not polled any more".
        if self.state.fetch_or(WOKEN, Ordering::AcqRel) & POLLED == 0 {
            self.outer.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::AtomicUsize;
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;

    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A task that wakes itself `times` times; how often it was polled and the runtime woken by the first poll.
    fn poll_once(times: usize) -> (Poll<()>, usize, usize) {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let mut polls = 0;
        let future = settle(poll_fn(|cx| {
            polls += 1;
            if polls > times {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        }));
        let poll = pin!(future).poll(&mut Context::from_waker(&Waker::from(Arc::clone(&count))));
        (poll, polls, count.0.load(Ordering::Relaxed))
    }

    #[test]
    fn a_task_that_wakes_itself_goes_on_at_once_and_not_for_ever() {
        assert_eq!(poll_once(1), (Poll::Ready(()), 2, 0));
        assert_eq!(poll_once(usize::MAX), (Poll::Pending, MOST, 1));
    }

    #[test]
    fn a_wake_between_polls_reaches_the_runtime() {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let mut inner = None;
        {
            let mut future = pin!(settle(poll_fn(|cx| {
                inner = Some(cx.waker().clone());
                Poll::<()>::Pending
            })));
            let _ = future.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(&count))));
            let _ = future.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(&count))));
        }
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        inner.unwrap().wake();
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_task_that_moves_is_woken_where_it_is() {
        let counts = [(); 2].map(|()| Arc::new(Count(AtomicUsize::new(0))));
        let inner = std::cell::RefCell::new(None);
        let mut future = pin!(settle(poll_fn(|cx| {
            *inner.borrow_mut() = Some(cx.waker().clone());
            Poll::<()>::Pending
        })));
        for count in &counts {
            let _ = future.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(count))));
        }
        inner.take().unwrap().wake();
        assert_eq!(counts.map(|count| count.0.load(Ordering::Relaxed)), [0, 1]);
    }

    #[test]
    fn no_wake_of_another_thread_is_lost() {
        const WAKES: usize = 20_000;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let (given, taken) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let waker = Arc::new(parking_lot::Mutex::new(None::<Waker>));
        let task = {
            let (given, taken, waker) = (Arc::clone(&given), Arc::clone(&taken), Arc::clone(&waker));
            runtime.spawn(settle(poll_fn(move |cx| {
                *waker.lock() = Some(cx.waker().clone());
                taken.store(given.load(Ordering::Acquire), Ordering::Release);
                // Long enough for a wake to come after the look and before the end of the poll.
                (0..200).for_each(|_| std::hint::spin_loop());
                if taken.load(Ordering::Relaxed) == WAKES { Poll::Ready(()) } else { Poll::Pending }
            })))
        };
        for n in 1..=WAKES {
            given.store(n, Ordering::Release);
            if let Some(waker) = waker.lock().clone() {
                waker.wake();
            }
            // In step, so that every wake is one that must not be lost.
            let patience = Instant::now() + Duration::from_secs(30);
            while n.is_multiple_of(8) && taken.load(Ordering::Acquire) < n {
                assert!(Instant::now() < patience, "wake {n} is lost");
                thread::yield_now();
            }
        }
        runtime.block_on(task).unwrap();
    }
}
