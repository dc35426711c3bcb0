"""What can be set on each memory task, under ``task.options.<name>``; imports no torch."""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from undertow import Options

Count = Annotated[int, Field(ge=1)]
Kinds = Annotated[int, Field(ge=2)]

DISTINCT = 10**7
"""How many sequences there must be, so that training hardly ever meets an example of validation."""


class AddingOptions(Options):
    """Options of `adding`."""

    dialect: Literal["halves", "anywhere", "pascanu", "hs97"] = "halves"
    """Where the markers stand and what is asked for: halves and anywhere want the sum, pascanu the mean, hs97 the sum
    scaled to [0, 1]. The trivial loss is 1/6 for the first two and 1/24 for the others."""


class SymbolOptions(Options):
    """How much there is to copy."""

    symbols: Count = 10
    """How many symbols are to be copied."""
    alphabet: Kinds = 8
    """Of how many kinds they are."""

    @model_validator(mode="after")
    def _enough_sequences(self) -> Self:
        if self.alphabet**self.symbols < DISTINCT:
            raise ValueError(
                f"{self.symbols} symbols of {self.alphabet} kinds make {self.alphabet**self.symbols} sequences, so "
                f"that training would show those of validation: take more of either, for {DISTINCT} or more"
            )
        return self


class CopyOptions(SymbolOptions):
    """Options of `copy`."""

    dialect: Literal["arjovsky", "s4"] = "arjovsky"
    """arjovsky: one delimiter, and every step counts; s4: a delimiter at each of the last steps, and they alone count,
    so that the trivial loss, ln(alphabet), does not fall with the length."""


class SelectiveCopyOptions(SymbolOptions):
    """Options of `selective-copy`."""


class TemporalOrderOptions(Options):
    """Options of `temporal-order`."""

    bits: Literal[2, 3] = 2
    """How many symbols are to be remembered: 2 make 4 classes, 3 make 8."""


class RecallOptions(Options):
    """Options of `recall`."""

    pairs: Count = 4
    """How many pairs of key and value come first, and how many queries after them; four times as many steps, at least.
    The paper has 4 pairs in 64 steps, 8 in 128, 16 in 256, 64 in 512."""
    keys: Kinds = 64
    """How many keys there are to choose from; the paper has about 4096."""
    values: Kinds = 64
    """How many values there are to choose from; the paper has 4096."""

    @model_validator(mode="after")
    def _enough_to_choose_from(self) -> Self:
        if self.pairs > min(self.keys, self.values):
            raise ValueError(
                f"{self.pairs} pairs need as many keys and values, and there are {self.keys} and {self.values}"
            )
        sequences = math.perm(self.keys, self.pairs) * math.perm(self.values, self.pairs)
        if sequences < DISTINCT:
            raise ValueError(
                f"{self.pairs} pairs of {self.keys} keys and {self.values} values make {sequences} sequences, so that "
                f"training would show those of validation: take more of any, for {DISTINCT} or more"
            )
        return self
