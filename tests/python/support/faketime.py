"""A clock that can be set, for one process: libfaketime, which Debian's `faketime` brings."""

import os
from pathlib import Path


def library():
    """The variant for programs with threads."""
    for folder in sorted(Path("/usr/lib").glob("**/faketime")):
        if (folder / "libfaketimeMT.so.1").is_file():
            return folder / "libfaketimeMT.so.1"
    raise RuntimeError("there is no libfaketimeMT.so.1 under /usr/lib: `cargo xtask install-deps` installs it")


class Clock:
    """Runs as the real one until it is set. With `monotonic` the clock that nobody can set jumps as well."""

    def __init__(self, folder, monotonic=False):
        self._file = folder / "clock"
        self.set("+0")
        self.variables = {
            "LD_PRELOAD": str(library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "0" if monotonic else "1",
        }

    def set(self, offset):
        """Sets it off the real time, at once: `-1d`, `+1y`."""
        # It is read at every look at the clock: never half written.
        new = self._file.with_suffix(".new")
        new.write_text(f"{offset}\n")
        os.replace(new, self._file)
