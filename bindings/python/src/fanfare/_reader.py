"""Reading on demand: one object for `for` and for `async for`."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from fanfare._block import SLICE_MS, blocking
from fanfare._handle import Sink
from fanfare._lib import code_name
from fanfare._raw import Puller, Pulled, end_error
from fanfare.errors import LappedError

if TYPE_CHECKING:
    from types import TracebackType

    from fanfare._handle import Handle

T = TypeVar("T")


class Reader(Generic[T]):
    """What a subscription and a host-written stream have in common: pulled on demand, by `for` or by `async for`."""

    def __init__(self, handle: Handle, id: int) -> None:
        self._handle = handle
        self._id = id
        self._puller = Puller(handle.raw, id)
        self._items: deque[T] = deque()
        #: Why it is over: a code of the library, 0 for no reason; None while it is not.
        self._ended: int | None = None
        #: `LappedError` has been raised.
        self._told = False
        self._sink: Sink | None = None
        #: The last look found nothing more, and a notice comes when there is.
        self._idle = False
        self._lock = threading.Lock()

    def _found(self, pulled: Pulled) -> list[T]:
        raise NotImplementedError

    def _close(self) -> Any:
        """The library's function that ends it."""
        raise NotImplementedError

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

    def close(self) -> None:
        """Ends it. A reader that waits ends too. From any thread, also twice."""
        sink = self._sink
        if self._ended is None:
            self._ended = 0
            self._handle.close_target(self._id, self._close())
        self._items.clear()
        self._handle.detach(self._id)
        if sink is not None:
            sink.tell()

    async def aclose(self) -> None:
        """`close`, for `contextlib.aclosing`."""
        self.close()

    # Reading.

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        while True:
            if self._items:
                try:
                    return self._items.popleft()
                except IndexError:
                    continue  # Another thread was faster.
            if self._ended is not None:
                self._finish()
                raise StopIteration
            blocking(lambda: self._pull(SLICE_MS))

    def next(self, timeout: float | None = None) -> T | None:
        """The next event, or None when `timeout` seconds are over or there will be none."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._items and self._ended is None:
            left = SLICE_MS if deadline is None else max(0, round((deadline - time.monotonic()) * 1000))
            blocking(lambda: self._pull(min(left, SLICE_MS)))
            if left == 0:
                break
        if self._items:
            return self._items.popleft()
        if self._ended is not None:
            self._finish()
        return None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while not self._items:
            await self._fetch()
        return self._items.popleft()

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
        while not self._items:
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
            self._items.extend(self._found(pulled))
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # Not for one whose making failed.
        if getattr(self, "_ended", 0) is None:
            self.close()
