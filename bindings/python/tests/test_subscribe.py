"""Reading in this process, by `for` and by `async for`."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop
from conftest import PATIENCE, take, until

import fanfare

Runner = Callable[[Coroutine[Any, Any, Any]], Any]

#: `cargo xtask soak`.
SOAK = "FANFARE_SOAK" in os.environ


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Runner:
    def run(main: Coroutine[Any, Any, Any]) -> Any:
        async def limited() -> Any:
            return await asyncio.wait_for(main, 60 * PATIENCE if SOAK else PATIENCE)

        return uvloop.run(limited()) if request.param == "uvloop" else asyncio.run(limited())

    return run


def test_ten_thousand_events_by_for(hub: fanfare.Hub) -> None:
    reader = hub.subscribe("t", lag="disconnect")
    writer = threading.Thread(target=lambda: [hub.publish("t", str(n)) for n in range(10_000)])
    events: list[str] = []
    # The reader may fall out of a history of 1,024: then it goes on from where it was and is told.
    writer.start()
    missed = 0
    last: fanfare.Event | None = None
    while not events or events[-1] != "9999":
        try:
            for event in reader:
                if event.gap is not None:
                    missed += 1
                    continue
                events.append(event.data)
                last = event
                if event.data == "9999":
                    break
        except fanfare.LappedError:
            reader = hub.subscribe("t", since=last, lag="disconnect")
    writer.join()
    numbers = [int(text) for text in events]
    assert numbers == sorted(set(numbers))
    assert missed or numbers == list(range(10_000))


def test_ten_thousand_events_by_async_for(run: Runner) -> None:
    async def main() -> None:
        async with fanfare.Hub(listen="127.0.0.1:0", history_events=20_000) as hub:
            readers = [hub.subscribe("t") for _ in range(10)]

            async def read(reader: fanfare.Subscription) -> list[str]:
                out = []
                async for event in reader:
                    out.append(event.data)
                return out

            tasks = [asyncio.create_task(read(reader)) for reader in readers]
            for start in range(0, 10_000, 100):
                for number in range(start, start + 100):
                    hub.publish("t", str(number))
                await asyncio.sleep(0)
            hub.close_topic("t")
            for result in await asyncio.gather(*tasks):
                assert result == [str(number) for number in range(10_000)]

    run(main())


def test_a_thousand_readers(run: Runner) -> None:
    async def main() -> None:
        # The whole of it is a long run on a small machine.
        count = 10_000 if SOAK else 20
        async with fanfare.Hub(listen="127.0.0.1:0", history_events=count) as hub:
            readers = [hub.subscribe("t") for _ in range(1000)]

            async def read(reader: fanfare.Subscription) -> int:
                seen = 0
                async for event in reader:
                    assert event.data == str(seen)
                    seen += 1
                return seen

            tasks = [asyncio.create_task(read(reader)) for reader in readers]
            await asyncio.sleep(0)
            for number in range(count):
                hub.publish("t", str(number))
            hub.close_topic("t")
            assert await asyncio.gather(*tasks) == [count] * len(tasks)
            del readers
            gc.collect()
            assert hub.stats().subscriptions == 0

    run(main())


def test_a_slow_reader_is_told_and_nothing_piles_up(run: Runner) -> None:
    async def main() -> None:
        async with fanfare.Hub(listen="127.0.0.1:0", history_events=50) as hub:
            reader = hub.subscribe("t", lag="skip")
            hub.publish("t", "first")
            assert (await anext(reader)).data == "first"
            for number in range(1000):
                hub.publish("t", str(number))
                if number % 100 == 0:
                    await asyncio.sleep(0)
            gap = await anext(reader)
            assert gap.event == fanfare.GAP and gap.gap is not None
            rest = [(await anext(reader)).data for _ in range(50)]
            assert rest == [str(number) for number in range(950, 1000)]
            reader.close()
            lapped = hub.subscribe("t")
            for number in range(100):
                hub.publish("t", str(number))
            with pytest.raises(fanfare.LappedError):
                async for _ in lapped:
                    pass
            with pytest.raises(StopAsyncIteration):
                await anext(lapped)

    run(main())


def test_since_and_replay(hub: fanfare.Hub) -> None:
    ids = [hub.publish("t", str(number)) for number in range(5)]
    assert [event.data for event in take(hub.subscribe("t", since=ids[1]), 3)] == ["2", "3", "4"]
    first = take(hub.subscribe("t", replay="all"), 5)
    assert [event.id for event in first] == ids
    assert [event.data for event in take(hub.subscribe("t", since=first[3]), 1)] == ["4"]
    assert [event.data for event in take(hub.subscribe("t", replay=2), 2)] == ["3", "4"]
    assert hub.subscribe("t").next(0) is None
    gap, *rest = take(hub.subscribe("t", since="unknown-1"), 6)
    assert gap.gap is not None and gap.gap["requested"] == "unknown-1" and gap.gap["oldest"] == ids[0]
    assert [event.id for event in rest] == ids


def test_filters(hub: fanfare.Hub) -> None:
    me = hub.subscribe("t", client="me")
    votes = hub.subscribe("t", events=["vote", "message"])
    hub.publish("t", "1", except_="me")
    hub.publish("t", "2", event="vote")
    hub.publish("t", "3", event="other")
    assert [event.data for event in take(me, 2)] == ["2", "3"]
    assert [event.data for event in take(votes, 2)] == ["1", "2"]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"lag": "sometimes"}, "invalid_parameter"),
        ({"replay": -1}, "invalid_parameter"),
        ({"replay": "some"}, "invalid_parameter"),
        ({"client": "a\nb"}, "invalid_client"),
        ({"events": ["a\nb"]}, "invalid_event"),
    ],
)
def test_bad_options_are_refused(hub: fanfare.Hub, options: dict[str, Any], code: str) -> None:
    with pytest.raises(fanfare.FanfareError) as refused:
        hub.subscribe("t", **options)
    assert refused.value.code == code
    assert hub.stats().subscriptions == 0


def test_topics_are_needed_and_checked(hub: fanfare.Hub) -> None:
    with pytest.raises(fanfare.FanfareError):
        hub.subscribe()
    with pytest.raises(fanfare.InvalidTopicError):
        hub.subscribe("good", "b\nad")
    with pytest.raises(TypeError):
        hub.subscribe(5)  # type: ignore[arg-type]
    hub.close_topic("closed")
    with pytest.raises(fanfare.TopicClosedError):
        hub.subscribe("closed")


def test_cancelling_loses_nothing(run: Runner) -> None:
    async def main() -> None:
        async with fanfare.Hub(listen="127.0.0.1:0") as hub:
            reader = hub.subscribe("t")
            seen = []

            async def publish() -> None:
                for number in range(200):
                    hub.publish("t", str(number))
                    await asyncio.sleep(0.0005)

            publishing = asyncio.create_task(publish())
            cancelled = 0
            while len(seen) < 200:
                try:
                    seen.append((await asyncio.wait_for(anext(reader), 0.0003)).data)
                except asyncio.TimeoutError:
                    cancelled += 1
            await publishing
            assert seen == [str(number) for number in range(200)]
            assert cancelled

    run(main())


def test_close_wakes_a_reader(run: Runner) -> None:
    async def main() -> None:
        async with fanfare.Hub(listen="127.0.0.1:0") as hub:
            for how in ("close", "thread", "aclose", "stop"):
                reader = hub.subscribe("t")
                waiting = asyncio.create_task(read_all(reader))
                await asyncio.sleep(0.02)
                if how == "close":
                    reader.close()
                elif how == "thread":
                    await asyncio.to_thread(reader.close)
                elif how == "aclose":
                    async with contextlib.aclosing(reader):
                        pass
                else:
                    await asyncio.to_thread(hub.stop, 0)
                assert await waiting == []
                assert reader.closed

    async def read_all(reader: fanfare.Subscription) -> list[fanfare.Event]:
        return [event async for event in reader]

    run(main())


def test_two_tasks_may_not_read_one_subscription(run: Runner) -> None:
    async def main() -> None:
        async with fanfare.Hub(listen="127.0.0.1:0") as hub:
            reader = hub.subscribe("t")
            first = asyncio.create_task(reader.__anext__())
            await asyncio.sleep(0.02)
            with pytest.raises(RuntimeError, match="another task"):
                await reader.__anext__()
            hub.publish("t", "x")
            assert (await first).data == "x"

    run(main())


def test_several_loops_in_several_threads(hub: fanfare.Hub) -> None:
    results: list[list[str]] = []

    def work(runner: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        async def main() -> None:
            reader = hub.subscribe("t", replay="all")
            results.append([event.data async for event in reader])

        runner(main())

    threads = [threading.Thread(target=work, args=(asyncio.run if n % 2 else uvloop.run,)) for n in range(6)]
    for thread in threads:
        thread.start()
    until(lambda: hub.stats().subscriptions == 6, "six readers")
    for number in range(500):
        hub.publish("t", str(number))
        if number % 50 == 0:
            time.sleep(0.001)
    hub.close_topic("t")
    for thread in threads:
        thread.join(PATIENCE)
    assert results == [[str(number) for number in range(500)]] * 6


def test_one_loop_after_another(hub: fanfare.Hub) -> None:
    async def one() -> str:
        reader = hub.subscribe("t")
        task = asyncio.ensure_future(reader.__anext__())
        await asyncio.sleep(0.01)
        hub.publish("t", "x")
        return (await task).data

    for _ in range(20):
        assert asyncio.run(one()) == "x"
    reader = hub.subscribe("t")

    async def read() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(reader.__anext__(), 0.01)

    asyncio.run(read())
    with pytest.raises(RuntimeError, match="another event loop"):
        asyncio.run(read())


def test_a_sync_reader_ends_by_close_from_another_thread(hub: fanfare.Hub) -> None:
    reader = hub.subscribe("t")
    threading.Timer(0.05, reader.close).start()
    assert list(reader) == []
    reader.close()
    assert reader.next(0) is None
    assert list(reader) == []


def test_subscriptions_that_are_dropped_are_gone(hub: fanfare.Hub) -> None:
    for _ in range(1000):
        hub.subscribe("t")
    gc.collect()
    assert hub.stats().subscriptions == 0
    # Nothing about them stays in the queue.
    assert not hub._handle._sinks
    from fanfare import _raw

    assert _raw.drain(hub._handle.raw, lambda _: None) == ([], False)
