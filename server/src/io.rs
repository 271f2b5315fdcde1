//! The socket as hyper sees it: bytes read ahead come first, progress is reported to the connection's [`Watch`], and hyper's own
//! bodyless answers to requests that it cannot parse become the JSON error that every refusal of ours is.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use fanfare_engine::Code;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::Instant;

use crate::patience::within;
use crate::reply::Refusal;
use crate::watch::Watch;

/// How long a peer may take to close after our last answer, and an idle HTTP/2 peer after it has been told.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// A socket with what has been read of it already.
pub(crate) struct Peer<T> {
    inner: T,
    ahead: Bytes,
    watch: Arc<Watch>,
    /// Our answer in place of hyper's, while it is being written.
    instead: Option<Bytes>,
}

impl<T> Peer<T> {
    pub(crate) fn new(inner: T, ahead: Bytes, watch: Arc<Watch>) -> Peer<T> {
        watch.on_read(&ahead);
        Peer { inner, ahead, watch, instead: None }
    }

    /// The socket, and bytes of it that nobody has asked for.
    pub(crate) fn into_inner(self) -> (T, Bytes) {
        (self.inner, self.ahead)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Peer<T> {
    /// Says that nothing more comes, then reads and forgets what the peer still sends: closing with unread bytes would make the kernel send
    /// a reset, which can overtake our answer (RFC 9112, 9.6).
    pub(crate) async fn linger(mut self, max_bytes: u64) {
        let drain = async {
            if self.shutdown().await.is_err() {
                return;
            }
            // Not in the future: that would make every connection as large, from its first byte on.
            let mut sink = vec![0; 4096];
            let mut left = max_bytes.max(1 << 20);
            while let Ok(n) = self.read(&mut sink).await {
                left = left.saturating_sub(n as u64);
                if n == 0 || left == 0 {
                    return;
                }
            }
        };
        within(Instant::now() + LINGER, drain).await;
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Peer<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.has_remaining() {
            let take = self.ahead.len().min(buf.remaining());
            buf.put_slice(&self.ahead.split_to(take));
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        self.watch.on_read(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Peer<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.instead.is_none() && !this.watch.is_answering() {
            this.instead = own_answer(buf, &this.watch);
        }
        let Some(instead) = &mut this.instead else {
            let written = Pin::new(&mut this.inner).poll_write(cx, buf);
            this.watch.on_write(written.is_pending());
            return written;
        };
        while instead.has_remaining() {
            let written = Pin::new(&mut this.inner).poll_write(cx, instead);
            this.watch.on_write(written.is_pending());
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => instead.advance(n),
            }
        }
        this.instead = None;
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        self.watch.on_write(flushed.is_pending());
        ready!(flushed)?;
        self.watch.on_flush();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// What we say where hyper says only a status: it writes without having asked the service when a header does not parse.
fn own_answer(buf: &[u8], watch: &Watch) -> Option<Bytes> {
    let status = buf.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    let refusal = match status {
        b"400" => Refusal::new(Code::InvalidBody, "the request is not valid HTTP").field("request"),
        // One limit covers request line and fields; which of them is too long shows in whether the line has ended.
        b"431" if watch.head().line_ended => Refusal::new(
            Code::HeaderTooLarge,
            "the request's header fields are too many or too large (`limits.header_bytes`)",
        ),
        b"414" | b"431" => {
            Refusal::new(Code::UriTooLong, "the request target is too long (`limits.header_bytes`)")
        }
        _ => return None,
    };
    Some(refusal.in_full())
}
