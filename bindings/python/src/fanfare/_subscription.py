"""Reading topics in this process."""

from __future__ import annotations

from typing import Any

from fanfare import _constants as c
from fanfare._event import Event
from fanfare._lib import Views, lib
from fanfare._raw import Pulled
from fanfare._reader import Reader


class Subscription(Reader[Event]):
    """Events of some topics, in the hub's order. Made by `Hub.subscribe`; it reads from that call on.

    Iterate it by `for` in a thread or by `async for` in an event loop (asyncio, uvloop), one reader at a time. It ends when all its
    topics are closed, when it is closed, or when the hub stops. A reader that history has moved past gets `LappedError`, or with
    `lag="skip"` an event `fanfare.gap`. What is not read stays in the hub's history: nothing queues up here.

    Cancelling a task that waits for an event loses no event. `close`, `aclose` or leaving a `with` block ends it; so does dropping it.
    """

    def add(self, topic: str) -> bool:
        """Reads one more topic, from now on. False if it is read already."""
        return self._change(lib.fanfare_add_topic, topic)

    def remove(self, topic: str) -> bool:
        """Reads a topic no more. False if it was not read. Without topics it stays open."""
        return self._change(lib.fanfare_remove_topic, topic)

    def _change(self, function: Any, topic: str) -> bool:
        views = Views()
        return self._handle.call(function, self._id, views.one(topic)) == c.OK

    def _found(self, pulled: Pulled) -> list[Event]:
        return pulled.events

    def _close(self) -> Any:
        return lib.fanfare_unsubscribe
