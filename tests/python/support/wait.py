"""Waiting for a condition: never a fixed time, always with a watchdog."""

import time


def wait_until(condition, what, within=60):
    """Returns the first true value of `condition()`."""
    deadline = time.monotonic() + within
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {within} s for {what}")
        time.sleep(0.01)
