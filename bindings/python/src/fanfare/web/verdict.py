"""What a hook has decided, and what a refusal is as an HTTP answer."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias, Union

from fanfare._error import FanfareError
from fanfare.errors import InvalidError, LimitError, StoppingError, TopicClosedError

#: A client's name; True for nobody in particular; False to refuse; or a status of 400 to 599 and a message.
Decision: TypeAlias = Union[str, bool, tuple[int, str]]


class Verdict(NamedTuple):
    """A decision that has been read."""

    #: 0: let it go on.
    status: int
    message: str
    client: str | None


def read(decision: object) -> Verdict:
    """Reads what a hook returned. Something else is an error of the hook."""
    if decision is True:
        return Verdict(0, "", None)
    if decision is False:
        return Verdict(403, "refused", None)
    if isinstance(decision, str):
        return Verdict(0, "", decision)
    if (
        isinstance(decision, tuple)
        and len(decision) == 2
        and type(decision[0]) is int
        and 400 <= decision[0] <= 599
        and isinstance(decision[1], str)
    ):
        return Verdict(decision[0], decision[1], None)
    raise TypeError(f"authorize returned {decision!r}: expected a client's name, True, False or (status, message)")


def answer(error: FanfareError) -> tuple[int, str]:
    """Status and text for a stream that was refused. What is nobody's input is raised again."""
    if isinstance(error, TopicClosedError):
        # The one status after which an EventSource does not come back (WHATWG HTML 9.2.3).
        return 204, ""
    if isinstance(error, InvalidError):
        return 400, error.message
    if isinstance(error, (LimitError, StoppingError)):
        return 503, error.message
    raise error
