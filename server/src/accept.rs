//! Listeners: many addresses, one loop each, which neither spins nor dies when descriptors run out.
//!
//! At a connection limit the newest is refused, never an open one closed. To be told so, its request has to be read: a small reserve
//! of connections beyond the limit does that, under the same deadline. Beyond the reserve a connection is closed at once.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::app::App;
use crate::connection::{Admission, serve};
use crate::settle::settle;
use crate::tls::Acceptor;

/// Connections that the kernel completes before we take them; it cuts this to its own limit.
const BACKLOG: i32 = 4_096;

/// Connections beyond the limit that are told why they are refused, at once.
pub(crate) const REFUSAL_RESERVE: usize = 64;

/// Pauses after an accept that failed for want of resources.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Opens a listening socket. Options set here are inherited by the connections, where the system does so.
pub(crate) fn bind(address: SocketAddr, dead_after: Duration) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if cfg!(unix) {
        // On Windows the same option would let another process take the port.
        socket.set_reuse_address(true)?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    set_death(&SockRef::from(&socket), dead_after);
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Lets the kernel find peers that have vanished: by probes when nothing is sent, by missing acknowledgements when something is. Best
/// effort: heartbeats and write deadlines do it too, more slowly.
fn set_death(socket: &SockRef<'_>, dead_after: Duration) {
    let probe = Duration::from_secs(15);
    let _ = socket
        .set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(probe));
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = socket.set_tcp_user_timeout(Some(dead_after.max(Duration::from_secs(1))));
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = dead_after;
}

/// Accepts until the server stops.
pub(crate) async fn run(
    app: Arc<App>,
    listener: TcpListener,
    tls: Option<Acceptor>,
    reserve: Arc<Semaphore>,
) {
    let stopping = app.shared.stopping();
    tokio::pin!(stopping);
    let mut spare = Spare::open();
    let mut pause = FIRST_PAUSE;
    loop {
        let accepted = tokio::select! {
            _ = &mut stopping => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, from)) => {
                pause = FIRST_PAUSE;
                admit(&app, socket, from, tls.clone(), &reserve);
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                if pause == FIRST_PAUSE {
                    tracing::warn!(%error, "cannot accept connections");
                }
                if let Some((socket, from)) = spare.accept(&listener).await {
                    pause = FIRST_PAUSE;
                    admit(&app, socket, from, tls.clone(), &reserve);
                    continue;
                }
                tokio::select! {
                    _ = &mut stopping => return,
                    () = tokio::time::sleep(pause) => {}
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

fn admit(
    app: &Arc<App>,
    socket: TcpStream,
    from: SocketAddr,
    tls: Option<Acceptor>,
    reserve: &Arc<Semaphore>,
) {
    let admission = match app.shared.admit(from.ip()) {
        Ok(permit) => Admission::Counted(permit),
        Err(full) => {
            app.shared.counters.refused.add(1);
            match Arc::clone(reserve).try_acquire_owned() {
                Ok(place) => Admission::Refused { full, _place: place },
                Err(_) => return,
            }
        }
    };
    // Without it events wait for the reader's acknowledgement of earlier ones; a socket that refuses it works all the same.
    let _ = socket.set_nodelay(true);
    tokio::spawn(settle(serve(Arc::clone(app), socket, from, admission, tls)));
}

/// Errors of a connection that was gone before it was taken.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// A descriptor held back, to be given up for the moment in which a connection is accepted when there is no other.
struct Spare(Option<std::fs::File>);

impl Spare {
    fn open() -> Spare {
        Spare(std::fs::File::open(if cfg!(windows) { "NUL" } else { "/dev/null" }).ok())
    }

    /// Takes the connection that waits, if one does: some descriptors may be free again. If none is, it is turned away, so that its
    /// peer learns of it now and not after a time limit of its own.
    async fn accept(&mut self, listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
        if self.0.take().is_none() {
            *self = Spare::open();
            return None;
        }
        // Accepting fails for want of a descriptor before it looks whether anybody waits. Whoever comes later is not meant.
        let waiting = poll_fn(|context| match listener.poll_accept(context) {
            Poll::Ready(Ok(accepted)) => Poll::Ready(Some(accepted)),
            // Another thread may have been faster to take the descriptor.
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Ready(None),
        });
        let waiting = waiting.await;
        *self = Spare::open();
        if self.0.is_some() {
            return waiting;
        }
        drop(waiting);
        *self = Spare::open();
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_waits_is_taken_while_there_is_room_and_nobody_is_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut spare = Spare::open();
        assert!(spare.accept(&listener).await.is_none());

        let came = TcpStream::connect(address).await.unwrap();
        let taken = async {
            loop {
                if let Some((_, from)) = spare.accept(&listener).await {
                    return from;
                }
                tokio::task::yield_now().await;
            }
        };
        let from = tokio::time::timeout(Duration::from_secs(60), taken).await.unwrap();
        assert_eq!(from, came.local_addr().unwrap());
        assert!(spare.0.is_some());
    }
}
