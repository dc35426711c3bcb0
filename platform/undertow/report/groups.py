"""A study in the arrangement in which it is shown: a group for each combination of what is varied but the seed.

    digest = arrange(results)
    group = digest.at("lstm", "256")
    group.estimates["val/loss"]           # Estimate(value=0.31, low=0.28, high=0.35, n=3)

Every figure and table has *lines* and *panels*: a panel for each length, a line for each cell. Where no length is
varied the second factor makes the panels; whatever else is varied is joined to the line, so that nothing is averaged
over a factor without a word. Seeds are replicates.

What a sampler has searched is not averaged either: a sampler looks where it is good, so a mean over its samples is of
its taste, not of the cell. At every point of the grid, seeds included, the best complete sample by the first objective
counts, and everything drawn says so.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from undertow.config.space import Params, Scalar
from undertow.report.format import NOTHING, scalar, short_names
from undertow.report.quantities import Quantity, quantities, state_parts
from undertow.report.results import CombinationResult, Objective, State, StudyResults
from undertow.report.statistics import Estimate, estimates

SEED, CELL, LENGTH = "seed", "cell.name", "task.length"

LEFT_OUT: tuple[State, ...] = ("failed", "pruned", "stopped", "running", "waiting", "missing")
"""The states of a combination that count in no figure, in the order in which they are told."""


@dataclass(frozen=True)
class Group:
    """What was varied alike, whatever the seed.

    Attributes:
        line: What tells it from others in its panel, such as ``lstm``.
        panel: ``256``; empty where there is one panel only.
        params: The varied values but the seed.
        combinations: All of them, however they stand.
        counted: Those that count: complete ones, and of a search the best at each seed.
        planned: How many could count.
        estimates: Their IQM, by the name of the measure.
    """

    line: str
    panel: str
    params: Params
    combinations: tuple[CombinationResult, ...]
    counted: tuple[CombinationResult, ...]
    planned: int
    estimates: Mapping[str, Estimate]

    @property
    def complete(self) -> tuple[CombinationResult, ...]:
        """The complete trials, all samples of a search."""
        return tuple(trial for trial in self.combinations if trial.state == "complete")

    @property
    def seeds(self) -> str:
        """The seeds that count."""
        return ", ".join(scalar(trial.params[SEED]) for trial in self.counted if SEED in trial.params) or NOTHING

    @property
    def n(self) -> str:
        """How many count, and of how many when some do not."""
        return str(self.planned) if len(self.counted) == self.planned else f"{len(self.counted)} of {self.planned}"

    @property
    def left_out(self) -> str:
        """Why some do not count, such as ``1 failed, 1 missing``."""
        states = Counter(trial.state for trial in self.combinations)
        return ", ".join(f"{states[state]} {state}" for state in LEFT_OUT if states[state])


@dataclass(frozen=True)
class Groups:
    """A study, arranged.

    Attributes:
        results: The study.
        line_name: What the lines are: ``cell``.
        panel_name: What the panels are: ``length``; empty where there is one panel only.
        lines: Their labels, in the order written.
        panels: Their labels, ascending where they are numbers.
        groups: One for each line and panel that is planned.
        quantities: What is compared.
        parts: Of the state.
    """

    results: StudyResults
    line_name: str
    panel_name: str
    lines: tuple[str, ...]
    panels: tuple[str, ...]
    groups: tuple[Group, ...]
    quantities: tuple[Quantity, ...]
    parts: tuple[str, ...]

    def at(self, line: str, panel: str) -> Group | None:
        """The group of a line in a panel, if one is planned."""
        return self._places.get((line, panel))

    def titled(self, panel: str) -> str:
        """A panel for people: ``length 256``; empty where there is one panel only."""
        return f"{self.panel_name} {panel}" if self.panel_name else ""

    @property
    def searched(self) -> bool:
        """Whether a sampler chose some of the values."""
        return bool(self.results.space.search)

    @property
    def complete(self) -> tuple[CombinationResult, ...]:
        """Every complete trial, all samples of a search."""
        return tuple(trial for trial in self.results.combinations if trial.state == "complete")

    @property
    def objectives(self) -> list[Quantity]:
        """The quantities that are objectives, in their order."""
        return [measure for measure in self.quantities if measure.kind == "objective"]

    @cached_property
    def _places(self) -> dict[tuple[str, str], Group]:
        return {(group.line, group.panel): group for group in self.groups}


def arrange(results: StudyResults) -> Groups:
    """Arrange a study."""
    factors = [key for key in results.space.vary if key != SEED]
    panel_key = _panel_key(factors)
    line_keys = [key for key in factors if key != panel_key]
    names = short_names(factors)
    parts = state_parts(trial for trial in results.combinations if trial.state == "complete")
    compared = quantities(results.objectives, parts)

    members: dict[tuple[tuple[str, Scalar], ...], list[CombinationResult]] = {}
    for trial in results.combinations:
        point = tuple((key, trial.params[key]) for key in factors if key in trial.params)
        members.setdefault(point, []).append(trial)
    counted = {point: _best(trials, results) for point, trials in members.items()}
    found = _estimates(compared, list(counted.values()))
    groups = tuple(
        Group(
            _line(results, line_keys, names, dict(point)),
            scalar(dict(point)[panel_key]) if panel_key in dict(point) else (NOTHING if panel_key else ""),
            dict(point),
            tuple(trials),
            counted[point],
            len({_key(trial, results) for trial in trials}),
            estimate,
        )
        for (point, trials), estimate in zip(members.items(), found, strict=True)
    )
    return Groups(
        results,
        " · ".join(names[key] for key in line_keys) or "cell",
        names[panel_key] if panel_key else "",
        tuple(dict.fromkeys(group.line for group in groups)),
        tuple(_ascending(dict.fromkeys(group.panel for group in groups))),
        groups,
        tuple(compared),
        tuple(parts),
    )


def better(objective: Objective, value: float) -> float:
    """A number that is smaller the better the value is."""
    return value if objective.direction == "minimize" else -value


def _panel_key(factors: Sequence[str]) -> str | None:
    """The length; or else the second factor, the cell being the first if it is varied."""
    if LENGTH in factors:
        return LENGTH
    others = [key for key in factors if key != CELL]
    return next(iter(others if CELL in factors else others[1:]), None)


def _line(results: StudyResults, keys: Sequence[str], names: Mapping[str, str], point: Params) -> str:
    if not keys:
        return scalar(results.space.base.get(CELL, "all"))
    words = [
        scalar(point[key]) if key == CELL else f"{names[key]}={scalar(point[key])}" for key in keys if key in point
    ]
    return " · ".join(words) or NOTHING


def _key(trial: CombinationResult, results: StudyResults) -> tuple[tuple[str, Scalar], ...]:
    """The point of the grid, seed included: samples of a search share it."""
    return tuple((key, trial.params[key]) for key in results.space.vary if key in trial.params)


def _best(trials: Sequence[CombinationResult], results: StudyResults) -> tuple[CombinationResult, ...]:
    """The complete trials; of several samples at one point the best by the first objective."""
    best: dict[tuple[tuple[str, Scalar], ...], CombinationResult] = {}
    for trial in trials:
        if trial.state == "complete":
            rival = best.setdefault(_key(trial, results), trial)
            if _rank(trial, results) < _rank(rival, results):
                best[_key(trial, results)] = trial
    return tuple(best.values())


def _rank(trial: CombinationResult, results: StudyResults) -> float:
    value = trial.values[0] if trial.values else math.nan
    return better(results.objectives[0], value) if math.isfinite(value) else math.inf


def _estimates(
    compared: Sequence[Quantity], counted: Sequence[Sequence[CombinationResult]]
) -> list[dict[str, Estimate]]:
    """The estimates of every group, all resampled together."""
    places, samples = [], []
    for place, trials in enumerate(counted):
        for measure in compared:
            if values := [value for value in map(measure.of, trials) if value is not None]:
                places.append((place, measure.name))
                samples.append(values)
    found: list[dict[str, Estimate]] = [{} for _ in counted]
    for (place, name), estimate in zip(places, estimates(samples), strict=True):
        found[place][name] = estimate
    return found


def _ascending(labels: Iterable[str]) -> list[str]:
    """By value if all of them are numbers, else as they came."""
    labels = list(labels)
    try:
        return sorted(labels, key=float)
    except ValueError:
        return labels
