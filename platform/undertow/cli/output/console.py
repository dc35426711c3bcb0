"""Where output goes: results to standard output, everything else to standard error.

out().print(table)
note("the run is not shipped yet")
emit({"name": "lstm-T256-s0"})
"""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any, cast

from undertow._system.stdout import real_stdout

if TYPE_CHECKING:
    from typing import TextIO

    from rich.console import Console

_WIDTH_OF_A_FILE = 200
"""Columns where the output is not a terminal: wide enough that no cell of a table is broken."""


def out() -> "Console":
    """Return the console for results."""
    return _console(real_stdout())


def err() -> "Console":
    """Return the console for everything else."""
    return _console(sys.stderr)


def _console(stream: "TextIO") -> "Console":
    from rich.console import Console

    # Texts of plugins and configurations are not markup: `probes[].options` is printed as it is.
    return _raising(Console(file=stream, markup=False, highlight=False, emoji=False, width=_width(stream)))


def _raising(console: "Console") -> "Console":
    """Make a console raise BrokenPipeError; rich discards what is written to `sys.stdout`, which is standard error."""
    console.on_broken_pipe = _raise_again  # type: ignore[method-assign]
    return console


def _raise_again() -> None:
    raise  # it is called while the exception is handled


def _width(stream: "TextIO") -> int | None:
    """The width to print with; None where rich finds it."""
    if "COLUMNS" in os.environ or (stream is sys.stderr and stream.isatty()):
        return None
    return os.get_terminal_size(stream.fileno()).columns or None if stream.isatty() else _WIDTH_OF_A_FILE


class _HelpConsole:
    def __getattr__(self, name: str) -> object:
        from rich.console import Console

        return getattr(_raising(Console(file=real_stdout())), name)


def help_console() -> "Console":
    """Return a console for the help of commands, which imports rich when it is used."""
    return cast("Console", _HelpConsole())


def note(text: str) -> None:
    """Print a line on standard error."""
    err().print(text, soft_wrap=True)


def note_to_person(text: str) -> None:
    """Print a line on standard error if it is a terminal, where somebody waits."""
    if err().is_terminal:
        note(text)


def escape_unencodable_output() -> None:
    """Make standard output escape a character that its encoding does not have, instead of raising an error."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def discard_output() -> None:
    """Discard the rest of standard output: the process that reads it, such as `head`, has ended."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), real_stdout().fileno())


@contextmanager
def showing_results(work: str) -> Iterator[None]:
    """Show the results of finished work. An error in the block becomes a note: the exit code is that of the work.

    Args:
        work: What has finished, such as ``the run``.
    """
    try:
        yield
        real_stdout().flush()
    except BrokenPipeError:
        discard_output()
    except Exception as error:  # noqa: BLE001  # any error: the work is done and recorded
        note(f"{work} is done, but its results cannot be shown: {type(error).__name__}: {error}")


def emit(document: Mapping[str, Any]) -> None:
    """Write the one JSON object of ``--json``."""
    write(json.dumps(document) + "\n")  # in ASCII: valid JSON in every encoding


def write(text: str) -> None:
    """Write a result as it is."""
    print(text, end="", file=real_stdout(), flush=True)


def fail(message: str, code: int, *, as_json: bool) -> int:
    """Print an error, and return its exit code.

    Args:
        message: What is wrong and what to do, for the user.
        code: The exit code.
        as_json: Write the error as the JSON object too.
    """
    from rich.text import Text

    if as_json:
        emit({"error": message, "exit_code": code})
    err().print(Text.assemble(("error: ", "bold red"), message), soft_wrap=True)
    return code
