"""Starts and stops hubs in one process with everything in use, and prints what is left over: `python cycles.py COUNT`.

For numbers of bytes that mean something, Python's own objects have to come from the same allocator: PYTHONMALLOC=malloc.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import os
import sys
import time
from typing import Any

import fanfare


class Mallinfo(ctypes.Structure):
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]


def allocated() -> int:
    """Bytes in use, as glibc counts them."""
    mallinfo: Any = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = Mallinfo
    now = mallinfo()
    return int(now.uordblks + now.hblkhd)


def counted() -> dict[str, int]:
    gc.collect()
    return {"descriptors": len(os.listdir("/proc/self/fd")), "threads": len(os.listdir("/proc/self/task"))}


async def in_a_loop() -> None:
    async with fanfare.Hub(listen="127.0.0.1:0", lanes=1) as hub:
        reader = hub.subscribe("t")
        task = asyncio.ensure_future(reader.__anext__())
        await asyncio.sleep(0)
        hub.publish("t", "x")
        assert (await task).data == "x"
        hub.stop(0)


def in_a_thread() -> None:
    with fanfare.Hub(listen="127.0.0.1:0", lanes=1, history_events=2) as hub:
        reader, unread = hub.subscribe("t"), hub.subscribe("t")
        first = hub.publish("t", "x", event="e", key="k")
        assert next(reader).data == "x"
        hub.publish_batch([("t", "y"), ("t", "z"), ("t", {"a": [1]})])
        assert next(hub.subscribe("t", since=first)).gap is not None
        assert next(hub.subscribe("t", replay="all")).data == "z"
        for wrong in ("", "a\nb"):
            try:
                hub.publish(wrong, "x")
            except fanfare.InvalidTopicError:
                continue
            raise AssertionError(wrong)
        hub.stop(0)
        try:
            assert [event.data for event in unread] == []
        except fanfare.LappedError:
            return
        raise AssertionError("a reader that history has moved past was not told")


def main(count: int) -> None:
    def cycles() -> None:
        for _ in range(count):
            asyncio.run(in_a_loop())
            in_a_thread()

    # What is made once and kept; allocators keep a little for each size that they have seen, and count it as used.
    cycles()
    before, bytes_before = counted(), allocated()
    cycles()
    deadline = time.monotonic() + 60
    while counted() != before and time.monotonic() < deadline:
        time.sleep(0.01)
    print(json.dumps({"before": before, "after": counted(), "more": allocated() - bytes_before}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
