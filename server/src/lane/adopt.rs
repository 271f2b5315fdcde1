//! How a stream enters a lane and how it leaves.

use std::io;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Interest, Token};
use socket2::{SockRef, TcpKeepalive};

use super::conn::{Key, NewConn, Own, Phase, Rest, Source};
use super::group::{Groups, Served};
use super::handle::Order;
use super::thread::Lane;
use super::timer::ticks;
use crate::handoff::{HostLink, LaneStream, Permit};

/// Streams taken from the inbox in one turn, so that a storm of new readers does not hold up the old ones.
const ADOPTIONS: usize = 256;
/// A silent peer is probed by the kernel from this age of silence on; a heartbeat normally finds it first.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

impl Lane<'_> {
    /// Whether a stream, an order or a stop waits.
    pub(super) fn inbox_waits(&self) -> bool {
        let inbox = self.link.inbox.lock();
        !inbox.streams.is_empty()
            || !inbox.orders.is_empty()
            || (inbox.stop.is_some() && self.drain.is_none())
    }

    /// Takes new streams, what is wanted of old ones, and the order to stop.
    pub(super) fn take_inbox(&mut self) {
        for _ in 0..ADOPTIONS {
            let Some(stream) = self.link.inbox.lock().streams.pop_front() else { break };
            if let Err(error) = self.adopt(stream) {
                self.link.load.fetch_sub(1, Ordering::Relaxed);
                tracing::debug!(%error, "a stream was lost on its way into a lane");
            }
        }
        // After the streams that were there before them.
        let orders = std::mem::take(&mut self.link.inbox.lock().orders);
        for order in orders {
            self.obey(&order);
        }
        let stop = {
            let mut inbox = self.link.inbox.lock();
            if inbox.streams.is_empty() {
                inbox.streams.shrink_to(ADOPTIONS);
            }
            inbox.stop.filter(|_| inbox.streams.is_empty())
        };
        if let Some(deadline) = stop
            && self.drain.is_none()
        {
            self.begin_drain(deadline);
        }
    }

    /// Does what was asked from outside.
    fn obey(&mut self, order: &Order) {
        match order {
            // One that is still on its way in sees the wish when it comes.
            Order::End(link) => {
                if let Some(token) = link.token() {
                    self.end(Key::from_token(Token(token)));
                }
            }
            // One that is still on its way in has a ticket that says so.
            Order::Revoke(client) => {
                for key in self.conns.keys_of(client) {
                    match self.conns.get(key) {
                        Some(conn) if conn.blocked => self.close(key),
                        _ => self.end(key),
                    }
                }
            }
        }
    }

    /// Makes a connection of the stream and takes its first step: the head, then whatever its cursor has.
    fn adopt(&mut self, stream: LaneStream) -> io::Result<()> {
        let LaneStream {
            socket,
            head,
            read_ahead,
            framing,
            subscription,
            mut group,
            client,
            ticket,
            permit,
            open,
            max_age,
        } = stream;
        // What the peer sent behind its request is not ours to answer: the head says `Connection: close`.
        drop(read_ahead);
        debug_assert_eq!(framing, group.framing, "the group's framing is the stream's");
        group.framing = framing;
        let ready = prepare(&socket, self.rules.user_timeout);
        let mut socket = TcpStream::from_std(socket);
        if let Err(error) = ready.and_then(|()| self.register(&mut socket)) {
            if permit.as_ref().is_some_and(Permit::is_host) {
                let _ = socket.shutdown(Shutdown::Both);
            }
            return Err(error);
        }
        let link = match &permit {
            Some(Permit::Host(guard)) => Some(Arc::clone(guard.link())),
            _ => None,
        };
        let index = self.groups.enter(group);
        let key = self.conns.insert(NewConn {
            socket,
            group: index,
            client,
            own: Own { rest: Rest::tail(&head, 0), source: Source::Open(subscription) },
            now: self.now,
            expires: max_age.map_or(u64::MAX, |age| self.now + ticks(age)),
            open,
            permit,
        });
        let unwanted = link.is_some_and(|link: Arc<HostLink>| link.set_token(key.token().0))
            || ticket.is_some_and(|ticket| ticket.flag().is_revoked());
        self.file(key);
        // The group looks first, so that the new cursor can be read to the end at once and a gap notice knows the newest event.
        if self.serve(index) == Served::More {
            self.groups.mark_ready(index);
        }
        self.step(key);
        if unwanted {
            self.end(key);
        }
        Ok(())
    }

    /// Tells the poll of the next connection's socket.
    fn register(&mut self, socket: &mut TcpStream) -> io::Result<()> {
        let Some(key) = self.conns.next_key() else {
            return Err(io::Error::other("the lane has no more keys for connections"));
        };
        // Once, for both directions, edge-triggered: no later call into the poll.
        self.registry.register(socket, key.token(), Interest::READABLE | Interest::WRITABLE)
    }

    /// Moves the connection to another phase and keeps the books of its group.
    pub(super) fn change(&mut self, key: Key, phase: Phase) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let index = conn.group;
        let (fed, feeds) = (is_fed(&conn.phase), is_fed(&phase));
        let old = std::mem::replace(&mut conn.phase, phase);
        self.settle(index, old, fed, feeds);
    }

    /// Closes the socket and forgets the connection; its permits are free at once.
    pub(super) fn close(&mut self, key: Key) {
        let Some(mut conn) = self.conns.remove(key) else { return };
        let old = conn.take_phase();
        let fed = is_fed(&old);
        self.settle(conn.group, old, fed, false);
        self.groups.leave(conn.group);
        // Closing alone would do unless the host kept a duplicate of the descriptor. A failure means it is out already.
        let _ = self.registry.deregister(&mut conn.socket);
        self.link.load.fetch_sub(1, Ordering::Relaxed);
    }

    /// What leaving `old` means to the group.
    fn settle(&mut self, index: u32, old: Phase, fed: bool, feeds: bool) {
        let groups: &mut Groups = &mut self.groups;
        if let Phase::Live { slot } = old {
            groups.part(index, slot, &mut self.conns);
        }
        match (fed, feeds) {
            (false, true) => groups.feed(index),
            (true, false) => groups.unfeed(index),
            _ => {}
        }
    }
}

/// Whether a connection in this phase counts as a reader of the group's cursor: it has none of its own and wants more.
fn is_fed(phase: &Phase) -> bool {
    match phase {
        Phase::Live { .. } => true,
        Phase::Own(own) => matches!(own.source, Source::Position(_)),
        Phase::Closing => false,
    }
}

/// Socket options for a long-lived stream of small writes.
fn prepare(socket: &std::net::TcpStream, user_timeout: Duration) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let options = SockRef::from(socket);
    if let Err(error) = socket.set_nodelay(true) {
        // A socket of a Unix domain delays nothing and knows no option of TCP.
        return if options.local_addr()?.is_unix() { Ok(()) } else { Err(error) };
    }
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    options.set_tcp_keepalive(&keepalive)?;
    // Where a peer vanishes under bytes in flight the kernel would otherwise try for a quarter of an hour.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    options.set_tcp_user_timeout(Some(user_timeout))?;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = user_timeout;
    Ok(())
}
