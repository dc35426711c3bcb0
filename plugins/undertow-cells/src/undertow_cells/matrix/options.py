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
    """What scales the matrix: numbers computed from the input, or RetNet's constant, 1 - 2^(-5 - n) for head n."""
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


class Hgrn2Options(MatrixOptions):
    """Options of `hgrn2`."""

    lower_bound: Annotated[float, Field(ge=0.0, lt=1.0)] | None = None
    """The least share of the state that is kept; null: (layer - 1) / layers, where the authors' bounds start."""
    forget_bias: Bias = 0.0
    """Initial bias of the forget gate; above 0 more is kept at first."""
    norm: bool = True
    """Normalise the output."""


class MlstmOptions(MatrixOptions):
    """Options of `mlstm`."""

    forget: Literal["sigmoid", "exponential"] = "sigmoid"
    """Activation of the forget gate; the paper allows both."""
    norm: bool = False
    """Normalise what each head reads, before the output gate, as the paper's block does."""


class DeltanetOptions(MatrixOptions):
    """Options of `deltanet`."""

    gated: bool = True
    """Decay the matrix at each step, by a number a head computed from the input; false: the delta rule alone."""
    max_beta: Literal[1, 2] = 1
    """Upper limit of β: above 1 what is stored under a key can change its sign, as counting modulo 2 needs."""
    norm: bool = True
    """Normalise what each head reads."""
    output_gate: bool = True
    """Multiply the output by swish(W x)."""


class Rwkv7Options(MatrixOptions):
    """Options of `rwkv7`."""

    rank: Annotated[int, Field(ge=1, le=65536)] = 32
    """Numbers between the two matrices that compute the decay, the learning rate and the output gate."""
    norm: bool = True
    """Normalise what each head reads."""
    output_gate: bool = True
    """Multiply the output by W_2 σ(W_1 x)."""
