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

_from_buffer = ffi.from_buffer
_string = ffi.string
_publish = lib.fanfare_publish
_EVENT_SIZE = ffi.sizeof("fanfare_event")
_PUBLISHED_SIZE = ffi.sizeof("fanfare_published")


class _Room:
    """The structures of one call."""

    __slots__ = ("event", "topic", "data", "done", "id", "error")

    def __init__(self) -> None:
        self.event = ffi.new("fanfare_event *")
        self.event.size = _EVENT_SIZE
        self.topic = self.event.topic
        self.data = self.event.data
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
    body = data.encode("utf-8", "surrogatepass") if type(data) is str else payload(data)
    name = _names.get(topic) or _name(topic)
    view = _from_buffer(body)
    try:
        room = _rooms.pop()
    except IndexError:
        room = _Room()
    into = room.topic
    into.ptr, into.len = name
    into = room.data
    into.ptr = view
    into.len = len(view)
    status = _publish(hub, room.event, room.done, room.error)
    if status < 0:
        # The room goes with the error, which nobody else may overwrite.
        raise refused(status, room.error)
    result: str = _string(room.id).decode("ascii")
    _rooms.append(room)
    return result


def _fill(event: Any, views: Views, draft: Draft) -> None:
    event.size = _EVENT_SIZE
    for field in ("topic", "event", "id", "except_", "key"):
        text = getattr(draft, field)
        if text is None and field != "topic":
            continue
        if not isinstance(text, str):
            raise TypeError(f"{field} is {type(text).__name__}: expected str")
        views.text(getattr(event, field.rstrip("_")), text)
    views.text(event.data, payload(draft.data))  # type: ignore[arg-type]
    if draft.retry is not None:
        if not isinstance(draft.retry, int):
            raise TypeError(f"retry is {type(draft.retry).__name__}: expected milliseconds as int")
        if not 0 <= draft.retry < 2**64:
            raise InvalidRetryError(f"retry {draft.retry}: expected milliseconds, at least 0")
        event.retry_ms = draft.retry
        event.flags = c.EVENT_RETRY


def publish_draft(hub: Any, draft: Draft) -> str:
    """Publishes an event with all that it may have."""
    event, done, error, views = ffi.new("fanfare_event *"), ffi.new("fanfare_published *"), new_error(), Views()
    done.size = _PUBLISHED_SIZE
    _fill(event, views, draft)
    status = _publish(hub, event, done, error)
    if status < 0:
        raise refused(status, error)
    result: str = _string(done.id).decode("ascii")
    return result


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
