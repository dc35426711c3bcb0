"""The curves of studies of earlier versions, which recorded a floor in the place of every gradient below 10⁻⁵⁰.

shown = without_floor(results)
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from math import nan

from undertow.report.results import CombinationResult, StudyResults

FLOOR = -50.0
"""log₁₀ of the smallest norm that earlier versions recorded."""


def earlier_views(combinations: Iterable[CombinationResult]) -> set[str]:
    """The views whose gradient an earlier version measured, by the flag `growth` that only those recorded."""
    names = (name.split("/") for each in combinations for name in each.metrics)
    return {words[1] for words in names if len(words) == 3 and words[0] == "gradient" and words[2] == "growth"}


def without_floor(results: StudyResults) -> StudyResults:
    """The results with a gap in each curve of an earlier version where it is at the floor."""
    views = earlier_views(results.combinations)
    if not views:
        return results
    return replace(results, combinations=tuple(_without_floor(each, views) for each in results.combinations))


def _without_floor(combination: CombinationResult, views: Collection[str]) -> CombinationResult:
    return replace(
        combination,
        curves={
            name: (steps, _with_gaps(values)) if _is_of(name, views) else (steps, values)
            for name, (steps, values) in combination.curves.items()
        },
        history={
            name: {step: _with_gaps(values) for step, values in at_steps.items()} if _is_of(name, views) else at_steps
            for name, at_steps in combination.history.items()
        },
    )


def _is_of(name: str, views: Collection[str]) -> bool:
    kind, view = name.split("/")[:2] if "/" in name else (name, "")
    return kind == "gradient" and view in views


def _with_gaps(values: Sequence[float]) -> list[float]:
    return [value if value > FLOOR else nan for value in values]
