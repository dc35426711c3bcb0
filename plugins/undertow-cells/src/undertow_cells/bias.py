"""The type of an option that is a gate's bias; imports no torch."""

from typing import Annotated

from pydantic import Field

Bias = Annotated[float, Field(ge=-20.0, le=20.0)]
"""Beyond ±20 a sigmoid in 32 bits is saturated and passes no gradient."""
