"""What is compared: the objectives, and half-life, reach and gradient at the cue of each part of the state.

    for measure in quantities(results.objectives, trials):
        values = [measure.of(trial) for trial in trials]     # None where a trial has none
        print(measure.label, measure.text(estimate(values)))

A half-life cannot be averaged: a growing gradient has none, and one that hardly shrinks would outweigh all others. So
what is averaged and tested is the *rate*, halvings per step, which is the slope that the probe fitted; the half-life
shown is its inverse, which is the half-life of the mean profile. A rate of 0 or less reads `grows`. A gradient that
vanished at once counts with the steepest fall that could have been seen.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from undertow.report.format import NOTHING, number
from undertow.report.results import CombinationResult, Objective
from undertow.report.statistics import Estimate

STEEPEST = 50 / math.log10(2)
"""Halvings per step: from 1 to the floor of the probe, 1e-50, within one step."""

GROWS = "grows"


@dataclass(frozen=True)
class Quantity:
    """One quantity of a run.

    Attributes:
        name: Short, for file names.
        label: For people, with its unit.
        kind: What it is of.
        better: The end that one wants; None where it depends on the question.
        of: The number that is averaged over seeds; None if a run has none.
        show: Such a number for people.
    """

    name: str
    label: str
    kind: Literal["objective", "half-life", "reach", "cue"]
    better: Literal["low", "high"] | None
    of: Callable[[CombinationResult], float | None]
    show: Callable[[float], str] = number

    def text(self, found: Estimate | None, intervals: bool = True) -> str:
        """An estimate for people, such as ``0.805 [0.79, 0.82]``."""
        if found is None:
            return NOTHING
        value = self.show(found.value)
        if not intervals or found.low is None or found.high is None:
            return value
        low, high = self.show(found.low), self.show(found.high)
        if self.kind == "half-life":  # the fastest fall is the shortest half-life
            low, high = high, low
        return f"{value} [{low}, {high}]"


def state_parts(trials: Iterable[CombinationResult]) -> list[str]:
    """The parts of the state whose gradient was measured, such as ``h`` and ``c``; layers by themselves left out."""
    names = (name.split("/") for trial in trials for name in (*trial.curves, *trial.metrics))
    return list(
        dict.fromkeys(
            words[1]
            for words in names
            if len(words) == 3 and words[0] == "gradient" and words[2] in ("by_lag", "reach")
        )
    )


def quantities(objectives: Sequence[Objective], parts: Iterable[str]) -> list[Quantity]:
    """Everything that is compared.

    Args:
        objectives: Of the study.
        parts: Of the state.
    """
    found = [_objective(index, each) for index, each in enumerate(objectives)]
    for part in parts:
        found += [_half_life(part), _reach(part), _at_cue(part)]
    return found


def half_life_text(rate: float) -> str:
    """A half-life in time steps, from halvings per step."""
    if rate <= 0:
        return GROWS
    return "0" if rate > STEEPEST / 2 else number(1 / rate)


def rate(trial: CombinationResult, part: str) -> float | None:
    """Halvings per step of a run's gradient; negative when it grows, None when it was not measured."""
    half_life = _finite(trial.metrics.get(f"gradient/{part}/half_life"))
    if half_life == 0:
        return STEEPEST
    if half_life is not None:
        return max(-STEEPEST, min(STEEPEST, 1 / half_life))
    return 0.0 if trial.metrics.get(f"gradient/{part}/growth") == 1 else None


def _objective(index: int, objective: Objective) -> Quantity:
    def of(trial: CombinationResult) -> float | None:
        return _finite(trial.values[index]) if index < len(trial.values) else None

    better: Literal["low", "high"] = "low" if objective.direction == "minimize" else "high"
    return Quantity(objective.metric, objective.metric, "objective", better, of)


def _half_life(part: str) -> Quantity:
    return Quantity(
        f"half-life-{part}",
        f"half-life of {part}",
        "half-life",
        None,
        lambda trial: rate(trial, part),
        half_life_text,
    )


def _reach(part: str) -> Quantity:
    return Quantity(
        f"reach-{part}",
        f"reach of {part}",
        "reach",
        None,
        lambda trial: _finite(trial.metrics.get(f"gradient/{part}/reach")),
    )


def _at_cue(part: str) -> Quantity:
    return Quantity(
        f"at-cue-{part}",
        f"log₁₀ gradient of {part} at the cue",
        "cue",
        None,
        lambda trial: _finite(trial.metrics.get(f"gradient/{part}/at_cue")),
    )


def _finite(value: float | None) -> float | None:
    """The value, unless a store has turned an infinity into the largest double."""
    return value if value is not None and math.isfinite(value) and abs(value) < 1e300 else None
