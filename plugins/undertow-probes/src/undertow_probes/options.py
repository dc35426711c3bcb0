"""What can be set on each probe, under ``probes[].options``."""

from typing import Annotated, Literal

from pydantic import Field

from undertow import Options

Points = Annotated[int, Field(ge=2, le=1000)]


class GradientProfileOptions(Options):
    """Options of `gradient-profile`."""

    lags: Points = 32
    """K: how many log-spaced lags, the shortest 1, the longest back to the first step."""


class JacobianOptions(Options):
    """Options of `jacobian`."""

    lags: Points = 32
    """K: how many log-spaced lags, the shortest 1, the longest back to the first step."""
    vectors: Annotated[int, Field(ge=2, le=1000)] = 32
    """Random cotangents, one backward pass each: the relative error of the squared norm of one example is at most about
    √(2 / vectors), and smaller for the mean over the batch; it is recorded as `standard_error`."""
    power_iterations: Annotated[int, Field(ge=0, le=1000)] = 0
    """Iterations towards the largest singular value; 0 leaves it out. An iteration runs all steps one by one, with K
    tangents, and takes a backward pass from each lag."""


class LyapunovOptions(Options):
    """Options of `lyapunov`."""

    exponents: Annotated[int, Field(ge=1, le=1000)] = 4
    """k: how many exponents, the largest first; at most as many as the joint state has numbers."""
    burn_in: Annotated[int, Field(ge=0)] | None = None
    """Steps at the start that only align the tangents and do not count; at least one step counts. None: a quarter of
    all steps. Without any, the random directions at the start make the exponents of a short sequence too small."""
    points: Points = 32
    """How many evenly spaced time steps the curves have."""


class SaturationOptions(Options):
    """Options of `saturation`."""

    points: Points = 32
    """How many evenly spaced time steps the curves by time have."""


class WeightsOptions(Options):
    """Options of `weights`."""

    points: Annotated[int, Field(ge=1, le=1000)] = 8
    """At how many points of the trajectory the Jacobian of a step is taken, evenly spaced over steps and examples. Each
    costs the eigenvalues of a matrix as wide as a layer's state."""


class TimescaleOptions(Options):
    """Options of `timescale`."""

    gate: str = ""
    """The gate that is the share of the state that is kept, by its name in the cell's `gates`; `1 - NAME` for a gate
    that is the share that is replaced. Empty: the cell's attribute `keeps`."""


class MemoryOptions(Options):
    """Options of `memory`."""

    lags: Points = 32
    """K: how many log-spaced lags besides lag 0, the longest back to the first step."""
    span: Literal["gap", "step"] = "gap"
    """Which input is hidden at a lag: from there back to the next lag, so that every step is hidden once, or that of
    one step."""
    fill: Literal["other", "zeros"] = "other"
    """What replaces it: the input of another example of the batch at the same steps, or zeros."""
