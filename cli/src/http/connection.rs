//! A connection to a hub: TCP, or TLS over it.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use socket2::{SockRef, TcpKeepalive};

use crate::http::HubArgs;

/// Time to reach one address of the hub.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for one read while an answer is awaited.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Where systems keep the certificates they trust, for systems that do not say so in `SSL_CERT_FILE`.
const SYSTEM_ROOTS: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// An open connection.
pub(crate) enum Connection {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Connection {
    /// Connects; reads time out after [`ANSWER_TIMEOUT`] until [`Connection::wait_for_ever`].
    pub(crate) fn open(hub: &HubArgs) -> io::Result<Self> {
        let target = &hub.url;
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        let mut stream = None;
        for address in (target.host.as_str(), target.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
                Ok(connected) => {
                    stream = Some(connected);
                    break;
                }
                Err(error) => last = error,
            }
        }
        let stream = stream.ok_or(last)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        // A quiet stream is normal; a hub that has vanished without a word is found by the system.
        let keepalive =
            TcpKeepalive::new().with_time(Duration::from_secs(20)).with_interval(Duration::from_secs(10));
        SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
        if !target.tls {
            return Ok(Self::Plain(stream));
        }
        let name = ServerName::try_from(target.host.clone()).map_err(io::Error::other)?;
        let session = ClientConnection::new(Arc::new(tls_config(hub.cacert.as_deref())?), name)
            .map_err(io::Error::other)?;
        Ok(Self::Tls(Box::new(StreamOwned::new(session, stream))))
    }

    /// From here on, reads wait as long as the connection lives.
    pub(crate) fn wait_for_ever(&self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &stream.sock,
        }
        .set_read_timeout(None)
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

fn tls_config(cacert: Option<&Path>) -> io::Result<ClientConfig> {
    let roots = match cacert {
        Some(path) => roots(path)?,
        None => {
            let own = std::env::var_os("SSL_CERT_FILE");
            let mut places = own.iter().map(Path::new).chain(SYSTEM_ROOTS.iter().map(Path::new));
            let path = places.find(|path| path.exists()).ok_or_else(|| {
                io::Error::other(
                    "this system's trusted certificates were not found: name a file with --cacert",
                )
            })?;
            roots(path)?
        }
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(config.map_err(io::Error::other)?.with_root_certificates(roots).with_no_client_auth())
}

fn roots(path: &Path) -> io::Result<RootCertStore> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let mut reader = BufReader::new(File::open(path).map_err(named)?);
    let certificates: Vec<_> = rustls_pemfile::certs(&mut reader).collect::<Result<_, _>>().map_err(named)?;
    let mut roots = RootCertStore::empty();
    // Bundles hold the odd certificate that nothing can use; the others still count.
    let (added, _) = roots.add_parsable_certificates(certificates);
    if added == 0 {
        return Err(io::Error::other(format!("{} holds no certificate", path.display())));
    }
    Ok(roots)
}
