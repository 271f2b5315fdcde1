"""Flask: a response that is a stream."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from flask import Response

from fanfare._error import FanfareError
from fanfare._streams import HEADERS, HostStream, Reading, open_stream
from fanfare.web import verdict
from fanfare.web.wsgi import Body

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

    from fanfare._handle import Handle


class StreamResponse(Response):
    """Return it from a view. What `after_request` adds to its headers reaches the client."""

    def __init__(self, handle: Handle, reading: Reading, stream: HostStream, headers: Mapping[str, str]) -> None:
        super().__init__(iter(()), headers={**HEADERS, **headers})
        self._handle = handle
        self._reading = reading
        self._stream = stream
        self.call_on_close(stream.close)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        headers = self.get_wsgi_headers(environ).to_wsgi_list()
        start_response(self.status, headers)
        body = Body(self._handle, self._reading, self._stream, environ, lambda: headers)
        self.call_on_close(body.close)
        return _Closing(body, self)


class _Closing:
    """The body; closing it closes the response too."""

    def __init__(self, body: Body, response: Any) -> None:
        self._body = body
        self._response = response

    def __iter__(self) -> Body:
        return self._body

    def close(self) -> None:
        self._response.close()


def respond(handle: Handle, reading: Reading, headers: Mapping[str, str] | None) -> Response:
    try:
        stream = open_stream(handle, reading)
    except FanfareError as error:
        status, text = verdict.answer(error)
        return Response(text, status, headers, mimetype="text/plain")
    return StreamResponse(handle, reading, stream, headers or {})
