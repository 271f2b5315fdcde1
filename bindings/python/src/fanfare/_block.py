"""Waiting in a plain thread, such that Ctrl-C, other threads and greenlets go on."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

#: How long one wait inside the library may last: Python runs signal handlers between two of them.
SLICE_MS = 100

T = TypeVar("T")


def blocking(work: Callable[[], T]) -> T:
    """Runs a call that waits. Under gevent in a real thread, because it would stop every other greenlet."""
    if "gevent" in sys.modules:
        gevent: Any = sys.modules["gevent"]
        monkey: Any = sys.modules.get("gevent.monkey")
        if monkey is not None and monkey.is_module_patched("socket"):
            result: T = gevent.get_hub().threadpool.apply(work)
            return result
    return work()
