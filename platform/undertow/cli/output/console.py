"""Where output goes: results to standard output, all else to standard error.

out().print(table)
note("the run is not shipped yet")
emit({"name": "lstm-T256-s0"})
"""

import json
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import TextIO

    from rich.console import Console

_WIDTH_OF_A_FILE = 160
"""Columns where there is no terminal to ask: wide enough that no cell of a table is broken."""


def out() -> "Console":
    """The console of results."""
    return _console(sys.stdout)


def err() -> "Console":
    """The console of everything else."""
    return _console(sys.stderr)


def _console(stream: "TextIO") -> "Console":
    from rich.console import Console

    # What plugins and configurations say is text, not markup: `probes[].options` must come out as it is.
    width = None if stream.isatty() or "COLUMNS" in os.environ else _WIDTH_OF_A_FILE
    return Console(file=stream, markup=False, highlight=False, emoji=False, width=width)


def note(text: str) -> None:
    """Tell something on standard error."""
    err().print(text, soft_wrap=True)


def emit(document: Mapping[str, Any]) -> None:
    """Write the one JSON object of ``--json``."""
    print(json.dumps(document, ensure_ascii=False), flush=True)


def fail(message: str, code: int, *, as_json: bool) -> int:
    """Tell an error, and return its exit code.

    Args:
        message: What is wrong, for the reader.
        code: The exit code.
        as_json: Also write it as the JSON object.
    """
    from rich.text import Text

    if as_json:
        emit({"error": message, "exit_code": code})
    err().print(Text.assemble(("error: ", "bold red"), message), soft_wrap=True)
    return code
