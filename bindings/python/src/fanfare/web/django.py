"""Django: a view that is a stream, under WSGI and under ASGI. Django has no types of its own, so its objects are `Any` here."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from fanfare._error import FanfareError
from fanfare._streams import HEADERS, HostStream, Reading, last_event_id, open_stream
from fanfare.web import verdict
from fanfare.web.wsgi import Body

if TYPE_CHECKING:
    from fanfare._handle import Handle

_log = logging.getLogger("fanfare")


def since(request: Any) -> str | None:
    """Where the client of this request wants to go on."""
    return last_event_id(request.headers.get("Last-Event-ID"), request.META.get("QUERY_STRING", ""))


class _Async:
    """A stream that can only be read by `async for`: Django takes what it can read without."""

    def __init__(self, stream: HostStream) -> None:
        self._stream = stream
        self.close = stream.close

    def __aiter__(self) -> HostStream:
        return self._stream


def respond(handle: Handle, request: Any, reading: Reading) -> Any:
    """A response. What middleware adds to its headers reaches the client."""
    http = importlib.import_module("django.http")
    try:
        stream = open_stream(handle, reading)
    except FanfareError as error:
        status, text = verdict.answer(error)
        return http.HttpResponse(text, status=status, content_type="text/plain; charset=utf-8")
    if hasattr(request, "scope"):
        # ASGI: a view sees no socket, so the server writes.
        response = http.StreamingHttpResponse(_Async(stream))
    else:
        response = http.StreamingHttpResponse()

        def headers() -> list[tuple[str, str]]:
            cookies = [("Set-Cookie", cookie.OutputString()) for cookie in response.cookies.values()]
            return [*response.items(), *cookies]

        response.streaming_content = Body(handle, reading, stream, request.environ, headers)
    for name, value in HEADERS.items():
        response[name] = value
    return response


def view(
    handle: Handle,
    topics: Sequence[str] | Callable[..., Sequence[str]],
    authorize: Callable[[Any], Any] | None,
    options: dict[str, Any],
) -> Callable[..., Any]:
    def stream(request: Any, *args: Any, **kwargs: Any) -> Any:
        http = importlib.import_module("django.http")
        if request.method not in ("GET", "HEAD"):
            return http.HttpResponseNotAllowed(["GET", "HEAD"])
        client = None
        if authorize is not None:
            try:
                said = verdict.read(authorize(request))
            except Exception:
                _log.exception("fanfare: the authorize hook failed")
                said = verdict.Verdict(500, "the authorize hook failed", None)
            if said.status:
                return http.HttpResponse(said.message, status=said.status, content_type="text/plain; charset=utf-8")
            client = said.client
        names = topics(request, *args, **kwargs) if callable(topics) else topics
        return respond(handle, request, Reading(names, since(request), client=client, **options))

    return stream
