"""What can be set on each plain network, under ``cell.options.<name>``; imports no torch."""

from typing import Annotated, Literal

from pydantic import Field

from undertow import Options


class RnnOptions(Options):
    """Options of `rnn`."""

    nonlinearity: Literal["tanh", "relu"] = "tanh"
    """What the new state goes through."""
    recurrent_init: Literal["uniform", "orthogonal", "identity"] = "uniform"
    """The first U: torch's U(-1/√H, 1/√H), a random rotation, or the IRNN's identity with zero biases."""
    input_init: Literal["uniform", "small"] = "uniform"
    """The first W: torch's U(-1/√H, 1/√H), or the IRNN's N(0, 0.001²)."""
    recurrent_scale: Annotated[float, Field(gt=0.0, le=10.0)] = 1.0
    """Factor on the first U: its singular values set whether gradients vanish or explode."""
    input_scale: Annotated[float, Field(gt=0.0, le=1000.0)] = 1.0
    """Factor on the first W and biases: a large one saturates the units, whatever U is."""


class IndrnnOptions(Options):
    """Options of `indrnn`."""

    recurrent_init: Literal["uniform", "long"] = "uniform"
    """The first u: U(0, 1), or U(g^(-1/T), g^(1/T)), units that all remember the whole sequence of T steps."""
    growth: Annotated[float, Field(ge=1.0, le=1000.0)] = 2.0
    """What a state may grow by over the whole sequence: g in |u| ≤ g^(1/T)."""


class AntisymmetricOptions(Options):
    """Options of `antisymmetric`."""

    epsilon: Annotated[float, Field(gt=0.0, le=1.0)] = 0.1
    """Size of a step."""
    gamma: Annotated[float, Field(ge=0.0, le=10.0)] = 0.01
    """Friction, which keeps Euler's method from blowing up: γ on the diagonal."""
    recurrent_scale: Annotated[float, Field(ge=0.0, le=100.0)] = 1.0
    """Width of the first W, times √H: the paper's σ_w."""
    gated: bool = False
    """A gate on the move, which shares its recurrent matrix."""


class OrthogonalOptions(Options):
    """Options of `orthogonal`."""

    map: Literal["expm", "cayley"] = "expm"
    """How the skew-symmetric matrix becomes a rotation; Cayley's map has none with an eigenvalue of -1."""
    recurrent_init: Literal["henaff", "cayley"] = "henaff"
    """The first matrix: angles all around the circle, or small ones, as in the papers of these names."""
