//! TLS by rustls: certificate and key from PEM files, ALPN for HTTP/1.1 and, in a build that has it, HTTP/2.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Why a configuration cannot have it: it can.
pub(crate) const MISSING: Option<&str> = None;

/// Why TLS cannot start. Names the file.
#[derive(Debug)]
pub(crate) struct TlsError(String);

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TlsError {}

/// Takes connections over TLS.
#[derive(Clone)]
pub(crate) struct Acceptor(TlsAcceptor);

impl Acceptor {
    /// Loads what `tls.cert` and `tls.key` name.
    pub(crate) fn load(cert: &Path, key: &Path) -> Result<Acceptor, TlsError> {
        let unreadable = |path: &Path, what: &str, error: pem::Error| {
            TlsError(format!("{}: no {what}: {error}", path.display()))
        };
        let chain = CertificateDer::pem_file_iter(cert)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| unreadable(cert, "certificate", error))?;
        if chain.is_empty() {
            return Err(TlsError(format!("{}: holds no certificate", cert.display())));
        }
        let private =
            PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, "private key", error))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError(error.to_string()))?
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .map_err(|error| TlsError(format!("{} and {}: {error}", cert.display(), key.display())))?;
        let offered: &[&[u8]] = if cfg!(feature = "http2") { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
        config.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
        Ok(Acceptor(TlsAcceptor::from(Arc::new(config))))
    }

    /// The handshake. True: the peer has chosen HTTP/2.
    // Boxed: it is moved through several futures, and each would have room for it.
    pub(crate) async fn accept(&self, socket: TcpStream) -> io::Result<(Box<TlsStream<TcpStream>>, bool)> {
        let stream = self.0.accept(socket).await?;
        let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok((Box::new(stream), h2))
    }
}
