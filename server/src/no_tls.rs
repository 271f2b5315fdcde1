//! A build without TLS: there is no acceptor, so nothing can come in over one. The configuration refuses `tls.listen`.

use std::convert::Infallible;
use std::io;
use std::path::Path;

use tokio::net::TcpStream;

/// What is said to a configuration that asks for it.
pub(crate) const MISSING: Option<&str> = Some("a build with the feature `tls`: this one has no TLS");

/// There is none.
#[derive(Clone)]
pub(crate) struct Acceptor(Infallible);

impl Acceptor {
    /// See the other variant of this module.
    pub(crate) fn load(_cert: &Path, _key: &Path) -> Result<Acceptor, &'static str> {
        Err("this build has no TLS")
    }

    /// Cannot be called.
    pub(crate) async fn accept(&self, socket: TcpStream) -> io::Result<(TcpStream, bool)> {
        drop(socket);
        match self.0 {}
    }
}
