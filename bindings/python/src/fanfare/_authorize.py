"""The host's hook for requests to the hub's own listener.

Requests come as items of the hub's queue; a thread of ours waits for them while the hub runs. A hook that is a plain function runs in a
small pool of threads, so that a slow one does not hold up the others; an async one runs in the event loop in which the hub was started, or, if there was
none, in a loop of its own. Nothing of the hub waits for Python: a hook that takes longer than `timeouts.authorize` is answered for.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from fanfare import _constants as c
from fanfare._error import FanfareError
from fanfare._lib import Views, ffi, lib
from fanfare._raw import Notice, view_text
from fanfare.errors import InvalidClientError
from fanfare.web import verdict

if TYPE_CHECKING:
    from fanfare._handle import Handle

#: Hooks that run at the same time.
THREADS = 8
#: How long the waiting thread sleeps at most, so that it sees a hub that was dropped.
_SLICE_MS = 500

_log = logging.getLogger("fanfare")
_ACTIONS = {value: name.removeprefix("ACTION_").lower() for name, value in vars(c).items() if name.startswith("ACTION_")}
ALL_ACTIONS = sum(_ACTIONS)


class Request(NamedTuple):
    """A request to the hub's own listener that waits for a decision."""

    #: `subscribe`, `publish` or `close`.
    action: str
    method: str
    #: As sent.
    path: str
    #: As sent, without `?`.
    query: str
    #: The peer's address.
    address: str
    last_event_id: str | None
    #: The name that it gives itself. Nobody has checked it.
    client: str | None
    topics: tuple[str, ...]
    #: By name in lower case; several of one name are joined by commas.
    headers: Mapping[str, str]


def read_request(raw: Any) -> Request:
    """The request as values of its own, while its memory lives."""
    headers: dict[str, str] = {}
    for index in range(raw.headers_len):
        header = raw.headers[index]
        name = view_text(header.name) or ""
        value = (ffi.unpack(header.value.ptr, header.value.len) if header.value.len else b"").decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Request(
        _ACTIONS.get(raw.action, "unknown"),
        view_text(raw.method) or "",
        view_text(raw.path) or "",
        view_text(raw.query) or "",
        view_text(raw.address) or "",
        view_text(raw.last_event_id),
        view_text(raw.client),
        tuple(view_text(raw.topics[index]) or "" for index in range(raw.topics_len)),
        MappingProxyType(headers),
    )


Hook = Callable[[Request], Any]


class Authorizer:
    """Runs the hook for a hub, from its start to its stop."""

    def __init__(self, handle: Handle, hook: Hook) -> None:
        self._raw = handle.raw
        self._hook = hook
        self._pool = ThreadPoolExecutor(THREADS, "fanfare-authorize")
        self._loop = asyncio._get_running_loop()
        handle.read_request = read_request
        handle.on_request = self._take
        # A thread that held the handle would keep a dropped hub alive.
        self._thread = threading.Thread(
            target=_wait, args=(weakref.ref(handle), handle.raw), name="fanfare-requests", daemon=True
        )
        self._thread.start()

    def join(self) -> None:
        """After the hub has stopped: until nothing of this runs any more but hooks that are under way."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _take(self, notice: Notice) -> None:
        try:
            self._pool.submit(self._decide, notice.handle, notice.request)
        except RuntimeError:
            # The interpreter is about to end.
            self._answer(notice.handle, verdict.Verdict(503, "stopping", None))

    def _decide(self, id: int, request: Request) -> None:
        try:
            decision = self._hook(request)
            if inspect.isawaitable(decision):
                if self._loop is not None and not self._loop.is_closed():
                    future = asyncio.run_coroutine_threadsafe(_awaited(decision), self._loop)
                    future.add_done_callback(lambda done: self._finish(id, request, done.result))
                    return
                decision = asyncio.run(_awaited(decision))
        except BaseException as error:  # noqa: BLE001: whatever a hook does, its request is answered
            self._failed(id, request, error)
            return
        self._finish(id, request, lambda: decision)

    def _finish(self, id: int, request: Request, result: Callable[[], object]) -> None:
        try:
            self._answer(id, verdict.read(result()))
        except BaseException as error:  # noqa: BLE001: as above
            self._failed(id, request, error)

    def _failed(self, id: int, request: Request, error: BaseException) -> None:
        _log.error("fanfare: the authorize hook failed for %s %s", request.method, request.path, exc_info=error)
        try:
            self._answer(id, verdict.Verdict(500, "the authorize hook failed", None))
        except FanfareError:
            pass

    def _answer(self, id: int, said: verdict.Verdict) -> None:
        views, error = Views(), ffi.NULL
        if said.status:
            lib.fanfare_reject(self._raw, id, said.status, views.one(said.message), error)
            return
        grant = ffi.new("fanfare_grant *")
        grant.size = ffi.sizeof("fanfare_grant")
        views.text(grant.client, said.client)
        status = lib.fanfare_accept(self._raw, id, grant, error)
        if status == InvalidClientError.status:
            raise ValueError(f"authorize returned the client name {said.client!r}, which is none")


async def _awaited(decision: Any) -> Any:
    return await decision


def _wait(handle: weakref.ref[Handle], raw: Any) -> None:
    while True:
        # Stopped and drained, or gone: an error either way.
        status = lib.fanfare_wait(raw, _SLICE_MS, ffi.NULL)
        if status < 0:
            return
        alive = handle()
        if alive is None:
            return
        if status == c.OK:
            alive.drain()
        del alive
