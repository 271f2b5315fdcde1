"""Events as they are read and as they are written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias, Union

#: What can be published: text, bytes that are UTF-8, or what becomes JSON.
Data: TypeAlias = Union[str, bytes, bytearray, memoryview, dict[str, Any], list[Any], tuple[Any, ...]]

#: The type of the notice that events are missing.
GAP = "fanfare.gap"


class Event(NamedTuple):
    """An event of a subscription, or the notice that events are missing (`event == "fanfare.gap"`)."""

    #: Its id: give it to `since` to go on after it.
    id: str
    topic: str
    #: Its type; `message` if it has none.
    event: str
    data: str
    #: Its place in the hub's one sequence.
    position: int

    def json(self) -> Any:
        """The data, read as JSON."""
        return json.loads(self.data)

    @property
    def gap(self) -> dict[str, str | None] | None:
        """For a notice that events are missing: `requested`, `oldest` and `newest`, the ids that were asked for and are there."""
        if self.event != GAP:
            return None
        gap: dict[str, str | None] = json.loads(self.data)
        return gap


class Draft(NamedTuple):
    """An event for `Hub.publish_batch`. The fields are those of `Hub.publish`."""

    topic: str
    data: Data = ""
    event: str | None = None
    id: str | None = None
    except_: str | None = None
    key: str | None = None
    retry: int | None = None


class Greeting(NamedTuple):
    """An event for one client, which gets it before everything else: its type, data, and the milliseconds after which it reconnects."""

    event: str | None = None
    data: Data = ""
    retry: int | None = None


#: Events for one client, as such or as tuples of their fields.
Greetings: TypeAlias = Union[Sequence[Union[Greeting, tuple[Any, ...]]], None]


def payload(data: Data) -> bytes | bytearray | memoryview:
    """The bytes of an event's data."""
    if isinstance(data, str):
        return data.encode("utf-8", "surrogatepass")
    if isinstance(data, (bytes, bytearray)):
        return data
    if isinstance(data, memoryview):
        return data if data.c_contiguous else data.tobytes()
    if isinstance(data, (dict, list, tuple)):
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return text.encode("utf-8", "surrogatepass")
    raise TypeError(f"data is {type(data).__name__}: expected str, bytes, dict or list")
