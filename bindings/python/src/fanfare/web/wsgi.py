"""WSGI: a response's body that hands its socket over, or is written by the server's worker.

gunicorn and Flask's own server show the connection's socket. The hub takes a duplicate and writes head and body itself. The server's own
descriptor is then replaced by a dead one in a single step: whatever the server writes, shuts down or closes afterwards goes nowhere, nothing is raised
through the application's middleware, and the worker is free for the next request.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from fanfare import _constants as c
from fanfare._streams import HostStream, Reading, adopt, last_event_id

if TYPE_CHECKING:
    from fanfare._handle import Handle

Environ = dict[str, Any]


def since(environ: Environ) -> str | None:
    """Where the client of this request wants to go on."""
    return last_event_id(environ.get("HTTP_LAST_EVENT_ID"), environ.get("QUERY_STRING", ""))


class Body:
    """The body of a response. `headers` gives the response's own as they are when the body begins."""

    def __init__(
        self,
        handle: Handle,
        reading: Reading,
        stream: HostStream,
        environ: Environ,
        headers: Callable[[], Iterable[tuple[str, str]]],
    ) -> None:
        self._handle = handle
        self._reading = reading
        self._stream = stream
        self._environ = environ
        self._headers = headers
        self._begun = False

    def __iter__(self) -> Body:
        return self

    def __next__(self) -> bytes:
        if not self._begun:
            self._begun = True
            if self._environ["REQUEST_METHOD"] == "HEAD" or self._hand_over():
                self._stream.close()
                raise StopIteration
        return next(self._stream)

    def close(self) -> None:
        """By the server, when the answer is over or its client is gone."""
        self._stream.close()

    def _hand_over(self) -> bool:
        connection = _connection(self._environ)
        headers = list(self._headers())
        # Something between here and the server changes the bytes: then it has to see them.
        if connection is None or any(name.lower() == "content-encoding" for name, _ in headers):
            return False
        flags = c.HTTP10 if self._environ["SERVER_PROTOCOL"] == "HTTP/1.0" else 0
        if not adopt(self._handle, connection.fileno(), self._reading, headers=headers, flags=flags):
            return False
        _bury(connection)
        return True


def _connection(environ: Environ) -> Any:
    """The request's socket, if it may be handed over."""
    connection = environ.get("gunicorn.socket") or environ.get("werkzeug.socket")
    if (
        connection is None
        # TLS of the server's own, as `ssl` and as gevent have it.
        or hasattr(connection, "cipher")
        or environ.get("SERVER_PROTOCOL") not in ("HTTP/1.0", "HTTP/1.1")
        # A body that nobody has read would be taken for the next request.
        or environ.get("CONTENT_LENGTH", "") not in ("", "0")
        or "HTTP_TRANSFER_ENCODING" in environ
        or connection.fileno() < 0
    ):
        return None
    return connection


def _bury(connection: Any) -> None:
    """Puts a dead socket in the place of this one, which closes it without a shutdown."""
    dead, peer = socket.socketpair()
    peer.close()
    os.dup2(dead.fileno(), connection.fileno(), inheritable=False)
    dead.close()
