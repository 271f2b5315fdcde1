//! A build without HTTP/2. A client that begins with its preface (prior knowledge) gets the answer of an HTTP/1.1 server that does not know the version it
//! asks for (RFC 9110, 15.6.6); over TLS nobody is offered it.

use std::sync::Arc;

use fanfare_engine::Code;
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::app::App;
use crate::io::Peer;
use crate::patience::within;
use crate::reply::Refusal;
use crate::route::Origin;
use crate::watch::Watch;

/// Refuses the connection.
pub(crate) async fn serve<T>(app: &Arc<App>, watch: &Arc<Watch>, _: impl Fn() -> Origin, mut peer: Peer<T>)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Some(first) = watch.deadline() else { return };
    let message = "this build has no HTTP/2 (the feature `http2`): ask in HTTP/1.1";
    let refusal =
        Refusal::new(Code::Unsupported, message).status(StatusCode::HTTP_VERSION_NOT_SUPPORTED).in_full();
    if let Some(Ok(())) = within(first, peer.write_all(&refusal)).await {
        peer.linger(app.config.max_body_bytes).await;
    }
}
