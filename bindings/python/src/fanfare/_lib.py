"""The loaded library: calls, refusals, and views of text. The only module beside `_raw` that knows cffi.

Nothing here starts anything: loading the library makes no thread and opens no file but the library itself.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from fanfare import _constants as c
from fanfare._error import FanfareError
from fanfare._native import ffi as _ffi
from fanfare.errors import BY_STATUS, AbiMismatchError

_SUFFIX = {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so")

ffi: Any = _ffi
lib: Any = ffi.dlopen(str(Path(__file__).with_name("libfanfare" + _SUFFIX)))

if lib.fanfare_abi_version() != c.ABI_VERSION:
    raise AbiMismatchError(f"the package was built for ABI {c.ABI_VERSION}, the library has {lib.fanfare_abi_version()}")

_ERROR_SIZE = ffi.sizeof("fanfare_error")


def version() -> str:
    """The library's version."""
    text: bytes = ffi.string(lib.fanfare_version())
    return text.decode()


def code_name(status: int) -> str:
    """The stable name of a status."""
    name: bytes = ffi.string(lib.fanfare_code_name(status))
    return name.decode()


def new_error() -> Any:
    """Room for the reason of a failure."""
    error = ffi.new("fanfare_error *")
    error.size = _ERROR_SIZE
    return error


def refused(status: int, error: Any) -> FanfareError:
    """The exception for a refusal."""
    kind = BY_STATUS.get(status)
    message = ffi.string(error.message).decode("utf-8", "replace")
    if kind is None:
        # A newer library than this package was built for.
        failure = FanfareError(message)
        failure.code = code_name(status)
        failure.status = status
    else:
        failure = kind(message)
    failure.os_errno = error.os_errno
    return failure


def fail(status: int, error: Any) -> NoReturn:
    raise refused(status, error)


def check(function: Any, *args: Any) -> int:
    """Calls a function whose last parameter takes the reason of a failure; raises it."""
    error = new_error()
    status: int = function(*args, error)
    if status < 0:
        raise refused(status, error)
    return status


def encode(text: str) -> bytes:
    """UTF-8. What UTF-8 cannot say is passed on, so that the library refuses it by its own rule."""
    return text.encode("utf-8", "surrogatepass")


class Views:
    """Texts as the library reads them. Holds the memory: keep it until the call is over."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: list[Any] = []

    def text(self, into: Any, text: str | bytes | bytearray | memoryview | None) -> None:
        """Fills a `fanfare_str`; None leaves it absent."""
        if text is None:
            return
        data = encode(text) if isinstance(text, str) else text
        view = ffi.from_buffer(data)
        self._held.append(view)
        into.ptr = view
        into.len = len(data)

    def keep(self, memory: Any) -> Any:
        """Holds memory of another kind, too."""
        self._held.append(memory)
        return memory

    def one(self, text: str) -> Any:
        """A `fanfare_str` of its own."""
        view = ffi.new("fanfare_str *")
        self._held.append(view)
        self.text(view, text)
        return view[0]

    def many(self, texts: Sequence[str]) -> Any:
        """An array of `fanfare_str`."""
        views = ffi.new("fanfare_str[]", len(texts))
        self._held.append(views)
        for index, text in enumerate(texts):
            self.text(views[index], text)
        return views
