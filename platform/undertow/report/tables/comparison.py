"""Which differences between cells the seeds support: pairwise tests at each length, corrected for their number.

    for comparison in compare(digest).made:
        print(comparison.panel, comparison.lines, comparison.p, comparison.corrected)

Mann-Whitney U over seeds, two-sided; Holm's correction over all pairs at all lengths of one measure. A half-life is
compared by its rate. Groups with a single value cannot be tested.
"""

from dataclasses import dataclass
from itertools import combinations

from undertow.report.format import count
from undertow.report.groups import Group, Groups
from undertow.report.quantities import Quantity
from undertow.report.statistics import difference, holm, smallest_p
from undertow.report.tables.results_table import Table

MOST = 400
"""Tests of one measure. After a correction for more than that, hardly anything could be found."""

_KINDS = ("objective", "half-life")


@dataclass(frozen=True)
class Comparison:
    """One test.

    Attributes:
        measure: What is compared.
        panel: Where.
        lines: Who with whom.
        texts: The estimate of each.
        n: How many values each has.
        p: The p-value of this test alone.
        corrected: After Holm's correction over all tests of this measure.
        smallest: The smallest p-value that so many values can have.
    """

    measure: Quantity
    panel: str
    lines: tuple[str, str]
    texts: tuple[str, str]
    n: tuple[int, int]
    p: float
    corrected: float
    smallest: float


@dataclass(frozen=True)
class Comparisons:
    """All tests of a study.

    Attributes:
        made: In the order of quantities and panels.
        untested: Pairs with a single value on one side, or both.
        too_many: Measures that would have taken more than `MOST` tests, by label.
    """

    made: tuple[Comparison, ...]
    untested: int
    too_many: tuple[str, ...]


def compare(digest: Groups) -> Comparisons:
    """Test every pair of lines in every panel, by every objective and half-life."""
    made: list[Comparison] = []
    too_many: list[str] = []
    untested = 0
    for measure in digest.quantities:
        if measure.kind not in _KINDS:
            continue
        pairs = [pair for panel in digest.panels for pair in combinations(_groups(digest, panel, measure), 2)]
        able = [pair for pair in pairs if min(_n(group, measure) for group in pair) > 1]
        untested += len(pairs) - len(able)
        if len(able) > MOST:
            too_many.append(measure.label)
            continue
        p_values = [difference(_values(a, measure), _values(b, measure)) for a, b in able]
        for (a, b), p, corrected in zip(able, p_values, holm(p_values), strict=True):
            n = (_n(a, measure), _n(b, measure))
            texts = (measure.text(a.estimates[measure.name], False), measure.text(b.estimates[measure.name], False))
            made.append(Comparison(measure, a.panel, (a.line, b.line), texts, n, p, corrected, smallest_p(*n)))
    return Comparisons(tuple(made), untested, tuple(too_many))


def comparison_table(digest: Groups, found: Comparisons) -> Table:
    """The tests as a table."""
    where = (digest.panel_name,) if digest.panel_name else ()
    columns = ("measure", *where, "pair", "IQM", "n", "p", "p, Holm", "smallest p possible")
    rows = tuple(
        (
            each.measure.label,
            *((each.panel,) if where else ()),
            " – ".join(each.lines),
            " – ".join(each.texts),
            " – ".join(map(str, each.n)),
            f"{each.p:.3g}",
            f"{each.corrected:.3g}",
            f"{each.smallest:.2g}",
        )
        for each in found.made
    )
    return Table(columns, rows)


def verdict(found: Comparisons) -> str:
    """What the tests come to, in words, with what they cannot say."""
    if not found.made:
        text = "No test could be made: every pair needs at least two complete runs with different seeds on each side."
    else:
        clear = sum(each.corrected < 0.05 for each in found.made)
        text = f"{count(len(found.made), 'test')}; below 0.05 after the correction: {clear or 'none'}."
        least = min(each.smallest for each in found.made)
        if least >= 0.05:
            text += (
                f" That says nothing about the cells: so few seeds cannot give a p-value below {least:.2g}, whatever "
                "they measure. Add seeds before calling anything different or equal."
            )
    if found.untested and found.made:
        text += f" {count(found.untested, 'pair')} had a single run on one side and could not be tested."
    if found.too_many:
        text += f" More than {MOST} pairs of {', '.join(found.too_many)}: not tested."
    return text


def _groups(digest: Groups, panel: str, measure: Quantity) -> list[Group]:
    found = [digest.at(line, panel) for line in digest.lines]
    return [group for group in found if group and measure.name in group.estimates]


def _n(group: Group, measure: Quantity) -> int:
    return group.estimates[measure.name].n


def _values(group: Group, measure: Quantity) -> list[float]:
    return [value for value in map(measure.of, group.counted) if value is not None]
