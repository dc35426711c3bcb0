"""What can go wrong, sorted by whose move it is next.

`RequestError` means the request was wrong: nothing was started or written, and the message says what to type
instead (exit code 2). Every other `UndertowError` means the work itself failed (exit code 1).
"""

from collections.abc import Iterable
from difflib import get_close_matches


class UndertowError(Exception):
    """The work failed; the message is written for the person who asked for it."""

    exit_code = 1


class RequestError(UndertowError):
    """The request was wrong: an unknown name, a bad value, a missing file. Nothing was written."""

    exit_code = 2


class Diverged(UndertowError):
    """The loss stopped being a finite number, so training on would only record noise."""


class Interrupted(UndertowError):
    """The run was stopped from outside; its state is saved, and it can go on."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean `lstm`?``, or the list of what exists when nothing is near.

    Args:
        name: What was typed.
        known: What could have been typed.

    Returns:
        A sentence that starts with a blank, or the empty string when `known` is empty.
    """
    choices = sorted(known)
    near = get_close_matches(name, choices, n=1, cutoff=0.6)
    if near:
        return f" Did you mean `{near[0]}`?"
    return f" There is: {', '.join(choices)}." if choices else ""
