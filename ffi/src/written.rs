//! Host-written streams: the hub makes the bytes, the host writes them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use ::fanfare_hub::embed::HostStream;
use ::fanfare_hub::engine::Code;
use parking_lot::{Mutex, MutexGuard};

use crate::bell::Bell;
use crate::failure::Failure;
use crate::item::Items;
use crate::reader::{Looked, Patience};

/// Most bytes that one look takes, about.
const LOOK_BYTES: usize = 64 * 1024;

/// A stream whose bytes the host writes.
pub(crate) struct Written {
    pub(crate) user: u64,
    bell: Arc<Bell>,
    waker: Waker,
    /// None once it is over.
    stream: Mutex<Option<HostStream>>,
    /// Closed by the host.
    closed: AtomicBool,
    /// The hub has stopped.
    stopped: AtomicBool,
}

impl Written {
    pub(crate) fn new(stream: HostStream, bell: Arc<Bell>, user: u64) -> Written {
        Written {
            user,
            waker: Waker::from(Arc::clone(&bell)),
            bell,
            stream: Mutex::new(Some(stream)),
            closed: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
        }
    }

    /// The first ring: its opening waits to be written.
    pub(crate) fn announce(&self) {
        self.bell.arm();
        self.bell.ring();
    }

    /// Forgets it: whoever waits for it goes on.
    pub(crate) fn close(&self) {
        // Release pairs with the Acquire of a look.
        self.closed.store(true, Ordering::Release);
        self.bell.ring();
        // A look that is under way lets it go itself.
        if let Some(mut stream) = self.stream.try_lock() {
            *stream = None;
        }
    }

    /// Its hub has stopped.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.bell.ring();
    }

    /// Reads what is to be written.
    pub(crate) fn look(&self, id: u64, patience: Patience, items: &mut Items) -> Result<Looked, Failure> {
        let Some(mut stream) = self.enter(patience) else { return Ok(Looked::Idle) };
        let mut bytes = 0;
        loop {
            self.bell.disarm();
            if self.closed.load(Ordering::Acquire) {
                *stream = None;
                return Err(Failure::new(Code::StaleHandle, "this stream is closed"));
            }
            if self.stopped.load(Ordering::Acquire) && stream.take().is_some() {
                items.push_end(id, self.user, Code::Stopping.number());
                return Ok(Looked::Over);
            }
            let Some(open) = stream.as_mut() else {
                return Err(Failure::new(Code::StaleHandle, "this stream is over"));
            };
            match (patience, bytes) {
                (Patience::Until(_), 0) => self.bell.expect(),
                _ => self.bell.arm(),
            }
            // Who closed or stopped it before the bell was set has rung for nobody.
            if self.closed.load(Ordering::Acquire) || self.stopped.load(Ordering::Acquire) {
                continue;
            }
            match open.poll_bytes(&mut Context::from_waker(&self.waker)) {
                Poll::Ready(Some(more)) => {
                    bytes += more.len();
                    items.push_bytes(id, self.user, more);
                    if bytes >= LOOK_BYTES {
                        self.bell.disarm();
                        return Ok(Looked::More);
                    }
                }
                Poll::Ready(None) => {
                    let code = open.end_code().map_or(0, Code::number);
                    *stream = None;
                    self.bell.disarm();
                    items.push_end(id, self.user, code);
                    return Ok(Looked::Over);
                }
                Poll::Pending => match patience {
                    Patience::Until(deadline) if bytes == 0 => {
                        if !self.bell.wait(deadline) {
                            return Ok(Looked::Idle);
                        }
                    }
                    _ => return Ok(Looked::Idle),
                },
            }
        }
    }

    /// One thread reads at a time; the others wait as long as they have patience.
    fn enter(&self, patience: Patience) -> Option<MutexGuard<'_, Option<HostStream>>> {
        match patience {
            Patience::Until(None) => Some(self.stream.lock()),
            Patience::Until(Some(deadline)) => self.stream.try_lock_until(deadline),
            Patience::None => self.bell.enter_now(&self.stream),
        }
    }
}
