"""Publishing: the one hot path of this package.

The structures that a call needs are made once and used again: a call takes a set out of a pool, which is safe with threads, signal
handlers and greenlets, because nobody else sees a set that is in use. Memory that a structure still points to after a call is not
looked at before the next call has filled it in again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from struct import Struct
from typing import Any, TypeAlias

from fanfare import _constants as c
from fanfare._error import FanfareError
from fanfare._event import Data, Draft, payload
from fanfare._lib import encode, ffi, lib, new_error, refused
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


# Arrays of structures are packed by hand: to set a field of each costs more than all else of a batch.
_pack = Struct("@13NQ2I").pack
_UNPUBLISHED = bytes(ffi.buffer(ffi.new("fanfare_published *", {"size": _PUBLISHED_SIZE})))
_ID_AT, _ID_LEN_AT = (ffi.offsetof("fanfare_published", field) for field in ("id", "id_len"))
_ID_BYTES = ffi.sizeof(ffi.new("fanfare_published *").id)
#: Length and text of every id.
_ids = Struct(f"={_ID_LEN_AT}xI{_ID_AT - _ID_LEN_AT - 4}x{_ID_BYTES}s{_PUBLISHED_SIZE - _ID_AT - _ID_BYTES}x").iter_unpack


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


class _Texts:
    """The texts of many events, one behind the other. A place is an offset and a length; offset 0 is no text."""

    __slots__ = ("parts", "used", "known")

    def __init__(self) -> None:
        self.parts = [b"\0"]
        self.used = 1
        #: Places of topics and types: most events of a batch share theirs.
        self.known: dict[str, tuple[int, int]] = {}

    def hold(self, text: bytes) -> tuple[int, int]:
        at, length = self.used, len(text)
        self.parts.append(text)
        self.used = at + length
        return at, length

    def name(self, field: str, text: str) -> tuple[int, int]:
        _check_text(field, text)
        place = self.known.get(text)
        if place is None:
            place = self.known[text] = self.hold(encode(text))
        return place

    def rest(self, fields: Sequence[Any]) -> _Rest:
        """What most events do not have: the places, flattened, and the last words of the structure."""
        *named, retry = fields
        places: _Rest = ()
        for field, text in zip(_EXTRA, named, strict=True):
            places += _NO_TEXT if text is None else self.name(field, text)
        if retry is None:
            return *places, 0, 0
        check_retry(retry)
        return *places, retry, c.EVENT_RETRY


#: Places of four texts, `retry_ms`, `flags`.
_Rest: TypeAlias = tuple[int, ...]
_NO_TEXT = (0, 0)
_NO_REST: _Rest = (0,) * 10


def publish_batch(hub: Any, drafts: Iterable[Draft | tuple[Any, ...]]) -> list[str]:
    """Publishes all of them in one step, or none."""
    texts = _Texts()
    parts, known = texts.parts, texts.known
    rows: list[tuple[int, int, int, int, _Rest]] = []
    for draft in drafts:
        rest = _NO_REST
        if len(draft) == 2:
            topic, data = draft
        else:
            topic, data, *more = draft if isinstance(draft, Draft) else Draft(*draft)
            try:
                rest = texts.rest(more)
            except FanfareError as failure:
                failure.index = len(rows)
                raise
        try:
            body = data.encode()
        except (AttributeError, UnicodeEncodeError):
            # What is not bytes could change its length while this is under way.
            body = bytes(payload(data))
        place = known.get(topic) if type(topic) is str else None
        if place is None:
            place = texts.name("topic", topic)
        # As `hold` does; a call for each event would cost as much as the rest.
        at, length = texts.used, len(body)
        parts.append(body)
        texts.used = at + length
        rows.append((*place, at, length, rest))
    held = _from_buffer(b"".join(parts))
    base = int(ffi.cast("uintptr_t", held))
    packed = []
    for topic, topic_len, data, data_len, rest in rows:
        if rest is not _NO_REST:
            event, event_len, id, id_len, except_, except_len, key, key_len, retry, flags = rest
            rest = (
                *(event and base + event, event_len, id and base + id, id_len),
                *(except_ and base + except_, except_len, key and base + key, key_len, retry, flags),
            )
        packed.append(_pack(_EVENT_SIZE, base + topic, topic_len, base + data, data_len, *rest, 0))
    events = _from_buffer("fanfare_event[]", b"".join(packed))
    answers = bytearray(_UNPUBLISHED * len(rows))
    done = _from_buffer("fanfare_published[]", answers)
    error, failed = new_error(), ffi.new("size_t *")
    status = lib.fanfare_publish_batch(hub, events, len(rows), done, failed, error)
    if status < 0:
        whole = refused(status, error)
        whole.index = int(failed[0])
        raise whole
    return [id[:length].decode("ascii") for length, id in _ids(answers)]
