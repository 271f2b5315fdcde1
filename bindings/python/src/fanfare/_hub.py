"""The hub: start, publish, subscribe, stop; and the doors to the web frameworks."""

from __future__ import annotations

import asyncio
import atexit
import os
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from fanfare import _constants as c
from fanfare._authorize import ALL_ACTIONS, Authorizer, Request
from fanfare._error import FanfareError
from fanfare._event import Data, Draft, Event, Greetings
from fanfare._handle import Handle
from fanfare._lib import Views, check, ffi, lib
from fanfare._options import free_config, handler_list, new_config, subscribe_options
from fanfare._publish import publish, publish_batch, publish_full
from fanfare._streams import Reading
from fanfare._subscription import Subscription
from fanfare.errors import InvalidParameterError

if TYPE_CHECKING:
    from types import TracebackType

    from aiohttp import web as aiohttp_web
    from aiohttp.web import BaseRequest
    from flask import Response as FlaskResponse
    from starlette.background import BackgroundTask
    from starlette.requests import Request as StarletteRequest

    from fanfare.web import asgi, starlette

#: Seconds that a hub which nobody has stopped may take at the end of the process, at most.
EXIT_SECONDS = 1.0

_running: weakref.WeakSet[Hub] = weakref.WeakSet()


class Stats(NamedTuple):
    """Counters since the start, and what there is now."""

    published: int
    published_bytes: int
    refused: int
    dropped: int
    gaps: int
    lapped: int
    history_events: int
    history_bytes: int
    topics: int
    subscriptions: int


class HandlerInfo(NamedTuple):
    """An event handler, and what it has done since it was loaded."""

    name: str
    #: A topic, or with a `*` at the end every topic that begins so.
    topics: str
    #: Events it was called for.
    calls: int
    passed: int
    dropped: int
    #: Events in whose place it put another one.
    replaced: int
    #: Events of which it made several.
    emitted: int
    rejected: int
    #: Calls in which it failed; the option `handler.on_fault` decided then.
    faults: int
    #: Events that `handler.on_fault` decided without a call, after many faults in a row.
    rested: int
    #: Nanoseconds that the calls took, all together.
    time_ns: int
    instances: int
    #: The most that any one instance has held.
    memory_bytes: int
    state_bytes: int
    reloads: int
    failed_reloads: int


class StopReport(NamedTuple):
    """What stopping met."""

    #: Streams that were open when it began.
    streams: int
    #: Connections that were still open at the deadline and were cut.
    cut: int


class Hub:
    """An event engine with its own HTTP listener, running in this process.

    It runs when this returns, in threads of its own that never take Python's lock. Options are the configuration keys with `_` for `.`
    (`history_events=100`), or `config={"history.events": 100}`; a `config_file` comes first. Numbers for times are seconds.

    Any thread may use it. It does not survive a fork: start it in the process that uses it. A hub that nobody stops is stopped at the
    end of the process, within a second.

    `authorize` decides about requests to the hub's own listener: it gets a `Request` and returns the client's name, True (nobody in
    particular), False, or a status of 400 to 599 and a message. It may be async. An exception is a 500 and is logged to the logger
    `fanfare`. It does not see requests to routes of your own.

    `handlers` are event handlers in WebAssembly by their topics, in the order in which events pass them: `{"votes": "votes.wasm"}`.
    They need a library that is built with them; otherwise they are refused with `UnsupportedError`.
    """

    def __init__(
        self,
        *,
        config: Mapping[str, Any] | None = None,
        config_file: str | os.PathLike[str] | None = None,
        authorize: Callable[[Request], Any] | None = None,
        handlers: Mapping[str, str | os.PathLike[str]] | None = None,
        **options: Any,
    ) -> None:
        slot = new_config(config_file, config, {**options, "handlers": handler_list(handlers)})
        try:
            if authorize is not None:
                check(lib.fanfare_config_authorize, slot[0], ALL_ACTIONS)
            raw = ffi.new("fanfare_hub **")
            check(lib.fanfare_start, slot[0], raw)
        finally:
            free_config(slot)
        self._handle = Handle(raw[0])
        self._raw = raw[0]
        self._pid = os.getpid()
        self._authorizer = Authorizer(self._handle, authorize) if authorize is not None else None
        _register(self)

    # Where it is, and how it is.

    @property
    def url(self) -> str:
        """Where it listens: `http://127.0.0.1:4780`."""
        url: bytes = ffi.string(lib.fanfare_url(self._raw))
        return url.decode()

    @property
    def urls(self) -> list[str]:
        """Everywhere it listens, plain HTTP first."""
        urls: bytes = ffi.string(lib.fanfare_urls(self._raw))
        return urls.decode().split("\n")

    def stats(self) -> Stats:
        """A snapshot of the counters. Also after a stop."""
        stats = ffi.new("fanfare_stats *")
        stats.size = ffi.sizeof("fanfare_stats")
        self._handle.call(lib.fanfare_get_stats, stats)
        return Stats(*(getattr(stats, name) for name in Stats._fields))

    def __repr__(self) -> str:
        return f"<fanfare.Hub {self.url or 'of another process'}>"

    # Publishing.

    def publish(
        self,
        topic: str,
        data: Data = "",
        *,
        event: str | None = None,
        id: str | None = None,
        except_: str | None = None,
        key: str | None = None,
        retry: int | None = None,
    ) -> str:
        """Publishes an event and returns its id, which is that of the hub's last event if a handler dropped it. Never waits for a
        reader; any thread.

        `data` is text, bytes that are UTF-8, or a dict or list, which becomes JSON. `event` is its type, `id` an id of your own,
        `except_` the client that does not get it, `key` what `lag="conflate"` keeps the latest of, `retry` the milliseconds after which
        readers reconnect.
        """
        if event is None and id is None and except_ is None and key is None and retry is None:
            return publish(self._raw, topic, data)
        return publish_full(self._raw, Draft(topic, data, event, id, except_, key, retry))

    def publish_batch(self, events: Iterable[Draft | tuple[Any, ...]]) -> list[str]:
        """Publishes `Draft`s, or tuples of their fields, in one step: all of them or none. Returns their ids.

        The error of a refused event has its `index`.
        """
        return publish_batch(self._raw, events)

    def close_topic(self, topic: str) -> bool:
        """Closes a topic: its readers get what is retained and end. False if it was closed before."""
        views = Views()
        return self._handle.call(lib.fanfare_close_topic, views.one(topic)) == c.OK

    def delete_history(self, topic: str) -> None:
        """Deletes the events that a topic has, in memory and with `data` on disk, where their space is given back within seconds. The topic
        goes on; one that is closed stays closed. Readers that have not got the events are told by a gap.
        """
        views = Views()
        self._handle.call(lib.fanfare_delete_history, views.one(topic))

    def revoke(self, client: str) -> None:
        """Ends every stream of this client. It may come back: refuse it then."""
        views = Views()
        self._handle.call(lib.fanfare_revoke, views.one(client))

    # Event handlers.

    def load_handler(
        self, topics: str, source: str | os.PathLike[str] | bytes, *, name: str | None = None, settings: str | None = None
    ) -> str:
        """Loads an event handler behind those that are there: a component or core module of WebAssembly, as the path of a file or as bytes
        with a `name`. `topics` is a topic, or with a `*` at the end every topic that begins so. Returns its name, which is that of the file
        without its ending, with a number if it is taken. `settings` are this handler's alone, as they follow a file in the option
        `handlers`: `"event=vote;time=5ms;config.most=99"`. Compiling may take seconds; Python's lock is not held.
        """
        handler, info = ffi.new("fanfare_handler *"), ffi.new("fanfare_handler_info *")
        handler.size, info.size = ffi.sizeof("fanfare_handler"), ffi.sizeof("fanfare_handler_info")
        views = Views()
        views.text(handler.topics, topics)
        if isinstance(source, (bytes, bytearray, memoryview)):
            views.text(handler.bytes, source)
        else:
            views.text(handler.file, os.fspath(source))
        views.text(handler.name, name)
        views.text(handler.settings, settings)
        self._handle.call(lib.fanfare_load_handler, handler, info)
        loaded: bytes = ffi.unpack(info.name, info.name_len)
        return loaded.decode()

    def unload_handler(self, name: str) -> bool:
        """Unloads a handler; with `data` its state stays. False if there is none of that name."""
        views = Views()
        return self._handle.call(lib.fanfare_unload_handler, views.one(name)) == c.OK

    def handlers(self) -> list[HandlerInfo]:
        """The handlers and what they have done, in the order in which events pass them."""
        count, room = ffi.new("size_t *"), 0
        while True:
            infos = ffi.new("fanfare_handler_info[]", room)
            for index in range(room):
                infos[index].size = ffi.sizeof("fanfare_handler_info")
            self._handle.call(lib.fanfare_get_handlers, infos, room, count)
            # Another thread may load one between two looks.
            if count[0] <= room:
                return [_handler(infos[index]) for index in range(count[0])]
            room = count[0]

    # Reading.

    def subscribe(
        self,
        *topics: str,
        since: str | Event | None = None,
        replay: int | str | None = None,
        client: str | None = None,
        events: Sequence[str] | None = None,
        lag: str | None = None,
    ) -> Subscription:
        """Reads topics in this process, from this call on, by `for` or `async for`.

        `since` goes on after an event or its id; `replay` begins with the last N retained events or with `"all"`; `client` leaves out
        what was published `except_` it; `events` are the types to read; `lag` is `disconnect`, `skip` or `conflate`.
        """
        views = Views()
        options = subscribe_options(
            views,
            topics,
            since=since,
            replay=replay,
            client=client,
            events=events,
            lag=lag,
            flags=c.ON_DEMAND,
        )
        id = ffi.new("uint64_t *")
        self._handle.call(lib.fanfare_subscribe, options, id)
        return Subscription(self._handle, id[0])

    # Answering requests of your own web server. All of these honour `Last-Event-ID` and `?last_event_id=`, answer 204 when the topics are
    # closed, and give the socket to the hub where that is possible, which then writes natively and costs the server nothing. `greeting`
    # is what this client gets first, before `replay` and before what it has missed, each time that it comes: `[("notice", {"text": "Hi"})]`.

    def response(
        self,
        request: StarletteRequest,
        topics: Sequence[str],
        *,
        since: str | Event | None = None,
        replay: int | str | None = None,
        client: str | None = None,
        events: Sequence[str] | None = None,
        lag: str | None = None,
        greeting: Greetings = None,
        headers: Mapping[str, str] | None = None,
        background: BackgroundTask | None = None,
    ) -> starlette.StreamResponse:
        """For Starlette and FastAPI: return it from a route. `background` runs when the stream is the hub's, or over."""
        from fanfare.web import asgi, starlette

        since = since if since is not None else asgi.since(request.scope)
        reading = Reading(topics, since, replay, client, events, lag, greeting)
        return starlette.StreamResponse(self._handle, reading, headers, background)

    def asgi(self, authorize: Callable[[asgi.Scope], Any] | None = None) -> asgi.App:
        """An ASGI application to mount: `GET /TOPIC`, or `GET /?topic=A&topic=B`, with `?replay=`, `?lag=` and `?client=`.

        `authorize(scope)` may be async; the topics are in `scope["fanfare.topics"]`. It returns the client's name, True, False, or a
        status and a message; then `?client=` is not looked at. Without it everybody may read everything.
        """
        from fanfare.web import asgi

        return asgi.App(self._handle, authorize)

    def flask_response(
        self,
        topics: Sequence[str],
        *,
        since: str | Event | None = None,
        replay: int | str | None = None,
        client: str | None = None,
        events: Sequence[str] | None = None,
        lag: str | None = None,
        greeting: Greetings = None,
        headers: Mapping[str, str] | None = None,
    ) -> FlaskResponse:
        """For Flask: return it from a view."""
        from flask import request

        from fanfare.web import flask, wsgi

        since = since if since is not None else wsgi.since(request.environ)
        return flask.respond(self._handle, Reading(topics, since, replay, client, events, lag, greeting), headers)

    def django_response(
        self,
        request: Any,
        topics: Sequence[str],
        *,
        since: str | Event | None = None,
        replay: int | str | None = None,
        client: str | None = None,
        events: Sequence[str] | None = None,
        lag: str | None = None,
        greeting: Greetings = None,
    ) -> Any:
        """For Django, under WSGI and ASGI: return it from a view."""
        from fanfare.web import django

        since = since if since is not None else django.since(request)
        return django.respond(self._handle, request, Reading(topics, since, replay, client, events, lag, greeting))

    def django_view(
        self,
        topics: Sequence[str] | Callable[..., Sequence[str]],
        *,
        authorize: Callable[[Any], Any] | None = None,
        replay: int | str | None = None,
        events: Sequence[str] | None = None,
        lag: str | None = None,
    ) -> Callable[..., Any]:
        """For Django: a whole view, for `urlpatterns`. `topics` may be a function of the request and the URL's parts;
        `authorize(request)` returns the client's name, True, False, or a status and a message.
        """
        from fanfare.web import django

        return django.view(self._handle, topics, authorize, {"replay": replay, "events": events, "lag": lag})

    async def aiohttp_response(
        self,
        request: BaseRequest,
        topics: Sequence[str],
        *,
        since: str | Event | None = None,
        replay: int | str | None = None,
        client: str | None = None,
        events: Sequence[str] | None = None,
        lag: str | None = None,
        greeting: Greetings = None,
        headers: Mapping[str, str] | None = None,
    ) -> aiohttp_web.StreamResponse:
        """For aiohttp: `return await hub.aiohttp_response(request, ["chat"])`."""
        from fanfare.web import aiohttp

        since = since if since is not None else aiohttp.since(request)
        reading = Reading(topics, since, replay, client, events, lag, greeting)
        return await aiohttp.respond(self._handle, request, reading, headers)

    # Lifetime.

    def stop(self, timeout: float | None = None) -> StopReport:
        """Stops: ends every stream so that its reader resumes elsewhere, within `timeout` seconds (default: the option
        `timeouts.stop`), and cuts what is left then. Blocks meanwhile. A second call does nothing.
        """
        if timeout is None:
            deadline = c.STOP_DEFAULT
        elif timeout >= 0:
            deadline = min(round(timeout * 1000), c.STOP_DEFAULT - 1) if timeout < 1e15 else c.STOP_DEFAULT - 1
        else:
            raise InvalidParameterError(f"timeout {timeout}: expected seconds, at least 0")
        report = ffi.new("fanfare_stop_report *")
        report.size = ffi.sizeof("fanfare_stop_report")
        self._handle.call(lib.fanfare_stop, deadline, report)
        _running.discard(self)
        if self._authorizer is not None:
            self._authorizer.join()
        return StopReport(report.streams, report.cut)

    def __enter__(self) -> Hub:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Hub:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self.stop)


def _handler(info: Any) -> HandlerInfo:
    texts = (ffi.unpack(info.name, info.name_len), ffi.unpack(info.topics, info.topics_len))
    return HandlerInfo(*(text.decode() for text in texts), *(getattr(info, name) for name in HandlerInfo._fields[2:]))


def _register(hub: Hub) -> None:
    if not _running:
        # Again and again is once: the same function.
        atexit.unregister(_stop_all)
        atexit.register(_stop_all)
    _running.add(hub)


def _stop_all() -> None:
    """At the end of the process: no thread of ours may outlive the interpreter."""
    for hub in list(_running):
        if hub._pid != os.getpid():
            continue  # A forked child's memory of its parent's hub.
        try:
            hub.stop(EXIT_SECONDS)
        except FanfareError:
            pass
