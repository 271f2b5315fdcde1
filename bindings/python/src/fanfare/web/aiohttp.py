"""aiohttp: a response that is a stream. The head goes out through aiohttp, then the socket goes to the hub if it may."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from aiohttp import web

from fanfare._error import FanfareError
from fanfare._streams import HEADERS, Reading, adopt_sent, last_event_id, open_stream
from fanfare.web import verdict

if TYPE_CHECKING:
    from fanfare._handle import Handle


def since(request: web.BaseRequest) -> str | None:
    """Where the client of this request wants to go on."""
    return last_event_id(request.headers.get("Last-Event-ID"), request.query_string)


async def respond(
    handle: Handle, request: web.BaseRequest, reading: Reading, headers: Mapping[str, str] | None
) -> web.StreamResponse:
    try:
        stream = open_stream(handle, reading)
    except FanfareError as error:
        status, text = verdict.answer(error)
        return web.Response(status=status, text=text or None, headers=headers)
    response = web.StreamResponse(headers={**HEADERS, **(headers or {})})
    # By itself it would announce a connection that is kept, which a stream is not.
    response.force_close()
    try:
        if request.version >= (1, 1):
            response.enable_chunked_encoding()
        await response.prepare(request)
        if request.method == "HEAD" or await _hand_over(handle, request, response, reading):
            return response
        async for chunk in stream:
            await response.write(chunk)
        await response.write_eof()
    except ConnectionResetError:
        pass  # The client is gone.
    finally:
        stream.close()
    return response


async def _hand_over(
    handle: Handle, request: web.BaseRequest, response: web.StreamResponse, reading: Reading
) -> bool:
    transport = request.transport
    if transport is None:
        return False
    connection = transport.get_extra_info("socket")
    if (
        connection is None
        or transport.get_extra_info("sslcontext") is not None
        or request.can_read_body
        or "Content-Encoding" in response.headers
        or not isinstance(transport, asyncio.Transport | asyncio.WriteTransport)
    ):
        return False
    # The head has to be out before anybody else writes.
    while not transport.is_closing() and transport.get_write_buffer_size():
        await asyncio.sleep(0.001)
    if transport.is_closing():
        return True
    if not adopt_sent(handle, connection.fileno(), reading, chunked=response.chunked):
        return False
    # Closes aiohttp's copy without a shutdown, and takes it out of the loop first.
    transport.abort()
    return True
