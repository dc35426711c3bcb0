"""Exceptions, and the suggestion at the end of their messages.

A `RequestError` means that the request was wrong: nothing was started or written, and the message says what to type
instead (exit code 2). Every other `UndertowError` means that the work itself failed (exit code 1).
"""

import errno
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

_MOST_LISTED = 12


class UndertowError(Exception):
    """The work failed; the message is written for the user."""

    exit_code = 1


class RequestError(UndertowError):
    """The request was wrong: an unknown name, a bad value, a missing file. Nothing was written."""

    exit_code = 2


class Diverged(UndertowError):
    """The loss is no longer a finite number, so training cannot continue."""


class DiskFull(UndertowError, OSError):
    """There is no space left for a file; what was there before is unchanged.

    Args:
        path: The file that could not be written.
        free: Bytes that are free on its file system; a quota can be used up while there are some.
    """

    def __init__(self, path: Path, free: int) -> None:
        super().__init__(
            f"the disk is full: {path} was not written, and {free} bytes are free in {path.parent}. "
            "What was saved before is kept; the run can be resumed when there is space"
        )
        self.errno = errno.ENOSPC
        self._arguments = path, free

    def __reduce__(self) -> tuple[type["DiskFull"], tuple[Path, int]]:
        """Pickle it by its arguments."""
        return DiskFull, self._arguments


class Interrupted(UndertowError):
    """The run was stopped from outside; its state is saved, and it can be resumed."""


def did_you_mean(name: str, known: Iterable[str], command: str = "") -> str:
    """Return `` Did you mean `lstm`?``, or a list of what exists when no name is near.

    Args:
        name: What was typed.
        known: What could have been typed.
        command: The command that lists all of them, for a message that has room for some.

    Returns:
        A sentence that starts with a blank, or the empty string when `known` is empty.
    """
    choices = sorted(known)
    near = get_close_matches(name, choices, n=1, cutoff=0.6)
    if near:
        return f" Did you mean `{near[0]}`?"
    if len(choices) <= _MOST_LISTED:
        return f" There is: {', '.join(choices)}." if choices else ""
    listed = ", ".join(choices[:_MOST_LISTED])
    return f" There is: {listed} and {len(choices) - _MOST_LISTED} more{f'; see `{command}`' if command else ''}."
