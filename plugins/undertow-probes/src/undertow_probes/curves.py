"""Curves: the steps where they are sampled, and measured numbers as names and values that can be recorded."""

import math
from collections.abc import Sequence

from torch import Tensor

from undertow import Curve


def log_spaced(count: int, longest: int) -> list[int]:
    """At most `count` lags from 1 to `longest`, evenly spaced in the logarithm, ascending, each once."""
    return sorted({round(longest ** (i / (count - 1))) for i in range(count)})


def evenly_spaced(count: int, size: int) -> list[int]:
    """At most `count` indices from 0 to `size` - 1, ascending, each once."""
    return sorted({round(i * (size - 1) / max(count - 1, 1)) for i in range(count)})


def views(part: str, by_layer: Sequence[Tensor], together: Tensor) -> dict[str, Tensor]:
    """The curves of a state part by name: all layers under the part's name and, of several layers, each layer too."""
    if len(by_layer) == 1:
        return {part: together}
    return {part: together} | {f"{part}/layer{depth}": values for depth, values in enumerate(by_layer)}


def finite(scalars: dict[str, float]) -> dict[str, float]:
    """The finite scalars, which can be recorded."""
    return {name: value for name, value in scalars.items() if math.isfinite(value)}


def finite_curve(name: str, steps: Sequence[int], values: Sequence[float]) -> dict[str, Curve]:
    """The curve of the finite points by its name; empty if there are none."""
    points = [(step, value) for step, value in zip(steps, values, strict=True) if math.isfinite(value)]
    return {name: Curve([step for step, _ in points], [value for _, value in points])} if points else {}
