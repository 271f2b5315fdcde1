//! Readers of TLS and HTTP/2: tasks of one thread, one connection each.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::BufReader;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::task::LocalSet;
use tokio_rustls::TlsConnector;

use super::connect;
use super::stream::Stream;
use super::tally::{Look, Tally};
use crate::server::Transport;

/// All readers.
pub(super) struct Tasks {
    runtime: Runtime,
    set: LocalSet,
    tls: Option<TlsConnector>,
    transport: Transport,
    shared: Rc<Shared>,
    opened: usize,
}

/// What the tasks write to.
struct Shared {
    tally: RefCell<Tally>,
    /// Streams whose head has come.
    streaming: RefCell<usize>,
    /// The first error of a task.
    broken: RefCell<Option<anyhow::Error>>,
    progress: Notify,
}

impl Tasks {
    /// With `certificate`, the file that clients trust.
    pub(super) fn new(transport: Transport, certificate: Option<&Path>) -> Result<Self> {
        let tls = match (transport.is_tls(), certificate) {
            (false, _) => None,
            (true, Some(file)) => Some(connector(transport, file)?),
            (true, None) => bail!("no certificate to trust"),
        };
        Ok(Self {
            runtime: Builder::new_current_thread().enable_all().build()?,
            set: LocalSet::new(),
            tls,
            transport,
            shared: Rc::new(Shared {
                tally: RefCell::new(Tally::new()),
                streaming: RefCell::new(0),
                broken: RefCell::new(None),
                progress: Notify::new(),
            }),
            opened: 0,
        })
    }

    /// Starts one more stream.
    pub(super) fn add(&mut self, address: SocketAddr, number: usize) -> Result<()> {
        let socket = connect::connect(address, number, None)?;
        socket.set_nonblocking(true)?;
        let shared = Rc::clone(&self.shared);
        let reader = Reader { number: shared.tally.borrow_mut().add_reader(), stream: Stream::new(0, false) };
        let (tls, transport) = (self.tls.clone(), self.transport);
        self.opened += 1;
        self.set.spawn_local(async move {
            let ended = async {
                let socket = TcpStream::from_std(socket)?;
                socket.set_nodelay(true)?;
                match tls {
                    None => reader.run(socket, transport, address, &shared).await,
                    Some(tls) => {
                        let name = ServerName::try_from("localhost")?;
                        let secure = tls.connect(name, socket).await.context("TLS handshake")?;
                        reader.run(secure, transport, address, &shared).await
                    }
                }
            }
            .await;
            if let Err(error) = ended {
                shared.broken.borrow_mut().get_or_insert(error.context("a stream broke"));
                shared.progress.notify_one();
            }
        });
        Ok(())
    }

    pub(super) fn are_streaming(&self) -> bool {
        *self.shared.streaming.borrow() == self.opened
    }

    /// Runs the readers until one of them makes progress, up to `timeout`; false if none did.
    pub(super) fn read_once(&mut self, timeout: Duration) -> Result<bool> {
        let progress = self.shared.progress.notified();
        let waited =
            self.set.block_on(&self.runtime, async move { tokio::time::timeout(timeout, progress).await });
        match self.shared.broken.borrow_mut().take() {
            Some(error) => Err(error),
            None => Ok(waited.is_ok()),
        }
    }

    pub(super) fn tally<T>(&self, body: impl FnOnce(&mut Tally) -> T) -> T {
        body(&mut self.shared.tally.borrow_mut())
    }
}

struct Reader {
    number: usize,
    stream: Stream,
}

impl Reader {
    async fn run<T>(self, io: T, transport: Transport, address: SocketAddr, shared: &Rc<Shared>) -> Result<()>
    where
        T: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        match transport {
            Transport::H2 | Transport::H2Tls => self.http2(io, address, shared).await,
            Transport::Plain | Transport::Tls => self.http1(io, address, shared).await,
        }
    }

    async fn http1<T: AsyncRead + AsyncWrite + Unpin>(
        mut self,
        mut io: T,
        address: SocketAddr,
        shared: &Shared,
    ) -> Result<()> {
        io.write_all(connect::request(address, None, None).as_bytes()).await?;
        io.flush().await?;
        let mut buffer = vec![0; 32 << 10];
        loop {
            let n = io.read(&mut buffer).await?;
            if n == 0 {
                bail!("the server closed it");
            }
            let was_streaming = self.stream.streaming;
            self.take(&buffer[..n], shared)?;
            if self.stream.streaming && !was_streaming {
                shared.answered();
            }
        }
    }

    async fn http2<T>(mut self, io: T, address: SocketAddr, shared: &Rc<Shared>) -> Result<()>
    where
        T: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let (send, connection) = h2::client::Builder::new()
            .initial_window_size(1 << 20)
            .initial_connection_window_size(1 << 20)
            .handshake::<_, Bytes>(io)
            .await?;
        let driver = Rc::clone(shared);
        tokio::task::spawn_local(async move {
            if let Err(error) = connection.await {
                driver.broken.borrow_mut().get_or_insert(error.into());
                driver.progress.notify_one();
            }
        });
        let mut send = send.ready().await?;
        let request = http::Request::get(format!("http://{address}/events/bench"))
            .header("accept", "text/event-stream")
            .body(())?;
        let (answer, _) = send.send_request(request, true)?;
        let (head, mut body) = answer.await?.into_parts();
        if head.status != http::StatusCode::OK {
            bail!("not subscribed: {}", head.status);
        }
        self.stream.streaming = true;
        shared.answered();
        while let Some(data) = poll_fn(|cx| body.poll_data(cx)).await {
            let data = data?;
            body.flow_control().release_capacity(data.len())?;
            self.take(&data, shared)?;
        }
        bail!("the server ended it")
    }

    fn take(&mut self, bytes: &[u8], shared: &Shared) -> Result<()> {
        let exact = shared.tally.borrow().look == Look::Exact;
        let ends = self.stream.feed(bytes, exact)?;
        shared.tally.borrow_mut().add(self.number, ends);
        shared.progress.notify_one();
        Ok(())
    }
}

impl Shared {
    fn answered(&self) {
        *self.streaming.borrow_mut() += 1;
        self.progress.notify_one();
    }
}

fn connector(transport: Transport, certificate: &Path) -> Result<TlsConnector> {
    let file =
        std::fs::read(certificate).with_context(|| format!("cannot read {}", certificate.display()))?;
    let mut roots = RootCertStore::empty();
    for certificate in rustls_pemfile::certs(&mut BufReader::new(&file[..])) {
        roots.add(certificate?)?;
    }
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let protocol: &[u8] = if transport == Transport::H2Tls { b"h2" } else { b"http/1.1" };
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}
