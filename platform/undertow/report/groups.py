"""Groups of combinations, as the report shows them: one for each combination of what is varied but the seed.

    groups = group_results(results)       # undertow.report.grouping
    group = groups.at("lstm", "256")
    group.estimates["val/loss"]           # Estimate(value=0.31, low=0.28, high=0.35, n=3)

Every chart and table has *panels*, one for each length, and *lines*, one for each cell.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from undertow.config.space import Params
from undertow.report.format import NO_VALUE, format_value
from undertow.report.quantities import Quantity
from undertow.report.results import CombinationResult, State, StudyResults
from undertow.report.statistics import Estimate

SEED = "seed"

EXCLUDED_STATES: tuple[State, ...] = ("failed", "pruned", "stopped", "running", "waiting", "missing")
"""The states of combinations that no chart and no mean includes, in the order in which the report lists them."""


@dataclass(frozen=True)
class Group:
    """The combinations that differ by their seed alone (and by their sample, in a search).

    Attributes:
        line: Its label within the panel, such as ``lstm``.
        panel: Its panel's label, such as ``256``; empty where there is a single panel.
        params: The varied values but the seed.
        combinations: All of them, in any state.
        included: Those that charts and means use: the complete ones, and of a search the best at each seed.
        planned: How many could be included.
        estimates: Centre and spread over `included`, by the name of the quantity.
    """

    line: str
    panel: str
    params: Params
    combinations: tuple[CombinationResult, ...]
    included: tuple[CombinationResult, ...]
    planned: int
    estimates: Mapping[str, Estimate]

    @property
    def complete(self) -> tuple[CombinationResult, ...]:
        """The complete combinations, with all samples of a search."""
        return tuple(each for each in self.combinations if each.state == "complete")

    @property
    def seeds(self) -> str:
        """The seeds that are included."""
        return ", ".join(format_value(each.params[SEED]) for each in self.included if SEED in each.params) or NO_VALUE

    @property
    def n(self) -> str:
        """How many are included, such as ``3``, or ``2 of 3`` where some are not."""
        return str(self.planned) if len(self.included) == self.planned else f"{len(self.included)} of {self.planned}"

    @property
    def excluded(self) -> str:
        """The states of those that are not complete, such as ``1 failed, 1 missing``."""
        states = Counter(each.state for each in self.combinations)
        return ", ".join(f"{states[state]} {state}" for state in EXCLUDED_STATES if states[state])


@dataclass(frozen=True)
class Groups:
    """All groups of a study.

    Attributes:
        results: The study.
        line_name: The factor of the lines: ``cell``.
        panel_name: The factor of the panels: ``length``; empty where there is a single panel.
        lines: Their labels, in the order of the plan.
        panels: Their labels, ascending where they are numbers.
        groups: One for each line and panel that is planned.
        quantities: What is compared.
        views: ``input`` and the state parts whose gradient was measured.
    """

    results: StudyResults
    line_name: str
    panel_name: str
    lines: tuple[str, ...]
    panels: tuple[str, ...]
    groups: tuple[Group, ...]
    quantities: tuple[Quantity, ...]
    views: tuple[str, ...]

    def at(self, line: str, panel: str) -> Group | None:
        """The group of a line in a panel; None where none is planned."""
        return self._by_place.get((line, panel))

    def in_panel(self, panel: str) -> list[Group]:
        """The groups of a panel, in the order of the lines."""
        return [group for line in self.lines if (group := self.at(line, panel))]

    def panel_title(self, panel: str) -> str:
        """A panel's title, such as ``length 256``; empty where there is a single panel."""
        return f"{self.panel_name} {panel}" if self.panel_name else ""

    def measured(self, quantity: Quantity) -> bool:
        """Whether any group has an estimate of the quantity."""
        return any(quantity.name in group.estimates for group in self.groups)

    @property
    def searched(self) -> bool:
        """Whether a sampler chose some of the values."""
        return bool(self.results.space.search)

    @property
    def complete(self) -> tuple[CombinationResult, ...]:
        """Every complete combination, with all samples of a search."""
        return tuple(each for each in self.results.combinations if each.state == "complete")

    @property
    def objectives(self) -> list[Quantity]:
        """The quantities that are objectives, in their order."""
        return [quantity for quantity in self.quantities if quantity.kind == "objective"]

    @property
    def replicates(self) -> tuple[int, ...]:
        """The numbers of included runs that groups with any have, ascending."""
        return tuple(sorted({len(group.included) for group in self.groups if group.included}))

    @cached_property
    def _by_place(self) -> dict[tuple[str, str], Group]:
        return {(group.line, group.panel): group for group in self.groups}
