"""Streams that the host writes: what their clients get, and how they end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import flask
import pytest

import fanfare

SCOPE = {"type": "http", "method": "GET", "path": "/t", "root_path": "", "query_string": b"", "headers": [], "http_version": "1.1"}


class Client:
    """A client of an ASGI server, which takes bytes when it is told to."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.takes = asyncio.Event()
        self.takes.set()

    async def receive(self) -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError("it never leaves")

    async def send(self, message: dict[str, Any]) -> None:
        self.messages.append(message)
        await self.takes.wait()

    def text(self) -> str:
        return b"".join(message.get("body", b"") for message in self.messages).decode()

    def has_ended(self) -> bool:
        return len(self.messages) > 1 and not self.messages[-1].get("more_body", False)

    async def has(self, text: str) -> None:
        for _ in range(6000):
            if text in self.text():
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"{text!r} never came: {self.text()!r}")


async def serving(hub: fanfare.Hub, client: Client) -> asyncio.Task[None]:
    app: Callable[..., Awaitable[None]] = hub.asgi()
    task = asyncio.ensure_future(app(dict(SCOPE), client.receive, client.send))
    await client.has("retry:")
    return task


def body_of(response: flask.Response) -> Iterator[bytes]:
    """What a WSGI server writes. Inside a request."""
    return iter(response(flask.request.environ, lambda *_: lambda _: None))


def test_a_client_that_history_has_moved_past_is_let_go() -> None:
    async def main() -> None:
        async with fanfare.Hub(listen="127.0.0.1:0", history_events=5) as hub:
            client = Client()
            task = await serving(hub, client)
            client.takes.clear()
            hub.publish("t", "first")
            await client.has("data: first\n")
            for number in range(50):
                hub.publish("t", str(number))
            client.takes.set()
            # It ends, and the server sees no exception.
            await asyncio.wait_for(task, 60)
            assert client.has_ended()
            assert "data: 49\n" not in client.text()
            assert hub.stats().subscriptions == 0

    asyncio.run(main())


@pytest.mark.parametrize("how", ["stop", "close_topic", "revoke"])
def test_a_stream_ends_with_what_it_reads(how: str) -> None:
    async def main() -> None:
        async with fanfare.Hub(listen="127.0.0.1:0") as hub:
            client = Client()
            app = hub.asgi(lambda scope: "ann")
            task = asyncio.ensure_future(app(dict(SCOPE), client.receive, client.send))
            await client.has("retry:")
            hub.publish("t", "first")
            await client.has("data: first\n")
            end = {"stop": lambda: hub.stop(0), "close_topic": lambda: hub.close_topic("t"), "revoke": lambda: hub.revoke("ann")}
            await asyncio.to_thread(end[how])
            await asyncio.wait_for(task, 60)
            assert client.has_ended()

    asyncio.run(main())


def test_a_greeting_comes_first_and_to_this_client_alone() -> None:
    app = flask.Flask(__name__)
    hello = [("notice", {"text": "hello\nyou"}, 700), fanfare.Greeting(data="again")]
    with fanfare.Hub(listen="127.0.0.1:0") as hub, app.test_request_context("/"):
        first = hub.publish("t", "said before", event="update")
        body = body_of(hub.flask_response(["t"], replay="all", greeting=hello))
        text = b""
        while b"said before" not in text:
            text += next(body)
        begun = text.decode().index("event: notice")
        wanted = 'event: notice\nretry: 700\ndata: {"text":"hello\\nyou"}\n\ndata: again\n\nevent: update\n'
        assert text.decode()[begun:].startswith(wanted)
        assert hub.stats().published == 1
        # Each time that it comes; and it goes on where it was.
        back = body_of(hub.flask_response(["t"], since=first, greeting=hello))
        text = next(back)
        hub.publish("t", "live")
        while b"live" not in text:
            text += next(back)
        assert b"event: notice" in text and b"said before" not in text

        refused: list[tuple[list[tuple[Any, ...]], str]] = [
            ([("a\nb",)], "event"),
            ([("fanfare.gap",)], "fanfare."),
            ([("\ud800",)], "event"),
            ([(None, "\ud800")], "data"),
            ([(None, "", -1)], "retry"),
            ([(None, "", 86_400_001)], "retry"),
            ([()] * 65, "64"),
        ]
        for greeting, mention in refused:
            response = hub.flask_response(["t"], greeting=greeting)
            assert response.status_code == 400 and mention in response.get_data(as_text=True)
        with pytest.raises(fanfare.TooLargeError):
            hub.flask_response(["t"], greeting=[(None, "x" * (1 << 20))])
        with pytest.raises(TypeError):
            hub.flask_response(["t"], greeting=[(7,)])
        hub.stop(0)


def test_a_wsgi_body_that_history_has_moved_past_ends() -> None:
    app = flask.Flask(__name__)
    with fanfare.Hub(listen="127.0.0.1:0", history_events=5) as hub, app.test_request_context("/"):
        body = body_of(hub.flask_response(["t"]))
        assert b"retry:" in next(body)
        hub.publish("t", "first")
        assert b"data: first\n" in next(body)
        for number in range(50):
            hub.publish("t", str(number))
        assert b"data: 49\n" not in b"".join(body)
        stopped = body_of(hub.flask_response(["t"]))
        next(stopped)
        hub.stop(0)
        assert list(stopped) == []
