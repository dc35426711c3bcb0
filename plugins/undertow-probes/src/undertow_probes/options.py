"""What can be set on each probe, under ``probes[].options``."""

from typing import Annotated

from pydantic import Field

from undertow import Options


class GradientProfileOptions(Options):
    """Options of `gradient-profile`."""

    lags: Annotated[int, Field(ge=2, le=1000)] = 32
    """K: how many log-spaced lags, the shortest 1, the longest back to the first step."""


class SaturationOptions(Options):
    """Options of `saturation`."""

    points: Annotated[int, Field(ge=2, le=1000)] = 32
    """How many evenly spaced time steps the curves by time have."""
