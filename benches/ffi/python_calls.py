"""What calls of the Python binding cost, in microseconds: the best of some rounds, so that a busy machine shows least.

    pip install ./bindings/python && python benches/ffi/python_calls.py
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable

import fanfare

ROUNDS = 7
CALLS = 100_000
EVENTS = 100_000
DATA = "x" * 100


def best(work: Callable[[], int]) -> float:
    """Microseconds for one of the things that `work` says it has done, in the best round."""
    figures = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        done = work()
        figures.append((time.perf_counter() - start) / done * 1e6)
    return min(figures)


def publish(hub: fanfare.Hub) -> int:
    call = hub.publish
    for _ in range(CALLS):
        call("t", DATA)
    return CALLS


def publish_typed(hub: fanfare.Hub) -> int:
    call = hub.publish
    for _ in range(CALLS):
        call("t", DATA, event="e")
    return CALLS


def batch(hub: fanfare.Hub) -> int:
    drafts = [("t", DATA)] * 100
    for _ in range(CALLS // 100):
        hub.publish_batch(drafts)
    return CALLS


def batch_typed(hub: fanfare.Hub) -> int:
    drafts = [fanfare.Draft("t", DATA, event="e")] * 100
    for _ in range(CALLS // 100):
        hub.publish_batch(drafts)
    return CALLS


def read(hub: fanfare.Hub) -> int:
    count = 0
    for _ in hub.subscribe("full", replay="all"):
        count += 1
        if count == EVENTS:
            break
    return count


async def read_async(hub: fanfare.Hub) -> int:
    count = 0
    async for _ in hub.subscribe("full", replay="all"):
        count += 1
        if count == EVENTS:
            break
    return count


def nothing() -> int:
    for _ in range(CALLS):
        pass
    return CALLS


def main() -> None:
    limits = {"history.events": EVENTS, "history.bytes": "1GiB", "limits.history_bytes": "2GiB"}
    print(f"fanfare {fanfare.__version__}, Python {sys.version.split()[0]}, best of {ROUNDS} rounds, data of {len(DATA)} bytes")
    with fanfare.Hub(listen="127.0.0.1:0") as hub, fanfare.Hub(listen="127.0.0.1:0", config=limits) as full:
        for _ in range(EVENTS):
            full.publish("full", DATA)
        rows: list[tuple[str, Callable[[], int]]] = [
            ("an empty loop", nothing),
            ("publish(topic, text), nobody reads", lambda: publish(hub)),
            ("publish(topic, text, event=...), nobody reads", lambda: publish_typed(hub)),
            ("publish_batch of 100, for one event", lambda: batch(hub)),
            ("publish_batch of 100 with event=..., for one event", lambda: batch_typed(hub)),
            ("100,000 events by `for`, for one event", lambda: read(full)),
            ("100,000 events by `async for`, for one event", lambda: asyncio.run(read_async(full))),
        ]
        for name, work in rows:
            print(f"{best(work):8.3f} us  {name}")


if __name__ == "__main__":
    main()
