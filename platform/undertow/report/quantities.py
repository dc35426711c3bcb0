"""The quantities that are compared: the scores, and the lags at which the gradient has fallen so far.

    for quantity in quantities(results.objectives, combinations):
        values = quantity.values(combinations)
        print(quantity.label, quantity.text(quantity.estimate(combinations)))

Cells are compared by the gradient with respect to the input, ∂L/∂x: its size does not depend on the coordinates that a
cell gives its state. The gradient with respect to a state part, ∂L/∂h, is shown beside it, to look into one cell.

A lag at which a curve has fallen to ½, 10⁻¹ or 10⁻³ is *censored* where the curve does not fall so far within the
sequence: then it is known to be larger than the longest lag, and is written ``> 63``. Nothing is extrapolated.

Earlier versions recorded another half-life: that of a line fitted to the root mean square over the examples. Such a
study is still shown, with this measure called what it is.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from undertow.report.earlier import earlier_views
from undertow.report.format import NO_VALUE, format_number
from undertow.report.results import CombinationResult, Objective
from undertow.report.statistics import Estimate, estimate

INPUT = "input"
"""The view of the gradient with respect to the input."""

LIVES = {"half_life": "half-life", "tenth_life": "tenth-life", "reach": "reach"}
"""Metric and label of the lags at which the curve has fallen to ½, 10⁻¹ and 10⁻³ of its value at lag 1."""

DEFINITIONS = {
    "objective": "The objective, on the validation split; it chose the checkpoint.",
    "test": "On the test split, once, with the best checkpoint.",
    "half-life": "The first lag, in time steps, at which the gradient is half of that at lag 1.",
    "tenth-life": "The first lag, in time steps, at which the gradient is a tenth of that at lag 1.",
    "reach": "The first lag, in time steps, at which the gradient is a thousandth of that at lag 1.",
    "cue": "log₁₀ of the gradient at the steps whose information the task needs, relative to lag 1.",
    "earlier": "From a line through log₁₀ of the root mean square over the examples, by an earlier version.",
}
"""What each kind of quantity is, in one line."""

_LARGEST = 1e300
"""A stored value beyond this stands for an infinity: SQL stores keep an infinity as the largest double."""

Kind = Literal["objective", "test", "half-life", "tenth-life", "reach", "cue", "earlier"]


@dataclass(frozen=True)
class Quantity:
    """One quantity of a run.

    Attributes:
        name: Short, for file names.
        label: For readers.
        kind: Which quantity it is; `DEFINITIONS` has a line for each.
        better: Which end is better; None where that depends on the question.
        of: The number of a run, which may be a lower bound; None where a run has none.
        is_bound: Whether that number is a lower bound.
        view: ``input`` or the state part; empty for a score.
    """

    name: str
    label: str
    kind: Kind
    better: Literal["low", "high"] | None
    of: Callable[[CombinationResult], float | None]
    is_bound: Callable[[CombinationResult], bool] = lambda _: False
    view: str = ""

    @property
    def compares_cells(self) -> bool:
        """Whether it means the same for every cell: a score, or a measure of the gradient by the input."""
        return self.view in ("", INPUT)

    def values(self, combinations: Iterable[CombinationResult]) -> list[float]:
        """The values of those that have one."""
        return [value for value in map(self.of, combinations) if value is not None]

    def bounds(self, combinations: Iterable[CombinationResult]) -> list[bool]:
        """Whether each of `values` is a lower bound."""
        return [self.is_bound(each) for each in combinations if self.of(each) is not None]

    def ranks(self, combinations: Iterable[CombinationResult]) -> list[float]:
        """The values for a test by ranks: a lower bound is larger than every number."""
        return [
            math.inf if self.is_bound(each) else value for each in combinations if (value := self.of(each)) is not None
        ]

    def estimate(self, combinations: Sequence[CombinationResult]) -> Estimate | None:
        """Centre and spread over some runs; None where none has a value."""
        values = self.values(combinations)
        return estimate(values, self.bounds(combinations)) if values else None

    def number(self, value: float, bound: bool = False) -> str:
        """A value for readers, such as ``0.31`` or ``> 63``."""
        return f"> {format_number(value)}" if bound else format_number(value)

    def text(self, estimate: Estimate | None, spread: bool = True) -> str:
        """An estimate for readers, such as ``0.805 [0.79, 0.82]``."""
        if estimate is None:
            return NO_VALUE
        value = self.number(estimate.value, "value" in estimate.censored)
        if not spread or estimate.low is None or estimate.high is None:
            return value
        low = self.number(estimate.low, "low" in estimate.censored)
        high = self.number(estimate.high, "high" in estimate.censored)
        return value if low == value == high else f"{value} [{low}, {high}]"


def gradient_views(combinations: Iterable[CombinationResult]) -> list[str]:
    """``input`` and the state parts whose gradient was measured, such as ``h``; single layers are left out."""
    names = (name.split("/") for each in combinations for name in (*each.curves, *each.metrics))
    found = dict.fromkeys(
        words[1]
        for words in names
        if len(words) == 3 and words[0] == "gradient" and words[2] in ("by_lag", "reach", "half_life")
    )
    return sorted(found, key=lambda view: view != INPUT)


def quantities(objectives: Sequence[Objective], combinations: Sequence[CombinationResult]) -> list[Quantity]:
    """All quantities that are compared: the objectives, the test scores, and the gradient by view.

    Args:
        objectives: The study's objectives.
        combinations: The combinations that have results.
    """
    found = [_objective(index, each) for index, each in enumerate(objectives)]
    found += _test_scores(objectives, combinations)
    earlier = earlier_views(combinations)
    for view in gradient_views(combinations):
        if view in earlier:
            found += _of_an_earlier_version(view)
        else:
            found += [_life(view, metric, label) for metric, label in LIVES.items()]
            found.append(_recorded(f"at-cue-{view}", f"log₁₀ {symbol(view)} at the cue", "cue", view, "at_cue"))
    return found


def symbol(view: str) -> str:
    """The gradient of a view as readers see it: ``∂L/∂x`` for the input."""
    return f"∂L/∂{'x' if view == INPUT else view}"


def finite_metric(combination: CombinationResult, name: str) -> float | None:
    """A recorded scalar; None where it is absent or not finite."""
    return _finite(combination.metrics.get(name))


def _objective(index: int, objective: Objective) -> Quantity:
    def of(combination: CombinationResult) -> float | None:
        return _finite(combination.values[index]) if index < len(combination.values) else None

    return Quantity(objective.metric, objective.metric, "objective", _better(objective), of)


def _test_scores(objectives: Sequence[Objective], combinations: Sequence[CombinationResult]) -> list[Quantity]:
    """The test score beside each objective on the validation split, where any run has it."""
    found = []
    for objective in objectives:
        split, slash, score = objective.metric.partition("/")
        name = f"test/{score}"
        if split == "val" and slash and any(name in each.metrics for each in combinations):
            found.append(Quantity(name, name, "test", _better(objective), _metric(name)))
    return found


def _better(objective: Objective) -> Literal["low", "high"]:
    return "low" if objective.direction == "minimize" else "high"


def _life(view: str, metric: str, label: str) -> Quantity:
    name = f"gradient/{view}/{metric}"
    kind: Kind = "half-life" if label == "half-life" else "tenth-life" if label == "tenth-life" else "reach"
    return Quantity(
        f"{label}-{view}",
        f"{label} of {symbol(view)}",
        kind,
        None,
        _metric(name),
        lambda each: each.metrics.get(f"{name}_censored") == 1,
        view,
    )


def _of_an_earlier_version(view: str) -> list[Quantity]:
    """Half-life and reach as they were recorded before; that of a growing gradient is beyond the longest lag."""
    name = f"gradient/{view}"

    def grows(each: CombinationResult) -> bool:
        return each.metrics.get(f"{name}/growth") == 1

    def half_life(each: CombinationResult) -> float | None:
        if not grows(each):
            return finite_metric(each, f"{name}/half_life")
        lags, _ = each.curves.get(f"{name}/by_lag", ([], []))
        return float(lags[-1]) if lags else None

    label = f"half-life of {view} by a fitted line (earlier version)"
    reach = _recorded(f"earlier-reach-{view}", f"reach of {view} (earlier version)", "earlier", view, "reach")
    return [Quantity(f"earlier-half-life-{view}", label, "earlier", None, half_life, grows, view), reach]


def _recorded(name: str, label: str, kind: Kind, view: str, metric: str) -> Quantity:
    return Quantity(name, label, kind, None, _metric(f"gradient/{view}/{metric}"), view=view)


def _metric(name: str) -> Callable[[CombinationResult], float | None]:
    return lambda each: finite_metric(each, name)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) and abs(value) < _LARGEST else None
