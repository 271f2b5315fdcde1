//! A hub inside an application with a web server of its own: its sockets, the streams that it writes, its clients.

use std::net::TcpStream;

use fanfare_engine::{Code, InvalidField};
use fanfare_server::embed::{Adopted, EmbedError, Head, HostStream, Reader};

use crate::hub::Hub;

impl Hub {
    /// Gives a connected HTTP/1 socket of the host's own server to this hub, which writes the stream from then on. See
    /// [`Server::adopt`](fanfare_server::Server::adopt).
    ///
    /// # Errors
    /// [`EmbedError`]; nothing has been written then, and `ended` is not called.
    pub fn adopt<'a>(
        &self,
        socket: TcpStream,
        reader: impl Into<Reader<'a>>,
        head: &Head<'_>,
        ended: Option<Box<dyn FnOnce(Option<Code>) + Send>>,
    ) -> Result<Adopted, EmbedError> {
        self.http.server.adopt(socket, reader, head, ended)
    }

    /// Opens a stream whose bytes the host writes itself. See [`Server::open_stream`](fanfare_server::Server::open_stream).
    ///
    /// # Errors
    /// [`EmbedError`]; nothing has changed then.
    pub fn open_stream<'a>(&self, reader: impl Into<Reader<'a>>) -> Result<HostStream, EmbedError> {
        self.http.server.open_stream(reader)
    }

    /// Ends every stream of `client`. See [`Server::revoke`](fanfare_server::Server::revoke).
    ///
    /// # Errors
    /// A name that no client can have.
    pub fn revoke(&self, client: &str) -> Result<(), InvalidField> {
        self.http.server.revoke(client)
    }
}
