"""The quantities that are compared: the objectives; half-life, reach and gradient at the cue of each state part.

    for quantity in quantities(results.objectives, parts):
        values = [quantity.of(each) for each in combinations]     # None where a combination has no value
        print(quantity.label, quantity.text(estimate(values)))

Half-lives are not averaged: a growing gradient has none, and one that hardly shrinks would outweigh all others. The
*rate* is averaged and tested instead, in halvings per step: the slope that the probe fitted. The half-life shown is its
inverse, which is the half-life of the mean profile. A rate of 0 or less is shown as `grows`. A gradient that vanished
within one step counts with the steepest rate that can be measured.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from undertow.report.format import NO_VALUE, format_number
from undertow.report.results import CombinationResult, Objective
from undertow.report.statistics import Estimate

STEEPEST = 50 / math.log10(2)
"""Halvings per step: from 1 to the floor of the probe, 1e-50, within one step."""

GROWS = "grows"

_LARGEST = 1e300
"""A stored value beyond this stands for an infinity: SQL stores keep an infinity as the largest double."""


@dataclass(frozen=True)
class Quantity:
    """One quantity of a run.

    Attributes:
        name: Short, for file names.
        label: For readers, with its unit.
        kind: Which quantity it is.
        better: Which end is better; None where that depends on the question.
        of: The number that is averaged over seeds; None where a run has none.
        format: Writes such a number for readers.
    """

    name: str
    label: str
    kind: Literal["objective", "half-life", "reach", "cue"]
    better: Literal["low", "high"] | None
    of: Callable[[CombinationResult], float | None]
    format: Callable[[float], str] = format_number

    def text(self, estimate: Estimate | None, intervals: bool = True) -> str:
        """An estimate for readers, such as ``0.805 [0.79, 0.82]``."""
        if estimate is None:
            return NO_VALUE
        value = self.format(estimate.value)
        if not intervals or estimate.low is None or estimate.high is None:
            return value
        low, high = self.format(estimate.low), self.format(estimate.high)
        if self.kind == "half-life":  # the fastest fall is the shortest half-life
            low, high = high, low
        return f"{value} [{low}, {high}]"

    def values(self, combinations: Iterable[CombinationResult]) -> list[float]:
        """The values of those that have one."""
        return [value for value in map(self.of, combinations) if value is not None]


def state_parts(combinations: Iterable[CombinationResult]) -> list[str]:
    """The state parts whose gradient was measured, such as ``h`` and ``c``; views of single layers are left out."""
    names = (name.split("/") for each in combinations for name in (*each.curves, *each.metrics))
    return list(
        dict.fromkeys(
            words[1]
            for words in names
            if len(words) == 3 and words[0] == "gradient" and words[2] in ("by_lag", "reach")
        )
    )


def quantities(objectives: Sequence[Objective], parts: Iterable[str]) -> list[Quantity]:
    """All quantities that are compared.

    Args:
        objectives: The study's objectives.
        parts: The state parts whose gradient was measured.
    """
    found = [_objective(index, each) for index, each in enumerate(objectives)]
    for part in parts:
        found += [
            _half_life(part),
            _recorded(f"reach-{part}", f"reach of {part}", "reach", f"gradient/{part}/reach"),
            _recorded(f"at-cue-{part}", f"log₁₀ gradient of {part} at the cue", "cue", f"gradient/{part}/at_cue"),
        ]
    return found


def half_life_text(rate: float) -> str:
    """A half-life in time steps, from halvings per step."""
    if rate <= 0:
        return GROWS
    return "0" if rate > STEEPEST / 2 else format_number(1 / rate)


def rate(combination: CombinationResult, part: str) -> float | None:
    """Halvings per step of a run's gradient; negative when it grows, None when it was not measured."""
    half_life = finite_metric(combination, f"gradient/{part}/half_life")
    if half_life == 0:
        return STEEPEST
    if half_life is not None:
        return max(-STEEPEST, min(STEEPEST, 1 / half_life))
    return 0.0 if combination.metrics.get(f"gradient/{part}/growth") == 1 else None


def finite_metric(combination: CombinationResult, name: str) -> float | None:
    """A recorded scalar; None where it is absent or not finite."""
    return _finite(combination.metrics.get(name))


def _objective(index: int, objective: Objective) -> Quantity:
    def of(combination: CombinationResult) -> float | None:
        return _finite(combination.values[index]) if index < len(combination.values) else None

    better: Literal["low", "high"] = "low" if objective.direction == "minimize" else "high"
    return Quantity(objective.metric, objective.metric, "objective", better, of)


def _half_life(part: str) -> Quantity:
    name, label = f"half-life-{part}", f"half-life of {part}"
    return Quantity(name, label, "half-life", None, lambda each: rate(each, part), half_life_text)


def _recorded(name: str, label: str, kind: Literal["reach", "cue"], metric: str) -> Quantity:
    return Quantity(name, label, kind, None, lambda each: finite_metric(each, metric))


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) and abs(value) < _LARGEST else None
