"""What can be set on each probe, under ``probes[].options``."""

from typing import Annotated, Literal

from pydantic import Field

from undertow import Options

Points = Annotated[int, Field(ge=2, le=1000)]


class GradientProfileOptions(Options):
    """Options of `gradient-profile`."""

    lags: Points = 32
    """K: how many log-spaced lags, the shortest 1, the longest back to the first step."""
    joint: bool = False
    """Also over all state parts together, as `joint`: what cells with different parts can be compared by."""


class JacobianOptions(Options):
    """Options of `jacobian`."""

    lags: Points = 32
    """K: how many log-spaced lags, the shortest 1, the longest back to the first step."""
    vectors: Annotated[int, Field(ge=1, le=1000)] = 8
    """Random cotangents, one backward pass each: the relative error of the squared norm of one example is at most about
    √(2 / vectors), and averages out over the batch."""
    power_iterations: Annotated[int, Field(ge=0, le=1000)] = 0
    """Rounds of power iteration towards the largest singular value; 0 leaves it out. A round takes a sweep of all steps
    one by one, with K tangents, and a backward pass from each lag."""


class LyapunovOptions(Options):
    """Options of `lyapunov`."""

    exponents: Annotated[int, Field(ge=1, le=1000)] = 4
    """k: how many exponents, the largest first; no more than the joint state has numbers."""
    burn_in: Annotated[int, Field(ge=0)] = 0
    """Steps at the start that only turn the tangents into place and do not count; one step at least counts."""
    points: Points = 32
    """How many evenly spaced time steps the curves have."""


class SaturationOptions(Options):
    """Options of `saturation`."""

    points: Points = 32
    """How many evenly spaced time steps the curves by time have."""


class TimescaleOptions(Options):
    """Options of `timescale`."""

    gate: str = ""
    """The gate that says which share of the state is kept, by its name in the cell's `gates`; `1 - NAME` for one that
    says which share is replaced. Empty: what the cell itself names by its attribute `keeps`."""


class MemoryOptions(Options):
    """Options of `memory`."""

    lags: Points = 32
    """K: how many log-spaced lags beside lag 0, the longest back to the first step."""
    span: Literal["gap", "step"] = "gap"
    """What is hidden at a lag: the input from there back to the next lag, so that every step is hidden once, or the
    input of this step alone."""
    fill: Literal["other", "zeros"] = "other"
    """What is put in its place: the input of another example of the batch at the same steps, or zeros."""
