"""What can be set on each oscillator, under ``cell.options.<name>``; imports no torch."""

from typing import Annotated

from pydantic import Field

from undertow import Options

Positive = Annotated[float, Field(gt=0.0, le=1000.0)]


class CornnOptions(Options):
    """Options of `cornn`; the defaults are the authors' for images pixel by pixel."""

    dt: Annotated[float, Field(gt=0.0, le=1.0)] = 0.042
    """Time that passes in a step."""
    gamma: Positive = 2.7
    """Stiffness: √γ is how fast a unit left alone swings, in radians per unit of time."""
    epsilon: Annotated[float, Field(ge=0.0, le=1000.0)] = 4.7
    """Damping: how much of its speed a unit loses per unit of time; dt times this must stay below 2."""


class UnicornnOptions(Options):
    """Options of `unicornn`; the defaults are the authors' for permuted images pixel by pixel."""

    dt: Annotated[float, Field(gt=0.0, le=1.0)] = 0.19
    """The longest step a unit can learn to take."""
    alpha: Annotated[float, Field(ge=0.0, le=1000.0)] = 30.65
    """Stiffness: √α is how fast a unit left alone swings, in radians per unit of time."""


class LemOptions(Options):
    """Options of `lem`."""

    dt: Annotated[float, Field(gt=0.0, le=2.0)] = 1.0
    """The longest step a unit can take, Δ; the authors take less for longer sequences, 0.0242 for adding."""
