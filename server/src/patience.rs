//! Deadlines of peers, kept by a process that does not always run.
//!
//! A process can stand still for a while: stopped by a signal, held by a debugger, on a host that has no time for it. When it goes on, it learns
//! that its timers are due **before** it learns what its sockets hold: on Linux the wait for readiness ends with `EINTR` then (signal(7)) and reports no
//! socket, and one wait reports a limited number of them in any case. A deadline taken at its word would cut peers whose bytes have been waiting,
//! in time, and closing with unread bytes makes the kernel send a reset.
//!
//! So a deadline that has passed counts only after another wait, in which sockets are looked at. That wait is as long as the
//! deadline was noticed too late, within [`LOOK`] and [`LONGEST`]: time in which we did not run is not the peer's. If the end of that wait is noticed late as well,
//! there is one more, and then it counts. What a slow peer gains is [`LOOK`], and on a server that cannot keep time two waits, whatever it sends.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Sleep, Timer};
use tokio::time::{Instant, sleep_until};

/// The shortest wait behind a deadline, and what counts as noticed in time: the runtime looks at its sockets many times in it.
const LOOK: Duration = Duration::from_millis(50);

/// The longest wait behind a deadline: enough to finish what was under way.
const LONGEST: Duration = Duration::from_secs(10);

/// Waits behind a deadline, at most.
const WAITS: u8 = 2;

/// Resolves when a deadline of a peer has passed and counts.
pub(crate) struct Patience {
    deadline: Instant,
    /// Set to the deadline, or to an earlier one that has been moved, or to the end of a wait behind it.
    timer: Pin<Box<tokio::time::Sleep>>,
    waits: u8,
}

impl Patience {
    pub(crate) fn until(deadline: Instant) -> Patience {
        Patience { deadline, timer: Box::pin(sleep_until(deadline)), waits: 0 }
    }

    /// Polls for a deadline that moves. A timer that is set too early only looks again: most deadlines move before they come.
    pub(crate) fn poll_until(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let moved = self.deadline != deadline;
            if moved && (deadline < self.deadline || self.waits > 0 || self.timer.is_elapsed()) {
                self.reset(deadline);
            }
            ready!(self.timer.as_mut().poll(cx));
            if self.deadline != deadline {
                continue;
            }
            let now = Instant::now();
            let late = now.saturating_duration_since(self.timer.deadline());
            if self.waits == WAITS || self.waits > 0 && late <= LOOK {
                self.waits = WAITS;
                return Poll::Ready(());
            }
            self.waits += 1;
            self.timer.as_mut().reset(now + late.clamp(LOOK, LONGEST));
        }
    }

    fn reset(&mut self, deadline: Instant) {
        self.deadline = deadline;
        self.waits = 0;
        self.timer.as_mut().reset(deadline);
    }
}

impl Future for Patience {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline;
        self.poll_until(deadline, cx)
    }
}

impl Sleep for Patience {}

/// What `work` gives, unless a deadline of the peer it waits for comes first.
pub(crate) async fn within<F: Future>(deadline: Instant, work: F) -> Option<F::Output> {
    let (mut work, mut late) = (pin!(work), Patience::until(deadline));
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => Pin::new(&mut late).poll(cx).map(|()| None),
    })
    .await
}

/// hyper's deadlines by the same rule.
pub(crate) struct PatientTimer;

impl Timer for PatientTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(Patience::until(Instant::now() + duration))
    }

    fn sleep_until(&self, deadline: std::time::Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Patience::until(deadline.into()))
    }

    fn now(&self) -> std::time::Instant {
        Instant::now().into()
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, deadline: std::time::Instant) {
        match sleep.as_mut().downcast_mut_pin::<Patience>() {
            Some(patience) => patience.get_mut().reset(deadline.into()),
            None => *sleep = self.sleep_until(deadline),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::time::advance;

    use super::*;

    fn is_over(patience: &mut Patience, deadline: Instant) -> bool {
        patience.poll_until(deadline, &mut Context::from_waker(Waker::noop())).is_ready()
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_deadline_noticed_in_time_counts_after_one_look() {
        let deadline = Instant::now() + SECOND;
        let mut patience = Patience::until(deadline);
        assert!(!is_over(&mut patience, deadline));
        advance(SECOND).await;
        assert!(!is_over(&mut patience, deadline));
        advance(LOOK).await;
        assert!(is_over(&mut patience, deadline));
        assert!(is_over(&mut patience, deadline), "and goes on counting");
    }

    #[tokio::test(start_paused = true)]
    async fn time_that_was_missed_is_given_back_twice_at_most() {
        let deadline = Instant::now() + SECOND;
        let mut patience = Patience::until(deadline);
        advance(SECOND * 4).await;
        assert!(!is_over(&mut patience, deadline));
        advance(SECOND * 3 - Duration::from_millis(1)).await;
        assert!(!is_over(&mut patience, deadline), "three seconds were missed");
        advance(SECOND * 60).await;
        assert!(!is_over(&mut patience, deadline), "stopped again while it looked");
        advance(LONGEST - Duration::from_millis(1)).await;
        assert!(!is_over(&mut patience, deadline));
        advance(SECOND * 60).await;
        assert!(is_over(&mut patience, deadline), "not for ever");
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_moves_starts_anew() {
        let start = Instant::now();
        let mut patience = Patience::until(start + SECOND);
        assert!(!is_over(&mut patience, start + SECOND * 5), "later: the early timer stays");
        advance(SECOND * 5).await;
        assert!(!is_over(&mut patience, start + SECOND * 5));
        assert!(!is_over(&mut patience, start + SECOND * 7), "moved while it looked");
        advance(SECOND + LOOK).await;
        assert!(!is_over(&mut patience, start + SECOND * 7));
        advance(SECOND).await;
        assert!(!is_over(&mut patience, start + SECOND * 7));
        assert!(!is_over(&mut patience, start + SECOND * 3), "earlier, and passed long ago: missed time");
        advance(SECOND * 4 + LOOK * 2).await;
        assert!(is_over(&mut patience, start + SECOND * 3));
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_can_go_on_wins_over_its_deadline() {
        let deadline = Instant::now() + SECOND;
        assert_eq!(within(deadline, async { advance(SECOND * 60).await }).await, Some(()));
        assert_eq!(within(deadline, std::future::pending::<()>()).await, None);
    }
}
