"""The options of the memory tasks, under ``task.options.<name>``; imports no torch."""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from undertow import Options

Count = Annotated[int, Field(ge=1)]
Kinds = Annotated[int, Field(ge=2)]

DISTINCT = 10**7
"""The minimum number of different sequences, so that an example of validation is hardly ever in training."""


class AddingOptions(Options):
    """Options of `adding`."""

    dialect: Literal["halves", "anywhere", "pascanu", "hs97"] = "halves"
    """Which steps are marked and what the answer is: for halves and anywhere the sum, for pascanu the mean, for hs97
    the sum scaled to [0, 1]. The trivial loss is 1/6 for the first two and 1/24 for the others."""


class SymbolOptions(Options):
    """Options of the tasks that copy symbols."""

    symbols: Count = 10
    """Number of symbols to be copied."""
    alphabet: Kinds = 8
    """Number of different symbols."""

    @model_validator(mode="after")
    def _enough_sequences(self) -> Self:
        if self.alphabet**self.symbols < DISTINCT:
            raise ValueError(
                f"{self.symbols} symbols of {self.alphabet} kinds make {self.alphabet**self.symbols} sequences, so "
                f"validation examples would be in training; raise either, for {DISTINCT} sequences or more"
            )
        return self


class CopyOptions(SymbolOptions):
    """Options of `copy`."""

    dialect: Literal["arjovsky", "s4"] = "arjovsky"
    """arjovsky: one delimiter, and every step counts; s4: a delimiter at each of the last steps, and only these count,
    so that the trivial loss, ln(alphabet), does not depend on the length."""


class SelectiveCopyOptions(SymbolOptions):
    """Options of `selective-copy`."""


class TemporalOrderOptions(Options):
    """Options of `temporal-order`."""

    bits: Literal[2, 3] = 2
    """Number of symbols to be remembered: 2 give 4 classes, 3 give 8."""


class RecallOptions(Options):
    """Options of `recall`."""

    pairs: Count = 4
    """Number of pairs of key and value, and of queries after them; the length must be at least four times this number.
    The paper has 4 pairs in 64 steps, 8 in 128, 16 in 256, 64 in 512."""
    keys: Kinds = 64
    """Number of different keys; the paper has about 4096."""
    values: Kinds = 64
    """Number of different values; the paper has 4096."""

    @model_validator(mode="after")
    def _enough_keys_values_and_sequences(self) -> Self:
        if self.pairs > min(self.keys, self.values):
            raise ValueError(
                f"{self.pairs} pairs need as many keys and values, and there are {self.keys} and {self.values}"
            )
        sequences = math.perm(self.keys, self.pairs) * math.perm(self.values, self.pairs)
        if sequences < DISTINCT:
            raise ValueError(
                f"{self.pairs} pairs of {self.keys} keys and {self.values} values make {sequences} sequences, so "
                f"validation examples would be in training; raise any of them, for {DISTINCT} sequences or more"
            )
        return self
