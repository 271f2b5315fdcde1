"""What all errors of the library have in common."""

from __future__ import annotations


class FanfareError(Exception):
    """A call was refused; nothing has changed. `code` is the stable name of the reason."""

    #: Stable name, for example `invalid_topic`.
    code: str = "unknown"
    #: The number of that name in include/fanfare.h.
    status: int = 0
    #: `errno` of the system call that failed, or 0.
    os_errno: int = 0
    #: For `publish_batch`: which of the events was refused.
    index: int | None = None

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())

    @property
    def message(self) -> str:
        """What is wrong and where, for people."""
        return str(self)
