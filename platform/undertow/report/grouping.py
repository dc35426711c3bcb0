"""Group a study's results as the report shows them, and estimate every quantity of every group.

    groups = group_results(results)

Lengths make the panels; where no length is varied, the second factor does. Cells make the lines; every other factor is
joined to the line, so that nothing is averaged over it. Seeds are replicates.

Samples of a search are not averaged: a sampler chooses mostly what scores well, so their mean describes the sampler and
not the cell. At every point of the grid, seeds included, the best complete sample by the first objective is used, and
the report says so.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import inf

from undertow.config.space import Params, Value
from undertow.report.earlier import without_floor
from undertow.report.format import NO_VALUE, format_value, short_names
from undertow.report.groups import SEED, Group, Groups
from undertow.report.quantities import Quantity, gradient_views, quantities
from undertow.report.results import CombinationResult, StudyResults
from undertow.report.statistics import Estimate, estimates

CELL, LENGTH = "cell.name", "task.length"

_Point = tuple[tuple[str, Value], ...]


def group_results(results: StudyResults) -> Groups:
    """Group the combinations of a study, and estimate every quantity of every group."""
    results = without_floor(results)
    factors = [key for key in results.space.vary if key != SEED]
    panel_key = _panel_key(factors)
    line_keys = [key for key in factors if key != panel_key]
    names = short_names(factors)
    complete = [each for each in results.combinations if each.state == "complete"]
    compared = quantities(results.objectives, complete)

    members: dict[_Point, list[CombinationResult]] = {}
    for each in results.combinations:
        members.setdefault(_point(each, factors), []).append(each)
    included = {point: _included(each, results, compared[0]) for point, each in members.items()}
    found = _estimates(compared, list(included.values()))
    groups = tuple(
        Group(
            line=_line(results, line_keys, names, dict(point)),
            panel=_panel(panel_key, dict(point)),
            params=dict(point),
            combinations=tuple(combinations),
            included=included[point],
            planned=len({_point(each, results.space.vary) for each in combinations}),
            estimates=estimate,
        )
        for (point, combinations), estimate in zip(members.items(), found, strict=True)
    )
    return Groups(
        results=results,
        line_name=" · ".join(names[key] for key in line_keys) or "cell",
        panel_name=names[panel_key] if panel_key else "",
        lines=tuple(dict.fromkeys(group.line for group in groups)),
        panels=tuple(_ascending(dict.fromkeys(group.panel for group in groups))),
        groups=groups,
        quantities=tuple(compared),
        views=tuple(gradient_views(complete)),
    )


def _panel_key(factors: Sequence[str]) -> str | None:
    """The length; else the first factor beside the cell; else, with no cell varied, the second factor."""
    if LENGTH in factors:
        return LENGTH
    others = [key for key in factors if key != CELL]
    return next(iter(others if CELL in factors else others[1:]), None)


def _panel(key: str | None, params: Params) -> str:
    if key is None:
        return ""
    return format_value(params[key]) if key in params else NO_VALUE


def _line(results: StudyResults, keys: Sequence[str], names: Mapping[str, str], params: Params) -> str:
    if not keys:
        return format_value(results.space.base.get(CELL, "all"))
    words = [
        format_value(params[key]) if key == CELL else f"{names[key]}={format_value(params[key])}"
        for key in keys
        if key in params
    ]
    return " · ".join(words) or NO_VALUE


def _point(combination: CombinationResult, keys: Iterable[str]) -> _Point:
    """Its values of these keys; samples of a search share the point of the grid."""
    return tuple((key, combination.params[key]) for key in keys if key in combination.params)


def _included(
    combinations: Sequence[CombinationResult], results: StudyResults, objective: Quantity
) -> tuple[CombinationResult, ...]:
    """The complete ones; of several samples at one point the best by the first objective."""
    best: dict[_Point, CombinationResult] = {}
    for each in combinations:
        if each.state == "complete":
            point = _point(each, results.space.vary)
            if _rank(each, objective) < _rank(best.setdefault(point, each), objective):
                best[point] = each
    return tuple(best.values())


def _rank(combination: CombinationResult, objective: Quantity) -> float:
    """Smaller is better; without a finite value it is last."""
    value = objective.of(combination)
    if value is None:
        return inf
    return value if objective.better == "low" else -value


def _estimates(
    compared: Sequence[Quantity], included: Sequence[Sequence[CombinationResult]]
) -> list[dict[str, Estimate]]:
    """The estimates of every group, all resampled together."""
    places, samples, bounds = [], [], []
    for place, combinations in enumerate(included):
        for quantity in compared:
            if values := quantity.values(combinations):
                places.append((place, quantity.name))
                samples.append(values)
                bounds.append(quantity.bounds(combinations))
    found: list[dict[str, Estimate]] = [{} for _ in included]
    for (place, name), estimate in zip(places, estimates(samples, bounds), strict=True):
        found[place][name] = estimate
    return found


def _ascending(labels: Iterable[str]) -> list[str]:
    """By value where all of them are numbers, else in the order given."""
    labels = list(labels)
    try:
        return sorted(labels, key=float)
    except ValueError:
        return labels
