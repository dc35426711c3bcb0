"""Two studies side by side: what differs in their configurations, and what moved between their results.

    comparison = compare_studies(read_results(first), read_results(second))
    comparison.configuration            # [("optim.lr", "0.01", "0.001"), …]
    for row in comparison.rows:
        print(row.where, row.quantity.label, *row.texts, row.difference.text, row.moved)

Groups are compared that have the same varied values but the seed; a value that only one of the studies varies is looked
up in the configuration of the other one. The difference of two centres has the interval that follows from those of both
(MOVER; Zou & Donner 2008, doi 10.1002/sim.3095). Below 10 replicates of either there is no interval: the range is that
of all differences between a run of the second and one of the first.

Runs of two studies may differ in more than their configuration says, such as the machine: no causes are named.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import hypot
from pathlib import Path
from typing import Any

from undertow._system.atomic import write_atomically
from undertow.config.yaml12 import parse
from undertow.report.format import NO_VALUE, count_of, format_number, format_value, join_words, short_names
from undertow.report.grouping import group_results
from undertow.report.groups import SEED, Group, Groups
from undertow.report.page import template
from undertow.report.quantities import Quantity
from undertow.report.results import StudyResults
from undertow.report.statistics import INTERVAL_FROM, Estimate, spread_name, superiority
from undertow.report.tables.results_table import Table

_KINDS = ("objective", "test", "half-life", "tenth-life", "reach")
_OWN_KEYS = ("study.name", "track.experiment", "track.run_name", "question")
"""Keys that name a study and change nothing in it."""


@dataclass(frozen=True)
class Difference:
    """The second centre minus the first.

    Attributes:
        value: None where both centres are only known to be larger than their windows.
        low: Lower end of its interval or range; None where it is not known.
        high: Upper end.
        sign: ``<`` or ``>`` where `value` is a bound, else empty.
        spread: What low and high are.
    """

    value: float | None
    low: float | None
    high: float | None
    sign: str
    spread: str

    @property
    def text(self) -> str:
        """For readers, such as ``+0.12 [0.08, 0.17]``."""
        if self.value is None:
            return NO_VALUE
        value = f"{self.sign} {_signed(self.value)}" if self.sign else _signed(self.value)
        if self.low is None and self.high is None:
            return value
        low, high = (NO_VALUE if end is None else _signed(end) for end in (self.low, self.high))
        return f"{value} [{low}, {high}]"

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval or range is on one side of 0."""
        return (self.low is not None and self.low > 0) or (self.high is not None and self.high < 0)


@dataclass(frozen=True)
class Row:
    """One quantity of one group of both studies.

    Attributes:
        params: The varied values that both have.
        where: The same for readers.
        quantity: What is compared.
        estimates: Of the first and the second study.
        difference: The second minus the first.
        superiority: The probability that a run of the second has a larger value than one of the first.
    """

    params: Mapping[str, Any]
    where: str
    quantity: Quantity
    estimates: tuple[Estimate, Estimate]
    difference: Difference
    superiority: float

    @property
    def texts(self) -> tuple[str, str]:
        """Both estimates for readers."""
        return self.quantity.text(self.estimates[0]), self.quantity.text(self.estimates[1])

    @property
    def moved(self) -> bool:
        """Whether the interval of the difference excludes 0, or, of few replicates, the ranges do not overlap."""
        return self.difference.excludes_zero


@dataclass(frozen=True)
class StudyComparison:
    """Two studies side by side.

    Attributes:
        names: Of the studies.
        configuration: Key, value in the first, value in the second, for every key that differs.
        rows: Every quantity of every group that both have.
        only: Descriptions of the groups that only the first, and only the second has.
    """

    names: tuple[str, str]
    configuration: tuple[tuple[str, str, str], ...]
    rows: tuple[Row, ...]
    only: tuple[tuple[str, ...], tuple[str, ...]]


def compare_studies(first: StudyResults, second: StudyResults) -> StudyComparison:
    """Compare two studies; the second may be the same study, recorded elsewhere or at another time."""
    groups = group_results(first), group_results(second)
    written = _flat(first), _flat(second)
    keys = list(dict.fromkeys(key for each in groups for group in each.groups for key in group.params))
    places = [_places(each, keys, own) for each, own in zip(groups, written, strict=True)]
    shared = [place for place in places[0] if place in places[1]]
    varying = [key for key in keys if len({dict(place)[key] for place in (*places[0], *places[1])}) > 1]
    names = short_names(varying)
    rows = [row for place in shared for row in _rows(groups, (places[0][place], places[1][place]), place, names)]
    return StudyComparison(
        (first.name, second.name) if first.name != second.name else (f"{first.name} (1)", f"{second.name} (2)"),
        tuple(_differing(*written)),
        tuple(rows),
        (
            tuple(_where(place, names) for place in places[0] if place not in places[1]),
            tuple(_where(place, names) for place in places[1] if place not in places[0]),
        ),
    )


def difference_of(first: Estimate, second: Estimate) -> Difference:
    """The second centre minus the first, with an interval from 10 values on both sides, else with a range."""
    beyond = ["value" in each.censored for each in (first, second)]
    value = None if all(beyond) else second.value - first.value
    sign = "" if not any(beyond) else "<" if beyond[0] else ">"
    spread = spread_name(min(first.n, second.n)) or "range"
    if first.low is None or first.high is None or second.low is None or second.high is None:
        return Difference(value, None, None, sign, "single runs")
    if min(first.n, second.n) >= INTERVAL_FROM:
        low = second.value - first.value - hypot(second.value - second.low, first.high - first.value)
        high = second.value - first.value + hypot(second.high - second.value, first.value - first.low)
        any_bound = bool(first.censored or second.censored)
        return Difference(value, None if any_bound else low, None if any_bound else high, sign, spread)
    # A true value beyond the window is larger than its bound: larger values of the first make differences smaller.
    smallest = None if "high" in first.censored else second.low - first.high
    largest = None if "high" in second.censored else second.high - first.low
    return Difference(value, smallest, largest, sign, spread)


def configuration_table(comparison: StudyComparison) -> Table:
    """What differs in the configurations."""
    return Table(("key", *comparison.names), comparison.configuration)


def result_table_of(comparison: StudyComparison, short: bool = False) -> Table:
    """What moved: a row for each quantity of each group.

    Args:
        comparison: The comparison.
        short: Leave out the ranges of the two, and the probability, for a narrow terminal.
    """
    probability = () if short else ("P(second > first)",)
    columns = ("where", "quantity", *comparison.names, "second − first", *probability, "moved")
    rows = tuple(
        (
            row.where or "all",
            row.quantity.label,
            *(row.quantity.text(each, spread=not short) for each in row.estimates),
            row.difference.text,
            *(() if short else (f"{row.superiority:.2f}",)),
            "yes" if row.moved else NO_VALUE,
        )
        for row in comparison.rows
    )
    return Table(columns, rows)


def sentences(comparison: StudyComparison) -> list[str]:
    """How much differs and moved, and what only one of the studies has."""
    moved = [row for row in comparison.rows if row.moved]
    found = [
        f"{count_of(len(comparison.configuration), 'key')} of the configuration differ."
        if len(comparison.configuration) != 1
        else "1 key of the configuration differs.",
        f"{len(moved):,} of {count_of(len(comparison.rows), 'compared number')} moved.",
    ]
    for name, only in zip(comparison.names, comparison.only, strict=True):
        if only:
            shown = join_words([*only[:6], *([f"{len(only) - 6} more"] if len(only) > 6 else [])])
            found.append(f"Only in {name}: {shown}.")
    return found


def how_to_read(comparison: StudyComparison) -> str:
    """What the brackets are, and what counts as moved."""
    kinds = {row.difference.spread for row in comparison.rows}
    parts = []
    if any("interval" in kind for kind in kinds):
        parts.append("95 % interval, moved: it excludes 0")
    if "range" in kinds:
        parts.append("fewer than 10 replicates: range of all differences between two runs, moved: the ranges are apart")
    if "single runs" in kinds:
        parts.append("single runs: the difference alone, which says nothing of chance")
    return "; ".join(parts)


def comparison_document(comparison: StudyComparison) -> dict[str, Any]:
    """The comparison as a JSON object."""
    return {
        "studies": list(comparison.names),
        "configuration": [
            {"key": key, "first": first, "second": second} for key, first, second in comparison.configuration
        ],
        "quantities": [
            {
                "params": dict(row.params),
                "quantity": row.quantity.label,
                "first": _estimate_document(row.estimates[0]),
                "second": _estimate_document(row.estimates[1]),
                "difference": {
                    "value": row.difference.value,
                    "low": row.difference.low,
                    "high": row.difference.high,
                    "bound": row.difference.sign,
                    "spread": row.difference.spread,
                },
                "superiority": row.superiority,
                "moved": row.moved,
            }
            for row in comparison.rows
        ],
        "only_first": list(comparison.only[0]),
        "only_second": list(comparison.only[1]),
    }


def write_comparison(comparison: StudyComparison, path: Path) -> Path:
    """Write the comparison as one HTML file that loads nothing.

    Args:
        comparison: The comparison.
        path: The file; an existing one is replaced as a whole.
    """
    by_quantity: dict[str, list[Row]] = {}
    for row in comparison.rows:
        by_quantity.setdefault(row.quantity.name, []).append(row)
    html = template("compare.html.j2").render(
        names=comparison.names,
        sentences=sentences(comparison),
        configuration=configuration_table(comparison),
        rows=comparison.rows,
        scales={name: _Scale(rows) for name, rows in by_quantity.items()},
        reading=how_to_read(comparison),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, html)
    return path


class _Scale:
    """Places numbers of one quantity on a line of 180 pixels."""

    def __init__(self, rows: Sequence[Row]) -> None:
        ends = [end for row in rows for each in row.estimates for end in (each.value, each.low, each.high)]
        known = [end for end in ends if end is not None]
        self._low, self._width = min(known), (max(known) - min(known)) or 1.0

    def x(self, value: float) -> str:
        """The place of a number."""
        return f"{5 + 180 * (value - self._low) / self._width:.1f}"


_Place = tuple[tuple[str, Any], ...]


def _places(groups: Groups, keys: Sequence[str], written: Mapping[str, str]) -> dict[_Place, Group]:
    """The groups by all keys that either study varies; what this one does not vary is what it is configured with."""
    return {
        tuple(
            (key, format_value(group.params[key]) if key in group.params else written.get(key, NO_VALUE))
            for key in keys
        ): group
        for group in groups.groups
    }


def _rows(
    groups: tuple[Groups, Groups], pair: tuple[Group, Group], place: _Place, names: Mapping[str, str]
) -> Iterator[Row]:
    others = {each.name for each in groups[1].quantities}
    for quantity in groups[0].quantities:
        known = all(quantity.name in each.estimates for each in pair)
        if quantity.kind not in _KINDS or not quantity.compares_cells or quantity.name not in others or not known:
            continue
        first, second = (each.estimates[quantity.name] for each in pair)
        # values are compared by rank, as in `tables.comparison`: a bound is larger than every number
        wins = superiority(quantity.ranks(pair[1].included), quantity.ranks(pair[0].included))
        yield Row(dict(place), _where(place, names), quantity, (first, second), difference_of(first, second), wins)


def _where(place: _Place, names: Mapping[str, str]) -> str:
    """A place for readers: ``lstm · length=64``."""
    words = [value if name == "cell" else f"{name}={value}" for key, value in place if (name := names.get(key))]
    return " · ".join(words)


def _flat(results: StudyResults) -> dict[str, str]:
    """The configuration by dotted key, without the keys that only name the study."""
    data, _ = parse(results.config_yaml)
    found = dict(_leaves(data, ()))
    return {key: value for key, value in found.items() if key not in _OWN_KEYS and key != SEED}


def _leaves(data: Any, keys: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if isinstance(data, dict) and data:
        for key, value in data.items():
            yield from _leaves(value, (*keys, str(key)))
    elif isinstance(data, list) and any(isinstance(each, dict) for each in data):
        for place, value in enumerate(data):
            yield from _leaves(value, (*keys, str(place)))
    else:
        yield ".".join(keys), format_value(tuple(data)) if isinstance(data, list) else format_value(data)


def _differing(first: Mapping[str, str], second: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    for key in dict.fromkeys([*first, *second]):
        values = first.get(key, NO_VALUE), second.get(key, NO_VALUE)
        if values[0] != values[1]:
            yield (key, *values)


def _estimate_document(estimate: Estimate) -> dict[str, Any]:
    return {
        "value": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "n": estimate.n,
        "bounds": sorted(estimate.censored),
    }


def _signed(value: float) -> str:
    return f"+{format_number(value)}" if value > 0 else format_number(value)
