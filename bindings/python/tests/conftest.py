"""Hubs for the tests, and waiting for conditions."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

import fanfare

#: Far above what is expected of anything that is waited for.
PATIENCE = 60.0


@pytest.fixture
def hub() -> Iterator[fanfare.Hub]:
    with fanfare.Hub(listen="127.0.0.1:0") as hub:
        yield hub
        hub.stop(0)


def until(condition: Callable[[], object], what: str) -> None:
    """Waits until it holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.005)


def take(subscription: fanfare.Subscription, count: int) -> list[fanfare.Event]:
    """The next events of a subscription, all of them in time."""
    events = []
    for _ in range(count):
        event = subscription.next(PATIENCE)
        assert event is not None, f"only {len(events)} of {count} events"
        events.append(event)
    return events


def run_python(code: str, *args: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Runs a program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-X", "dev", "-W", "ignore::ResourceWarning", "-c", code, *args], capture_output=True, text=True, timeout=120, env=env
    )
