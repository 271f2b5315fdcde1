"""Starlette and FastAPI: a response that is a stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from starlette.background import BackgroundTask
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from fanfare._streams import HEADERS, Reading
from fanfare.web.asgi import serve

if TYPE_CHECKING:
    from fanfare._handle import Handle


class StreamResponse(Response):
    """Return it from a route. Headers and cookies may be set as on any response."""

    def __init__(
        self,
        handle: Handle,
        reading: Reading,
        headers: Mapping[str, str] | None = None,
        background: BackgroundTask | None = None,
    ) -> None:
        super().__init__(status_code=200, headers={**HEADERS, **(headers or {})}, background=background)
        if "content-length" in self.headers:
            del self.headers["content-length"]
        self._handle = handle
        self._reading = reading

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await serve(self._handle, self._reading, scope, receive, send, self.raw_headers)
        if self.background is not None:
            await self.background()
