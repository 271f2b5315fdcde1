"""ASGI: answering a request with a stream, on any server.

The head goes out through the server, so that middleware, cookies and access logs stay as they are. Where the server is uvicorn without
TLS, the socket then goes to the hub; elsewhere (hypercorn, TLS, HTTP/2, behind `BaseHTTPMiddleware`) the host writes the bytes.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from fanfare._error import FanfareError
from fanfare._streams import HEADERS, HostStream, Reading, adopt_sent, last_event_id, open_stream
from fanfare.web import verdict

if TYPE_CHECKING:
    from fanfare._handle import Handle

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
RawHeaders = Iterable[tuple[bytes, bytes]]

STREAM_HEADERS = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
_log = logging.getLogger("fanfare")


def since(scope: Scope) -> str | None:
    """Where the client of this request wants to go on."""
    header = next((value for name, value in scope["headers"] if name == b"last-event-id"), b"")
    return last_event_id(header.decode("latin-1"), scope.get("query_string", b"").decode("latin-1"))


async def plain(send: Send, status: int, text: str, headers: RawHeaders = ()) -> None:
    """A short answer."""
    body = text.encode()
    own = [] if status == 204 else [(b"content-type", b"text/plain; charset=utf-8")]
    own += [] if status == 204 else [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *own]})
    await send({"type": "http.response.body", "body": body})


async def serve(handle: Handle, reading: Reading, scope: Scope, receive: Receive, send: Send, headers: RawHeaders) -> None:
    """Answers the request with the stream. Returns when it is over, or is the hub's."""
    try:
        stream = open_stream(handle, reading)
    except FanfareError as error:
        status, text = verdict.answer(error)
        dropped = {*HEADERS, "content-length"}
        await plain(send, status, text, [item for item in headers if item[0].decode("latin-1").lower() not in dropped])
        return
    try:
        await send({"type": "http.response.start", "status": 200, "headers": list(headers)})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
        elif not await _hand_over(handle, reading, scope, receive):
            await _write(stream, receive, send)
    finally:
        stream.close()


async def _hand_over(handle: Handle, reading: Reading, scope: Scope, receive: Receive) -> bool:
    """Gives the server's socket to the hub, if it is one whose socket and framing are known."""
    cycle = getattr(receive, "__self__", None)
    if cycle is None or not type(cycle).__module__.startswith("uvicorn.protocols.http."):
        return False
    transport = getattr(cycle, "transport", None)
    if (
        transport is None
        or scope["http_version"] != "1.1"
        or getattr(cycle, "more_body", True)
        or getattr(cycle, "chunked_encoding", True) is False
        or transport.get_extra_info("sslcontext") is not None
        or transport.get_extra_info("socket") is None
    ):
        return False
    # The head has to be out before anybody else writes.
    while not transport.is_closing() and transport.get_write_buffer_size():
        await asyncio.sleep(0.001)
    if not transport.is_closing():
        if not adopt_sent(handle, transport.get_extra_info("socket").fileno(), reading, chunked=True):
            return False
        # Closes the server's copy without a shutdown, and takes it out of the loop first.
        transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass
    return True


async def _write(stream: HostStream, receive: Receive, send: Send) -> None:
    """Writes the bytes through the server until the stream or its client is over."""

    async def client_is_gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    def close(gone: asyncio.Future[None]) -> None:
        if not gone.cancelled() and gone.exception() is not None:
            _log.debug("fanfare: the server does not say when a client is gone", exc_info=gone.exception())
        stream.close()

    gone = asyncio.ensure_future(client_is_gone())
    gone.add_done_callback(close)
    try:
        async for chunk in stream:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        if not gone.done():
            await send({"type": "http.response.body", "body": b""})
    finally:
        gone.cancel()


Authorize = Callable[[Scope], Any]


class App:
    """An ASGI application for `app.mount("/events", hub.asgi())`: `GET /TOPIC`, or `GET /?topic=A&topic=B`."""

    def __init__(self, handle: Handle, authorize: Authorize | None) -> None:
        self._handle = handle
        self._authorize = authorize

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"fanfare serves http, not {scope['type']}")
        if scope["method"] not in ("GET", "HEAD"):
            await plain(send, 405, "only GET", [(b"allow", b"GET, HEAD")])
            return
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"), errors="surrogateescape")
        path = scope["path"].removeprefix(scope.get("root_path", "")).strip("/")
        topics = [path] if path else query.get("topic", [])
        if not topics:
            await plain(send, 404, "no topic: GET /TOPIC or /?topic=TOPIC")
            return
        client = query.get("client", [None])[0]
        if self._authorize is not None:
            scope["fanfare.topics"] = topics
            try:
                decision = self._authorize(scope)
                said = verdict.read(await decision if inspect.isawaitable(decision) else decision)
            except Exception:
                _log.exception("fanfare: the authorize hook failed")
                said = verdict.Verdict(500, "the authorize hook failed", None)
            if said.status:
                await plain(send, said.status, said.message)
                return
            client = said.client
        replay: str | int | None = query.get("replay", [None])[0]
        if isinstance(replay, str) and replay.isascii() and replay.isdigit():
            replay = int(replay)
        reading = Reading(topics, since(scope), replay, client, lag=query.get("lag", [None])[0])
        await serve(self._handle, reading, scope, receive, send, STREAM_HEADERS)
