"""A hub's handle, and who is told when its queue has something.

Subscriptions and streams are read on demand: the queue holds only the notice that there is something, so nothing piles up in Python
however slow a reader is. A *sink* is told that notice in its own event loop. Each loop that has sinks watches a duplicate of the hub's
descriptor; whichever thread drains the queue passes each notice to the loop it belongs to.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

from fanfare import _constants as c
from fanfare import _raw
from fanfare._error import FanfareError
from fanfare._lib import check, ffi, lib


class Sink:
    """Somebody in an event loop who waits for notices about one id."""

    __slots__ = ("loop", "_ready", "_waiter")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._ready = False
        self._waiter: asyncio.Future[None] | None = None

    def arm(self) -> None:
        """Forgets earlier notices. In the loop, before the pull that says that there is nothing."""
        self._ready = False

    async def wait(self) -> None:
        """Until a notice has come since `arm`. Cancelling it loses nothing."""
        if self._ready:
            return
        if self._waiter is not None:
            raise RuntimeError("this subscription is being read by another task")
        self._waiter = self.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def tell(self) -> None:
        """From any thread."""
        if asyncio._get_running_loop() is self.loop:
            self._tell()
            return
        try:
            self.loop.call_soon_threadsafe(self._tell)
        except RuntimeError:
            pass  # Its loop is closed, and nobody waits in it any more.

    def _tell(self) -> None:
        self._ready = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class _Watch:
    """One loop's eye on the queue."""

    __slots__ = ("fd", "sinks")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.sinks = 0


class Handle:
    """The library's hub. Any thread."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw
        self.pid = os.getpid()
        self.on_request: Callable[[Any], None] | None = None
        self.read_request: Callable[[Any], Any] = lambda _: None
        # Reentrant: a subscription may be collected, and detach itself, while it is held.
        self._lock = threading.RLock()
        weakref.finalize(self, _free, raw).atexit = False
        self._sinks: dict[int, Sink] = {}
        self._watches: dict[asyncio.AbstractEventLoop, _Watch] = {}

    def attach(self, id: int, sink: Sink) -> None:
        """In the sink's loop: from now on it is told about that id."""
        with self._lock:
            watch = self._watches.get(sink.loop)
            if watch is not None:
                watch.sinks += 1
                self._sinks[id] = sink
                return
            slot = ffi.new("int *")
            self.call(lib.fanfare_poll_fd, slot)
            # A duplicate outlives the hub, so that a loop never watches a number that is somebody else's.
            watch = _Watch(os.dup(slot[0]))
            self._watches[sink.loop] = watch
            self._sinks[id] = sink
            watch.sinks += 1
        sink.loop.add_reader(watch.fd, self.drain)

    def detach(self, id: int) -> None:
        """From any thread. The last one of a loop takes its watch away."""
        with self._lock:
            sink = self._sinks.pop(id, None)
            if sink is None:
                return
            watch = self._watches[sink.loop]
            watch.sinks -= 1
            if watch.sinks:
                return
            del self._watches[sink.loop]
        if asyncio._get_running_loop() is sink.loop:
            _unwatch(sink.loop, watch.fd)
            return
        try:
            sink.loop.call_soon_threadsafe(_unwatch, sink.loop, watch.fd)
        except RuntimeError:
            os.close(watch.fd)  # The loop is closed, and its poller with it.

    def close_target(self, id: int, close: Any) -> None:
        """Ends a subscription or stream; one that is over already is fine. From any thread."""
        lib_status = close(self.raw, id, ffi.NULL)
        with self._lock:
            watched = bool(self._watches)
        if lib_status == c.OK and not watched and self.on_request is None:
            # Nobody else empties the queue of the notice about it.
            self.drain()

    def drain(self) -> None:
        """Passes on what the queue has."""
        more = True
        while more:
            try:
                notices, more = _raw.drain(self.raw, self.read_request)
            except FanfareError:
                # The hub is gone, or this is a forked child: nothing will ever come.
                self._abandon()
                return
            for notice in notices:
                if notice.request is not None:
                    if self.on_request is not None:
                        self.on_request(notice)
                    continue
                sink = self._sinks.get(notice.handle)
                if sink is not None:
                    sink.tell()
            # A queue that is refilled as fast as it is emptied must not keep a loop from its other work.
            if asyncio._get_running_loop() is not None:
                return

    def _abandon(self) -> None:
        with self._lock:
            sinks, self._sinks = list(self._sinks.values()), {}
            watches, self._watches = self._watches, {}
        for loop, watch in watches.items():
            if asyncio._get_running_loop() is loop:
                _unwatch(loop, watch.fd)
                continue
            try:
                loop.call_soon_threadsafe(_unwatch, loop, watch.fd)
            except RuntimeError:
                os.close(watch.fd)
        for sink in sinks:
            sink.tell()

    def call(self, function: Any, *args: Any) -> int:
        """Calls a function that takes this hub first."""
        return check(function, self.raw, *args)


def _unwatch(loop: asyncio.AbstractEventLoop, fd: int) -> None:
    loop.remove_reader(fd)
    os.close(fd)


def _free(raw: Any) -> None:
    """Stops the hub at once if it runs, and forgets it. In a forked child it only forgets the handle."""
    lib.fanfare_free(ffi.new("fanfare_hub **", raw))
