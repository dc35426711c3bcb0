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
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import TextIO

    from rich.console import Console

_WIDTH_OF_A_FILE = 200
"""Columns where the output is not a terminal: wide enough that no cell of a table is broken."""


def out() -> "Console":
    """Return the console for results."""
    return _console(sys.stdout)


def err() -> "Console":
    """Return the console for everything else."""
    return _console(sys.stderr)


def _console(stream: "TextIO") -> "Console":
    from rich.console import Console

    # Texts of plugins and configurations are not markup: `probes[].options` is printed as it is.
    width = None if stream.isatty() or "COLUMNS" in os.environ else _WIDTH_OF_A_FILE
    return Console(file=stream, markup=False, highlight=False, emoji=False, width=width)


def note(text: str) -> None:
    """Print a line on standard error."""
    err().print(text, soft_wrap=True)


def escape_unencodable_output() -> None:
    """Make standard output escape a character that its encoding does not have, instead of raising an error."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def discard_output() -> None:
    """Discard the rest of standard output: the process that reads it, such as `head`, has ended."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def showing_results(work: str) -> Iterator[None]:
    """Show the results of finished work. An error in the block becomes a note: the exit code is that of the work.

    Args:
        work: What has finished, such as ``the run``.
    """
    try:
        yield
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):  # rich raises the second in place of the first
        discard_output()
    except Exception as error:  # noqa: BLE001  # any error: the work is done and recorded
        note(f"{work} is done, but its results cannot be shown: {type(error).__name__}: {error}")


def emit(document: Mapping[str, Any]) -> None:
    """Write the one JSON object of ``--json``."""
    print(json.dumps(document), flush=True)  # in ASCII: valid JSON in every encoding


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
