"""A hub that does not run for a while: stopped by signal, as a debugger, a busy host or a lid that closes would."""

import contextlib
import signal
import time
from pathlib import Path

from support.wait import wait_until


@contextlib.contextmanager
def suspended(hub, seconds):
    """The body runs while no thread of the hub does; the hub goes on `seconds` after it was stopped."""
    hub.send_signal(signal.SIGSTOP)
    try:
        wait_until(lambda: _states(hub.process.pid) == {"T"}, "every thread stopped")
        since = time.monotonic()
        yield
        time.sleep(max(0, since + seconds - time.monotonic()))
    finally:
        hub.send_signal(signal.SIGCONT)


def _states(pid):
    """What the kernel says of each thread: `T` is stopped."""
    found = set()
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found.add(stat.read_text().rsplit(")", 1)[1].split()[0])
    return found
