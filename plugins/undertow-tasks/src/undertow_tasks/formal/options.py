"""The options of the tasks over formal languages, under ``task.options.<name>``; imports no torch."""

from typing import Annotated

from pydantic import Field

from undertow import Options


class FormalOptions(Options):
    """Options of the tasks that recognise a formal language."""

    longest_trained: Annotated[int, Field(ge=1)] | None = None
    """Train on strings of 1 up to this many symbols, validate and test on longer ones, all lengths equally often, with
    blanks in front. Must be below the length; the paper has 40 of 500. null: every string fills the length."""


class ReverseOptions(Options):
    """Options of `reverse`."""

    alphabet: Annotated[int, Field(ge=2, le=10_000)] = 8
    """Number of different symbols; the paper has 2."""


class SortOptions(Options):
    """Options of `sort`."""

    alphabet: Annotated[int, Field(ge=2, le=10_000)] = 8
    """Number of different symbols; the paper has 5."""
