"""Reading topics in this process: one object for `for` and for `async for`."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from fanfare import _constants as c
from fanfare._block import SLICE_MS, blocking
from fanfare._event import Event
from fanfare._handle import Sink
from fanfare._lib import Views, code_name, lib
from fanfare._raw import Puller, end_error
from fanfare.errors import LappedError

if TYPE_CHECKING:
    from types import TracebackType

    from fanfare._handle import Handle


class Subscription:
    """Events of some topics, in the hub's order. Made by `Hub.subscribe`; it reads from that call on.

    Iterate it by `for` in a thread or by `async for` in an event loop (asyncio, uvloop), one reader at a time. It ends when all its
    topics are closed, when it is closed, or when the hub stops. A reader that history has moved past gets `LappedError`, or with
    `lag="skip"` an event `fanfare.gap`. What is not read stays in the hub's history: nothing queues up here.

    Cancelling a task that waits for an event loses no event. `close`, `aclose` or leaving a `with` block ends it; so does dropping it.
    """

    def __init__(self, handle: Handle, id: int) -> None:
        self._handle = handle
        self._id = id
        self._puller = Puller(handle.raw, id)
        self._events: deque[Event] = deque()
        #: Why it is over: a code of the library, 0 for no reason; None while it is not.
        self._ended: int | None = None
        #: `LappedError` has been raised.
        self._told = False
        self._sink: Sink | None = None
        #: The last look found nothing more, and a notice comes when there is.
        self._idle = False
        self._lock = threading.Lock()

    @property
    def closed(self) -> bool:
        """Whether nothing new will come. Events that have been fetched already may still be read."""
        return self._ended is not None

    @property
    def ended(self) -> str | None:
        """Why it is over: `topic_closed`, `lapped`, `stopping`, or `closed` by its reader; None while it is not."""
        if self._ended is None:
            return None
        return code_name(self._ended) if self._ended else "closed"

    def add(self, topic: str) -> bool:
        """Reads one more topic, from now on. False if it is read already."""
        return self._change(lib.fanfare_add_topic, topic)

    def remove(self, topic: str) -> bool:
        """Reads a topic no more. False if it was not read. Without topics it stays open."""
        return self._change(lib.fanfare_remove_topic, topic)

    def _change(self, function: Any, topic: str) -> bool:
        views = Views()
        return self._handle.call(function, self._id, views.one(topic)) == c.OK

    def close(self) -> None:
        """Ends it. A reader that waits ends too. From any thread, also twice."""
        sink = self._sink
        if self._ended is None:
            self._ended = 0
            self._handle.close_target(self._id, lib.fanfare_unsubscribe)
        self._events.clear()
        self._handle.detach(self._id)
        if sink is not None:
            sink.tell()

    async def aclose(self) -> None:
        """`close`, for `contextlib.aclosing`."""
        self.close()

    # Reading.

    def __iter__(self) -> Subscription:
        return self

    def __next__(self) -> Event:
        while True:
            if self._events:
                try:
                    return self._events.popleft()
                except IndexError:
                    continue  # Another thread was faster.
            if self._ended is not None:
                self._finish()
                raise StopIteration
            blocking(lambda: self._pull(SLICE_MS))

    def next(self, timeout: float | None = None) -> Event | None:
        """The next event, or None when `timeout` seconds are over or there will be none."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._events and self._ended is None:
            left = SLICE_MS if deadline is None else max(0, round((deadline - time.monotonic()) * 1000))
            blocking(lambda: self._pull(min(left, SLICE_MS)))
            if left == 0:
                break
        if self._events:
            return self._events.popleft()
        if self._ended is not None:
            self._finish()
        return None

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            await self._fetch()
        return self._events.popleft()

    async def _fetch(self) -> None:
        """Until there is an event; raises at the end."""
        loop = asyncio.get_running_loop()
        sink = self._sink
        if sink is None and self._ended is None:
            sink = Sink(loop)
            self._handle.attach(self._id, sink)
            self._sink = sink
        elif sink is not None and sink.loop is not loop:
            raise RuntimeError("this subscription is read in another event loop")
        waited = False
        while not self._events:
            if self._ended is not None or sink is None:
                self._finish()
                raise StopAsyncIteration
            if self._idle:
                await sink.wait()
                waited = True
            sink.arm()
            if self._ended is None:
                self._pull(0)
        if not waited:
            # A reader that always finds something must not keep the loop from its other work.
            await asyncio.sleep(0)

    def _pull(self, timeout_ms: int) -> None:
        with self._lock:
            pulled = self._puller.pull(timeout_ms)
            if self._ended is not None:
                return  # Closed meanwhile.
            self._events.extend(pulled.events)
            # Only a look that does not wait asks for a notice.
            self._idle = pulled.idle and timeout_ms == 0
            if pulled.ended is not None:
                self._ended = pulled.ended

    def _finish(self) -> None:
        """The end has been read."""
        self._handle.detach(self._id)
        if self._ended == LappedError.status:
            if not self._told:
                self._told = True
                raise end_error(LappedError.status)

    # Lifetime.

    def __enter__(self) -> Subscription:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Subscription:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # Not for one whose making failed.
        if getattr(self, "_ended", 0) is None:
            self.close()
