"""What comes out of the library: batches of items, read in one go.

A batch's items are unpacked from their memory with one call of `struct` instead of a dozen of cffi's field reads; that the layout is
the header's is checked when this module is loaded.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from fanfare import _constants as c
from fanfare._error import FanfareError
from fanfare._event import Event
from fanfare._lib import ffi, lib, new_error, refused
from fanfare.errors import StaleHandleError, StoppingError

#          size kind code handle user topic id event data position
_LAYOUT = "N    i    i    Q      Q    PN    PN PN    PN   Q".split()
_FIELDS = ("size", "kind", "code", "handle", "user", "topic", "id", "event", "data", "position")
_ITEM_SIZE = ffi.sizeof("fanfare_item")
_KNOWN = struct.calcsize("@" + "".join(_LAYOUT))
_ITEM = struct.Struct("@" + "".join(_LAYOUT) + f"{_ITEM_SIZE - _KNOWN}x")


def _check_layout() -> None:
    # A count of 0 adds nothing but the alignment of what follows.
    offsets = [struct.calcsize("@" + "".join(_LAYOUT[:at]) + "0" + part[0]) for at, part in enumerate(_LAYOUT)]
    fields = [(name, field.offset) for name, field in ffi.typeof("fanfare_item").fields]
    if _ITEM.size != _ITEM_SIZE or fields[: len(_FIELDS)] != list(zip(_FIELDS, offsets, strict=True)):
        raise ImportError("fanfare: the layout of fanfare_item is not what this package expects on this platform")


_check_layout()

_cast = ffi.cast
_unpack = ffi.unpack
_CHARS = ffi.typeof("char *")
_KIND_REQUEST = getattr(c, "ITEM_REQUEST", -1)
_KIND_EVENT, _KIND_GAP, _KIND_END, _KIND_BYTES = c.ITEM_EVENT, c.ITEM_GAP, c.ITEM_END, c.ITEM_BYTES


def text(pointer: int, length: int) -> str:
    """A view of UTF-8 as a string of our own."""
    if not length:
        return ""
    data: bytes = _unpack(_cast(_CHARS, pointer), length)
    return data.decode("utf-8")


def view_text(view: Any) -> str | None:
    """A `fanfare_str` that may be absent and may be any bytes."""
    if view.ptr == ffi.NULL:
        return None
    data: bytes = ffi.unpack(view.ptr, view.len)
    return data.decode("utf-8", "surrogateescape")


class Pulled(NamedTuple):
    """What a pull has given."""

    events: list[Event]
    #: Bytes of a host-written stream.
    chunks: list[bytes]
    #: Nothing more now: a READY comes into the queue.
    idle: bool
    #: Why it is over (0: without a reason), None while it is not.
    ended: int | None


class Puller:
    """Pulls one subscription or stream, always with the same memory. One thread at a time."""

    __slots__ = ("_hub", "_id", "_batch", "_items", "_count", "_error")

    def __init__(self, hub: Any, id: int) -> None:
        self._hub = hub
        self._id = id
        self._batch = ffi.new("fanfare_batch **")
        self._items = ffi.new("fanfare_item **")
        self._count = ffi.new("size_t *")
        self._error = new_error()

    def pull(self, timeout_ms: int) -> Pulled:
        """Waits at most that long for something. The end of a stale id is an end without a reason."""
        events: list[Event] = []
        chunks: list[bytes] = []
        status = lib.fanfare_pull(self._hub, self._id, timeout_ms, self._batch, self._error)
        if status < 0:
            failure = refused(status, self._error)
            if isinstance(failure, (StaleHandleError, StoppingError)):
                return Pulled(events, chunks, False, failure.status if isinstance(failure, StoppingError) else 0)
            raise failure
        ended: int | None = None
        if self._batch[0] != ffi.NULL:
            try:
                ended = self._read(events, chunks)
            finally:
                lib.fanfare_batch_free(self._batch)
        return Pulled(events, chunks, status == c.AGAIN, ended)

    def _read(self, events: list[Event], chunks: list[bytes]) -> int | None:
        status = lib.fanfare_batch_items(self._batch[0], _ITEM_SIZE, self._items, self._count, self._error)
        if status < 0:
            raise refused(status, self._error)
        ended: int | None = None
        seen, topic = 0, ""
        make, append = tuple.__new__, events.append
        memory = ffi.buffer(self._items[0], self._count[0] * _ITEM_SIZE)
        for _, kind, code, _, _, tp, tl, ip, il, ep, el, dp, dl, position in _ITEM.iter_unpack(memory):
            if kind == _KIND_EVENT or kind == _KIND_GAP:
                if tp != seen:
                    seen, topic = tp, text(tp, tl)
                append(
                    make(
                        Event,
                        (
                            _unpack(_cast(_CHARS, ip), il).decode("ascii"),
                            topic,
                            _unpack(_cast(_CHARS, ep), el).decode("utf-8") if el else "message",
                            _unpack(_cast(_CHARS, dp), dl).decode("utf-8") if dl else "",
                            position,
                        ),
                    )
                )
            elif kind == _KIND_BYTES:
                chunks.append(_unpack(_cast(_CHARS, dp), dl))
            elif kind == _KIND_END:
                ended = code
        return ended


class Notice(NamedTuple):
    """An item of the hub's queue that says something about an id."""

    kind: int
    handle: int
    code: int
    #: For a request: what it asks, as plain values.
    request: Any


def drain(hub: Any, read_request: Any) -> tuple[list[Notice], bool]:
    """Takes what the hub's queue has; True if there is more. `read_request` makes a request its own values while its memory lives."""
    batch, items, count = ffi.new("fanfare_batch **"), ffi.new("fanfare_item **"), ffi.new("size_t *")
    error = new_error()
    status = lib.fanfare_drain(hub, batch, error)
    if status < 0:
        raise refused(status, error)
    notices: list[Notice] = []
    if batch[0] != ffi.NULL:
        try:
            if lib.fanfare_batch_items(batch[0], _ITEM_SIZE, items, count, error) == c.OK:
                for index in range(count[0]):
                    item = items[0][index]
                    request = read_request(item.request) if item.kind == _KIND_REQUEST else None
                    notices.append(Notice(item.kind, item.handle, item.code, request))
        finally:
            lib.fanfare_batch_free(batch)
    return notices, status == c.OK


def end_error(code: int) -> FanfareError:
    """Why a subscription ended, as an exception."""
    error = new_error()
    error.message = ffi.string(lib.fanfare_strerror(code))
    return refused(code, error)
