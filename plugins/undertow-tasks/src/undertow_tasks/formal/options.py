"""What can be set on each task over formal languages, under ``task.options.<name>``; imports no torch."""

from typing import Annotated

from pydantic import Field

from undertow import Options


class FormalOptions(Options):
    """Options of every task over formal languages."""

    longest_trained: Annotated[int, Field(ge=1)] | None = None
    """Train on strings of 1 up to this many symbols, validate and test on longer ones, all lengths equally often, with
    blanks in front; below the length. The paper has 40 of 500. null: every string has as many symbols as steps."""
