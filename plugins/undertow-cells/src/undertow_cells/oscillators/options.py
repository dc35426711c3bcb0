"""The options of the oscillators, under ``cell.options.<name>``; imports no torch."""

from typing import Annotated

from pydantic import Field

from undertow import Options

Positive = Annotated[float, Field(gt=0.0, le=1000.0)]


class CornnOptions(Options):
    """Options of `cornn`; the defaults are the authors' for images pixel by pixel."""

    dt: Annotated[float, Field(gt=0.0, le=1.0)] = 0.042
    """Time per step."""
    gamma: Positive = 2.7
    """Stiffness: √γ is the frequency of a unit without input, in radians per unit of time."""
    epsilon: Annotated[float, Field(ge=0.0, le=1000.0)] = 4.7
    """Damping: the share of its speed that a unit loses per unit of time; dt times this must stay below 2."""


class UnicornnOptions(Options):
    """Options of `unicornn`; the defaults are the authors' for permuted images pixel by pixel."""

    dt: Annotated[float, Field(gt=0.0, le=1.0)] = 0.19
    """Upper limit of the step length that a unit can learn."""
    alpha: Annotated[float, Field(ge=0.0, le=1000.0)] = 30.65
    """Stiffness: √α is the frequency of a unit without input, in radians per unit of time."""


class LemOptions(Options):
    """Options of `lem`."""

    dt: Annotated[float, Field(gt=0.0, le=2.0)] = 1.0
    """Upper limit of the step length, Δ; the authors use smaller values for longer sequences, 0.0242 for adding."""
