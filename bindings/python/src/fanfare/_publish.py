"""Publishing: the one hot path of this package.

The structures that a call needs are made once and used again: a call takes a set out of a pool, which is safe with threads, signal
handlers and greenlets, because nobody else sees a set that is in use. Memory that a structure still points to after a call is not
looked at before the next call has filled it in again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from fanfare import _constants as c
from fanfare._error import FanfareError
from fanfare._event import Data, Draft, payload
from fanfare._lib import Views, encode, ffi, lib, new_error, refused
from fanfare.errors import InvalidRetryError

#: Most topic names that are kept encoded.
_MAX_NAMES = 1024
#: Bytes of data that are copied to where the structure points to already, which costs less than pointing it elsewhere.
_NEAR_BY = 1024

_from_buffer = ffi.from_buffer
_string = ffi.string
_publish = lib.fanfare_publish
_EVENT_SIZE = ffi.sizeof("fanfare_event")
_PUBLISHED_SIZE = ffi.sizeof("fanfare_published")
_NULL = ffi.NULL
#: Texts that most events do not have, by the names of their parameters.
_EXTRA = ("event", "id", "except_", "key")


class _Room:
    """The structures of one call."""

    __slots__ = ("event", "name", "topic", "data", "near_by", "is_near", "bytes", "extra", "done", "id", "error")

    def __init__(self) -> None:
        self.event = ffi.new("fanfare_event *")
        self.event.size = _EVENT_SIZE
        #: What `topic` points to, which keeps it alive.
        self.name: tuple[Any, int] | None = None
        self.topic = self.event.topic
        self.data = self.event.data
        near_by = ffi.new("char[]", _NEAR_BY)
        #: Whether `data` points to `near_by`.
        self.is_near = False
        self.near_by = near_by
        self.bytes = ffi.buffer(near_by)
        self.extra = tuple(getattr(self.event, field.rstrip("_")) for field in _EXTRA)
        self.done = ffi.new("fanfare_published *")
        self.done.size = _PUBLISHED_SIZE
        self.id = self.done.id
        self.error = new_error()


_rooms: deque[_Room] = deque()
_names: dict[str, tuple[Any, int]] = {}


def _name(topic: str) -> tuple[Any, int]:
    if not isinstance(topic, str):
        raise TypeError(f"topic is {type(topic).__name__}: expected str")
    encoded = encode(topic)
    # The view keeps the bytes.
    view = (_from_buffer(encoded), len(encoded))
    if len(_names) >= _MAX_NAMES:
        _names.clear()
    if len(encoded) <= 255:
        _names[topic] = view
    return view


def publish(hub: Any, topic: str, data: Data) -> str:
    """Publishes an event that has a topic and data only."""
    try:
        body = data.encode()  # type: ignore[union-attr]
    except (AttributeError, UnicodeEncodeError):
        body = payload(data)
    name = _names.get(topic) or _name(topic)
    length = len(body)
    try:
        room = _rooms.pop()
    except IndexError:
        room = _Room()
    if room.name is not name:
        room.name = name
        room.topic.ptr, room.topic.len = name
    into = room.data
    if length <= _NEAR_BY and type(body) is bytes:
        room.bytes[:length] = body
        if not room.is_near:
            into.ptr = room.near_by
            room.is_near = True
        into.len = length
    else:
        room.is_near = False
        view = _from_buffer(body)
        into.ptr = view
        into.len = len(view)
    status = _publish(hub, room.event, room.done, room.error)
    if status < 0:
        # The room goes with the error, which nobody else may overwrite.
        raise refused(status, room.error)
    result: str = _string(room.id).decode()
    _rooms.append(room)
    return result


def _check_text(field: str, text: object) -> None:
    if not isinstance(text, str):
        raise TypeError(f"{field} is {type(text).__name__}: expected str")


def check_retry(retry: object) -> None:
    if not isinstance(retry, int):
        raise TypeError(f"retry is {type(retry).__name__}: expected milliseconds as int")
    if not 0 <= retry < 2**64:
        raise InvalidRetryError(f"retry {retry}: expected milliseconds, at least 0")


def publish_full(hub: Any, draft: Draft) -> str:
    """Publishes an event with all that it may have."""
    view = _from_buffer(payload(draft.data))
    name = _names.get(draft.topic) or _name(draft.topic)
    try:
        room = _rooms.pop()
    except IndexError:
        room = _Room()
    # Whatever is raised from here on, the room is not used again.
    if room.name is not name:
        room.name = name
        room.topic.ptr, room.topic.len = name
    room.is_near = False
    room.data.ptr, room.data.len = view, len(view)
    filled = []
    for into, field, text in zip(room.extra, _EXTRA, draft[2:6], strict=True):
        if text is not None:
            _check_text(field, text)
            held = _from_buffer(encode(text))
            into.ptr, into.len = held, len(held)
            filled.append((into, held))
    if draft.retry is not None:
        check_retry(draft.retry)
        room.event.retry_ms, room.event.flags = draft.retry, c.EVENT_RETRY
    status = _publish(hub, room.event, room.done, room.error)
    if status < 0:
        raise refused(status, room.error)
    result: str = _string(room.id).decode()
    for into, _ in filled:
        into.ptr, into.len = _NULL, 0
    if draft.retry is not None:
        room.event.retry_ms = room.event.flags = 0
    _rooms.append(room)
    return result


def _fill(event: Any, views: Views, draft: Draft) -> None:
    event.size = _EVENT_SIZE
    _check_text("topic", draft.topic)
    views.text(event.topic, draft.topic)
    for field, text in zip(_EXTRA, draft[2:6], strict=True):
        if text is not None:
            _check_text(field, text)
            views.text(getattr(event, field.rstrip("_")), text)
    views.text(event.data, payload(draft.data))
    if draft.retry is not None:
        check_retry(draft.retry)
        event.retry_ms, event.flags = draft.retry, c.EVENT_RETRY


def publish_batch(hub: Any, drafts: Iterable[Draft | tuple[Any, ...]]) -> list[str]:
    """Publishes all of them in one step, or none."""
    listed = [draft if isinstance(draft, Draft) else Draft(*draft) for draft in drafts]
    events = ffi.new("fanfare_event[]", len(listed))
    done = ffi.new("fanfare_published[]", len(listed))
    views, error, failed = Views(), new_error(), ffi.new("size_t *")
    for index, draft in enumerate(listed):
        try:
            _fill(events[index], views, draft)
        except FanfareError as failure:
            failure.index = index
            raise
        done[index].size = _PUBLISHED_SIZE
    status = lib.fanfare_publish_batch(hub, events, len(listed), done, failed, error)
    if status < 0:
        whole = refused(status, error)
        whole.index = int(failed[0])
        raise whole
    return [_string(item.id).decode("ascii") for item in done]
