"""Standard output for results alone, whatever else writes to it: plugins, their libraries, child processes.

    with stdout_to_stderr() as stdout:
        os.write(1, b"loading...")        # by a plugin: goes to standard error
        print("{}", file=stdout)          # goes to standard output

File descriptor 1 is the same file as descriptor 2 inside the block, and `sys.stdout` is `sys.stderr`; a process that is
started there inherits them. This concerns the whole process, with all its threads, so only whoever owns the process may
do it: the command line, or the main function of a child process.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import TextIO

_stdout: TextIO | None = None
"""The real standard output, inside the block."""


@contextmanager
def stdout_to_stderr(*, restore: bool = True) -> Iterator[TextIO]:
    """Redirect standard output inside the block, and yield a stream that writes to the real one.

    A block inside another one yields the same stream.

    Args:
        restore: Undo it at the end. Otherwise nothing more is written to standard output until the process ends, not
            even by functions that are called at exit.
    """
    global _stdout
    if _stdout is not None:
        with redirect_stdout(sys.stderr):
            yield _stdout
        return
    before, saved = sys.stdout, _duplicate(1)
    _flush(before)
    other_file = before is None and saved is not None  # standard output was closed, and another file has its number
    if not other_file:
        _redirect()
    _stdout, sys.stdout = _stream(before, saved), sys.stderr
    try:
        yield _stdout
    finally:
        for stream in (sys.stdout, _stdout):
            with suppress(OSError, ValueError):  # nobody reads it any more; whoever wrote results has noticed
                _flush(stream)
        if restore:
            sys.stdout = before
            if saved is None:
                os.close(1)
            elif not other_file:
                os.dup2(saved, 1)
        if _stdout is not before:
            with suppress(OSError):
                _stdout.close()
        if saved is not None:
            os.close(saved)
        _stdout = None


def real_stdout() -> TextIO:
    """The stream for results: `sys.stdout`, or inside `stdout_to_stderr` what it was."""
    return sys.stdout if _stdout is None else _stdout


def _duplicate(descriptor: int) -> int | None:
    """A copy of a file descriptor that no child process inherits; None if it is closed."""
    try:
        return os.dup(descriptor)
    except OSError:
        return None


def _stream(stdout: TextIO | None, saved: int | None) -> TextIO:
    """Standard output by another descriptor, if it is written by descriptor 1; else `stdout`, as in a notebook."""
    if stdout is None or (saved is None and _descriptor(stdout) == 1):  # closed
        return open(os.devnull, "w")  # noqa: PTH123
    if saved is None or _descriptor(stdout) != 1:
        return stdout
    return os.fdopen(os.dup(saved), "w", encoding=stdout.encoding, errors=stdout.errors)


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError, AttributeError):  # in memory, or closed
        return None


def _redirect() -> None:
    """Make descriptor 1 that of standard error; the null device if that is closed."""
    try:
        os.dup2(2, 1)
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        if nowhere != 1:
            os.close(nowhere)


def _flush(stream: TextIO | None) -> None:
    """Write out what Python and C have buffered, so that it goes where standard output leads now."""
    if stream is not None:
        stream.flush()
    import ctypes

    ctypes.CDLL(None).fflush(None)
