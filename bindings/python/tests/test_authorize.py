"""The hook that decides about requests to the hub's own listener."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from conftest import take, until

import fanfare


def request(hub: fanfare.Hub, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
    """Status and text; of a stream its first line."""
    data = b"x" if method == "POST" else None
    asked = urllib.request.Request(hub.url + path, method=method, headers=headers, data=data)
    try:
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return answer.status, answer.readline().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def decide(asked: fanfare.Request) -> Any:
    token = asked.headers.get("authorization", "")
    if token == "crash":
        raise RuntimeError("this hook fails")
    decisions: dict[str, Any] = {"ann": "ann", "yes": True, "no": False, "coffee": (418, "no coffee"), "none": None, "bad": "a\nb"}
    return {**decisions, "range": (200, "fine"), "kind": 7}.get(token, False)


async def decide_later(asked: fanfare.Request) -> Any:
    await asyncio.sleep(0.01)
    return decide(asked)


EXPECTED = {
    "ann": 200,
    "yes": 200,
    "no": 403,
    "coffee": 418,
    "": 403,
    "crash": 500,
    "none": 500,
    "bad": 500,
    "range": 500,
    "kind": 500,
}


@pytest.mark.parametrize("hook", [decide, decide_later])
def test_decisions(hook: Callable[[fanfare.Request], Any], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "fanfare")
    with fanfare.Hub(listen="127.0.0.1:0", authorize=hook) as hub:
        for token, status in EXPECTED.items():
            caplog.clear()
            for path, method in (("/events/t", "GET"), ("/events/t", "POST"), ("/events/other", "DELETE")):
                if (token, method) in (("ann", "DELETE"), ("yes", "DELETE")):
                    continue
                got, text = request(hub, path, method, authorization=token)
                assert got == status, (token, method, text)
            assert bool(caplog.records) == (status == 500)
        assert "no coffee" in request(hub, "/events/t", authorization="coffee")[1]
        assert hub.stats().published == 2
        assert request(hub, "/events/t", "DELETE", authorization="yes")[0] == 200
        hub.stop(0)


def test_what_the_hook_is_shown() -> None:
    seen: list[fanfare.Request] = []

    def hook(asked: fanfare.Request) -> bool:
        seen.append(asked)
        return False

    with fanfare.Hub(listen="127.0.0.1:0", authorize=hook) as hub:
        headers = {"Last-Event-ID": "x-5", "X-Name": "f\xfcr", "Authorization": "Bearer abc"}
        assert request(hub, "/events?topic=a&topic=b%20c&client=ann", **headers)[0] == 403
        assert request(hub, "/events/t?event=e", "POST")[0] == 403
        hub.stop(0)
    reading, publishing = seen
    assert reading.action == "subscribe" and publishing.action == "publish"
    assert reading.topics == ("a", "b c") and publishing.topics == ("t",)
    assert (reading.method, reading.path, reading.query) == ("GET", "/events", "topic=a&topic=b%20c&client=ann")
    assert (reading.last_event_id, reading.client, reading.address) == ("x-5", "ann", "127.0.0.1")
    assert publishing.last_event_id is None and publishing.client is None
    assert reading.headers["authorization"] == "Bearer abc" and reading.headers["x-name"] == "f\xfcr"
    with pytest.raises(TypeError):
        reading.headers["x"] = "y"  # type: ignore[index]


def test_the_name_that_the_hook_gives_counts() -> None:
    with fanfare.Hub(listen="127.0.0.1:0", authorize=lambda asked: "ann") as hub:
        with urllib.request.urlopen(hub.url + "/events/t?client=bob", timeout=60) as stream:
            until(lambda: hub.stats().subscriptions == 1, "the stream")
            hub.publish("t", "not for ann", except_="ann")
            hub.publish("t", "for ann", except_="bob")
            lines: list[bytes] = []
            while not lines or not lines[-1].startswith(b"data"):
                lines.append(stream.readline())
            assert lines[-1] == b"data: for ann\n"
            hub.revoke("ann")
            while stream.readline():
                pass
        hub.stop(0)


def test_async_hooks_run_in_the_loop_of_the_hub() -> None:
    async def main() -> None:
        loops = []

        async def hook(asked: fanfare.Request) -> bool:
            loops.append(asyncio.get_running_loop())
            return False

        async with fanfare.Hub(listen="127.0.0.1:0", authorize=hook) as hub:
            status, _ = await asyncio.to_thread(request, hub, "/events/t")
            assert status == 403
            # Subscriptions of the same loop share the queue with the requests.
            reader = hub.subscribe("t")
            waiting = asyncio.ensure_future(anext(reader))
            for _ in range(20):
                assert (await asyncio.to_thread(request, hub, "/events/t"))[0] == 403
            hub.publish("t", "x")
            assert (await waiting).data == "x"
        assert set(loops) == {asyncio.get_running_loop()}

    asyncio.run(main())


def test_slow_hooks_run_side_by_side_and_in_time() -> None:
    barrier = threading.Barrier(4, timeout=60)

    def hook(asked: fanfare.Request) -> bool:
        if asked.path == "/events/slow":
            threading.Event().wait(1.5)
        else:
            barrier.wait()
        return True

    with fanfare.Hub(listen="127.0.0.1:0", authorize=hook, timeouts_authorize=1) as hub:
        statuses: list[int] = []
        threads = [threading.Thread(target=lambda: statuses.append(request(hub, "/events/t", "POST")[0])) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert statuses == [200] * 4
        assert request(hub, "/events/slow", "POST")[0] >= 500
        assert hub.stats().published == 4
        hub.stop(0)


def test_stop_with_a_request_that_waits() -> None:
    entered, release = threading.Event(), threading.Event()

    def hook(asked: fanfare.Request) -> bool:
        entered.set()
        release.wait(60)
        return True

    hub = fanfare.Hub(listen="127.0.0.1:0", authorize=hook)
    statuses: list[object] = []

    def ask() -> None:
        try:
            statuses.append(request(hub, "/events/t")[0])
        except OSError as error:
            statuses.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    assert entered.wait(60)
    hub.stop(0.2)
    release.set()
    asking.join(60)
    assert statuses and statuses != [200]
    assert not [thread.name for thread in threading.enumerate() if thread.name == "fanfare-requests"]


def test_in_process_calls_are_not_asked_about() -> None:
    with fanfare.Hub(listen="127.0.0.1:0", authorize=lambda asked: False) as hub:
        reader = hub.subscribe("t")
        hub.publish("t", json.dumps(1))
        assert take(reader, 1)[0].json() == 1
        hub.stop(0)
