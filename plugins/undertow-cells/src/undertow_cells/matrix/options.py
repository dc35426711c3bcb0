"""The options of the cells with a matrix state, under ``cell.options.<name>``; imports no torch."""

from typing import Annotated, Literal

from pydantic import Field

from undertow import Options
from undertow_cells.bias import Bias


class MatrixOptions(Options):
    """Options of all of them."""

    heads: Annotated[int, Field(ge=1, le=1024)] = 1
    """Heads, each with a matrix of its own; must divide the hidden size. More heads, smaller matrices."""
    key_size: Annotated[int, Field(ge=1, le=65536)] | None = None
    """Rows of each matrix, the size of a key; null takes that of a value, hidden size / heads."""


class GlaOptions(MatrixOptions):
    """Options of `gla`."""

    decay: Literal["input", "constant"] = "input"
    """What the matrix is scaled by: numbers computed from the input, or RetNet's constant, 1 - 2^(-5 - n) for head n."""
    gate_rank: Annotated[int, Field(ge=1, le=65536)] = 16
    """Numbers between the two matrices that compute the decay."""
    temperature: Annotated[float, Field(ge=1.0, le=1000.0)] = 16.0
    """Root that is taken of the decay's sigmoid; above 1 it forgets more slowly."""
    decay_bias: Bias = 0.0
    """Initial bias of the decay's sigmoid; above 0 more is kept at first."""
    norm: bool = True
    """Normalise what each head reads."""
    output_gate: bool = True
    """Multiply the output by swish(W x + b)."""
