//! A peer for the load bench: what a Rust user writes today, axum's `Sse` over a `tokio::sync::broadcast` channel.
//!
//! `GET /events/bench` is a stream, `POST /events/bench` sends each line of its body as one event.

use std::convert::Infallible;

use axum::Router;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::get;
use futures_util::{Stream, StreamExt};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

/// As many events as Fanfare keeps by default.
const CAPACITY: usize = 1024;

async fn events(
    State(channel): State<broadcast::Sender<String>>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    // A reader that lags loses events here; the bench counts and reports that.
    let stream = BroadcastStream::new(channel.subscribe())
        .filter_map(async |item| item.ok())
        .map(|data| Ok(Event::default().data(data)));
    Sse::new(stream).keep_alive(KeepAlive::default())
}

async fn publish(State(channel): State<broadcast::Sender<String>>, body: String) {
    for line in body.lines() {
        // An error says that nobody is subscribed.
        let _ = channel.send(line.to_owned());
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let (channel, _) = broadcast::channel(CAPACITY);
    let app = Router::new().route("/events/bench", get(events).post(publish)).with_state(channel);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await
}
