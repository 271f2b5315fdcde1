//! HTTP/2: one connection whose streams stay with hyper.
//!
//! Each stream runs in a task of its own, which ends it when its peer does not take what it is sent; the connection ends when nothing has been
//! open on it for `timeouts.idle`, and its peer is told before.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::app::App;
use crate::body::{Body, PROGRESS, Progress};
use crate::io::{LINGER, Peer};
use crate::patience::PatientTimer;
use crate::reply;
use crate::route::{Origin, answer};
use crate::subscribe::Answer;
use crate::watch::{Deadline, Watch};

/// Serves HTTP/2 until the peer or the server ends it, or nothing has been open for `timeouts.idle`.
pub(crate) async fn serve<T>(app: &Arc<App>, watch: &Arc<Watch>, origin: impl Fn() -> Origin, peer: Peer<T>)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request: Request<Incoming>| {
        let active = watch.enter();
        let origin = origin();
        let app = Arc::clone(app);
        async move {
            let mut reply = match answer(&app, &origin, request).await {
                Answer::Reply(reply) => reply,
                // Not offered to a connection that cannot leave.
                Answer::Leave(_) => reply::empty(http::StatusCode::INTERNAL_SERVER_ERROR),
            };
            reply.body_mut().hold(active);
            Ok::<Response<Body>, std::convert::Infallible>(reply)
        }
    });
    let config = &app.config;
    let mut connection = http2::Builder::new(StreamTasks { app: Arc::clone(app) })
        .timer(PatientTimer)
        .max_concurrent_streams(config.max_h2_streams)
        .max_header_list_size(u32::try_from(config.max_header_bytes).unwrap_or(u32::MAX))
        .max_send_buf_size(config.h2_send_buffer)
        .initial_stream_window_size(64 * 1024 - 1)
        .initial_connection_window_size(1024 * 1024)
        .max_frame_size(16 * 1024)
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(256)
        // Finds dead peers; a peer that answers pings is never cut for having only a quiet stream.
        .keep_alive_interval(config.write_timeout.max(Duration::from_secs(1)))
        .keep_alive_timeout(config.write_timeout.max(Duration::from_secs(1)))
        .serve_connection(TokioIo::new(peer), service);
    let mut late = Deadline::new(watch);
    let mut stopping = pin!(app.shared.stopping());
    let (mut stops, mut told) = (false, false);
    poll_fn(|cx| {
        watch.set_multiplexed(cx.waker());
        if !stops && stopping.as_mut().poll(cx).is_ready() {
            stops = true;
            told = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        loop {
            if Pin::new(&mut connection).poll(cx).is_ready() {
                return Poll::Ready(());
            }
            if late.poll(cx).is_pending() {
                return Poll::Pending;
            }
            if told || watch.is_blocked() || !watch.has_served() {
                return Poll::Ready(());
            }
            // An idle peer is told first, so that it does not send a request into a closing connection.
            told = true;
            Pin::new(&mut connection).graceful_shutdown();
            watch.extend(LINGER);
        }
    })
    .await;
    if watch.is_blocked() {
        app.shared.counters.stalled.add(1);
    }
}

/// Runs each HTTP/2 stream in a task of its own, and ends it when its peer takes nothing for `timeouts.write`, or has
/// been revoked and takes nothing.
#[derive(Clone)]
struct StreamTasks {
    app: Arc<App>,
}

impl<F> Executor<F> for StreamTasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let app = Arc::clone(&self.app);
        tokio::spawn(async move {
            let progress = Arc::new(Progress::default());
            let stream = PROGRESS.scope(Arc::clone(&progress), stream);
            tokio::select! {
                () = stream => {}
                () = progress.revoked() => {}
                () = progress.stalled(app.config.write_timeout) => app.shared.counters.stalled.add(1),
            }
        });
    }
}
