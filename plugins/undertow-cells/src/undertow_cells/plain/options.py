"""The options of the plain networks, under ``cell.options.<name>``; imports no torch."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from undertow import Options


class RnnOptions(Options):
    """Options of `rnn`."""

    nonlinearity: Literal["tanh", "relu"] = "tanh"
    """Function that gives the new state."""
    recurrent_init: Literal["uniform", "orthogonal", "identity"] = "uniform"
    """The initial U: torch's U(-1/√H, 1/√H), a random rotation, or the IRNN's identity with zero biases."""
    input_init: Literal["uniform", "small"] = "uniform"
    """The initial W: torch's U(-1/√H, 1/√H), or the IRNN's N(0, 0.001²)."""
    recurrent_scale: Annotated[float, Field(gt=0.0, le=10.0)] = 1.0
    """Factor on the initial U, whose singular values set whether gradients vanish or explode."""
    input_scale: Annotated[float, Field(gt=0.0, le=1000.0)] = 1.0
    """Factor on the initial W and biases: a large one saturates the units for any U."""


class IndrnnOptions(Options):
    """Options of `indrnn`."""

    recurrent_init: Literal["uniform", "long", "long-last"] = "uniform"
    """The initial u: U(0, 1), or U(g^(-1/T), g^(1/T)), which keeps values for T steps: in all layers, or the last."""
    growth: Annotated[float, Field(ge=1.0, le=1000.0)] = 2.0
    """Largest factor by which a state may grow over the whole sequence: g in |u| ≤ g^(1/T)."""


class ClockworkOptions(Options):
    """Options of `clockwork`."""

    periods: Annotated[tuple[Annotated[int, Field(ge=1, le=1_000_000)], ...], Field(strict=False)] | None = None
    """Steps between two moves of each group of units, rising; null takes 1, 2, 4, … up to the task's length or 128."""
    weight_std: Annotated[float, Field(gt=0.0, le=10.0)] = 0.1
    """Standard deviation of the initial W and U."""

    @field_validator("periods")
    @classmethod
    def _validate_periods(cls, periods: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if periods is not None and (not periods or list(periods) != sorted(set(periods))):
            raise ValueError(f"periods must rise, each above the one before it: {list(periods)}")
        return periods


class AntisymmetricOptions(Options):
    """Options of `antisymmetric`."""

    epsilon: Annotated[float, Field(gt=0.0, le=1.0)] = 0.1
    """Size of a step."""
    gamma: Annotated[float, Field(ge=0.0, le=10.0)] = 0.01
    """Friction, which keeps Euler's method stable: γ on the diagonal."""
    recurrent_scale: Annotated[float, Field(ge=0.0, le=100.0)] = 1.0
    """Standard deviation of the initial W, times √H: the paper's σ_w."""
    gated: bool = False
    """Add a gate to the step; it has the same recurrent matrix."""


class OrthogonalOptions(Options):
    """Options of `orthogonal`."""

    map: Literal["expm", "cayley"] = "expm"
    """Map from the skew-symmetric matrix to a rotation; Cayley's map gives none with an eigenvalue of -1."""
    recurrent_init: Literal["henaff", "cayley"] = "henaff"
    """The initial matrix: rotations by angles in (-π, π), or by small ones, as in the papers of these names."""
