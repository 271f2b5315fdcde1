"""Streams to the clients of a host's own web server: sockets handed over, and bytes that the host writes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl

from fanfare import _constants as c
from fanfare._event import Event, Greetings
from fanfare._lib import Views, ffi, lib
from fanfare._options import subscribe_options
from fanfare._raw import Pulled
from fanfare._reader import Reader
from fanfare.errors import InvalidParameterError, UnsupportedError

if TYPE_CHECKING:
    from fanfare._handle import Handle

#: What a host sets on an answer whose body is a stream. Adopted sockets get these from the library.
HEADERS = {
    "content-type": "text/event-stream",
    "cache-control": "no-cache, no-store, no-transform",
    "x-accel-buffering": "no",
}
#: Of the connection, not of the host's application: a stream has its own.
_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "content-length", "date"}


class Reading(NamedTuple):
    """What a stream reads. The fields are those of `Hub.subscribe`, and what its client is greeted with."""

    topics: Sequence[str]
    since: str | Event | None = None
    replay: int | str | None = None
    client: str | None = None
    events: Sequence[str] | None = None
    lag: str | None = None
    greeting: Greetings = None

    def options(self, views: Views) -> Any:
        given = self._asdict()
        return subscribe_options(views, given.pop("topics"), **given)


class HostStream(Reader[bytes]):
    """Bytes that the host writes to its client as they are: the opening, events, gap notices, heartbeats.

    Pulled only when the client has taken what came before: a slow client falls behind in history, not in memory.
    """

    def _found(self, pulled: Pulled) -> list[bytes]:
        return [b"".join(pulled.chunks)] if pulled.chunks else []

    def _close(self) -> Any:
        return lib.fanfare_close_stream

    def _finish(self) -> None:
        # However it ends, its client comes back by itself: for the host's server this is the end of an answer, and no fault.
        self._handle.detach(self._id)


def open_stream(handle: Handle, reading: Reading) -> HostStream:
    """A stream that the host writes."""
    views, id = Views(), ffi.new("uint64_t *")
    handle.call(lib.fanfare_open_stream, reading.options(views), id)
    return HostStream(handle, id[0])


def adopt(
    handle: Handle,
    fd: int,
    reading: Reading,
    *,
    headers: Iterable[tuple[str, str]] = (),
    flags: int = 0,
) -> bool:
    """Gives a socket to the hub. False if that is not possible, and then it is all the caller's and nothing has been written."""
    views, options = Views(), ffi.new("fanfare_adopt_options *")
    options.size = ffi.sizeof("fanfare_adopt_options")
    options.flags = flags
    own = [(name, value) for name, value in headers if name.lower() not in HEADERS and name.lower() not in _CONNECTION]
    array = ffi.new("fanfare_header[]", len(own))
    for index, (name, value) in enumerate(own):
        views.text(array[index].name, name)
        views.text(array[index].value, value)
    options.headers = array
    options.headers_len = len(own)
    try:
        handle.call(lib.fanfare_adopt, fd, reading.options(views), options, ffi.NULL)
    except (UnsupportedError, InvalidParameterError):
        # No such socket, or a header that changes how the body is read: the host writes the answer itself.
        return False
    return True


def adopt_sent(handle: Handle, fd: int, reading: Reading, *, chunked: bool) -> bool:
    """As `adopt`, when the host has sent the head of its answer."""
    return adopt(handle, fd, reading, flags=c.HEAD_SENT | (c.CHUNKED if chunked else 0))


def last_event_id(header: str | None, query: str) -> str | None:
    """Where the client wants to go on: the header, else `?last_event_id=`."""
    if header:
        return header
    found = [value for name, value in parse_qsl(query, keep_blank_values=True) if name == "last_event_id"]
    return found[0] or None if found else None
