"""Which differences between cells the seeds support: pairwise tests at each length, corrected for their number.

    for test in compare(groups).tests:
        print(test.panel, test.lines, test.p, test.corrected)

Mann-Whitney U over seeds, two-sided; Holm's correction over all pairs at all lengths of one quantity. Half-lives are
compared by their rates. Groups with a single value cannot be tested.
"""

from dataclasses import dataclass
from itertools import combinations

from undertow.report.format import count_of, join_words
from undertow.report.groups import Group, Groups
from undertow.report.quantities import Quantity
from undertow.report.statistics import holm, mann_whitney_p, smallest_p
from undertow.report.tables.results_table import Table

MAX_TESTS = 400
"""Tests of one quantity. After a correction for more, hardly any difference could be found."""

SIGNIFICANT = 0.05

_KINDS = ("objective", "half-life")


@dataclass(frozen=True)
class Comparison:
    """One test.

    Attributes:
        quantity: What is compared.
        panel: Where.
        lines: The two lines.
        texts: The estimate of each.
        n: How many values each has.
        p: The p-value of this test alone.
        corrected: After Holm's correction over all tests of this quantity.
        smallest: The smallest p-value that so many values can have.
    """

    quantity: Quantity
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
        tests: In the order of quantities and panels.
        untested: Pairs in which at least one side has a single value.
        too_many: Labels of quantities that need more than `MAX_TESTS` tests.
    """

    tests: tuple[Comparison, ...]
    untested: int
    too_many: tuple[str, ...]


def compare(groups: Groups) -> Comparisons:
    """Test every pair of lines in every panel, by every objective and half-life."""
    tests: list[Comparison] = []
    too_many: list[str] = []
    untested = 0
    for quantity in groups.quantities:
        if quantity.kind not in _KINDS:
            continue
        pairs = [pair for panel in groups.panels for pair in combinations(_measured(groups, panel, quantity), 2)]
        testable = [pair for pair in pairs if min(group.estimates[quantity.name].n for group in pair) > 1]
        untested += len(pairs) - len(testable)
        if len(testable) > MAX_TESTS:
            too_many.append(quantity.label)
        else:
            tests += _tests(testable, quantity)
    return Comparisons(tuple(tests), untested, tuple(too_many))


def comparison_table(groups: Groups, comparisons: Comparisons) -> Table:
    """The tests as a table."""
    panel_column = (groups.panel_name,) if groups.panel_name else ()
    columns = ("quantity", *panel_column, "pair", "IQM", "n", "p", "p, Holm", "smallest p possible")
    rows = tuple(
        (
            test.quantity.label,
            *((test.panel,) if panel_column else ()),
            " – ".join(test.lines),
            " – ".join(test.texts),
            " – ".join(map(str, test.n)),
            f"{test.p:.3g}",
            f"{test.corrected:.3g}",
            f"{test.smallest:.2g}",
        )
        for test in comparisons.tests
    )
    return Table(columns, rows)


def conclusion(comparisons: Comparisons) -> str:
    """How many tests are significant, and what they cannot show."""
    tests = comparisons.tests
    if not tests:
        text = "No test could be made: every pair needs at least two complete runs with different seeds on each side."
    else:
        significant = sum(test.corrected < SIGNIFICANT for test in tests)
        text = f"{count_of(len(tests), 'test')}; below {SIGNIFICANT} after the correction: {significant or 'none'}."
        least = min(test.smallest for test in tests)
        if least >= SIGNIFICANT:
            text += (
                f" This does not show that the cells are equal: so few seeds cannot give a p-value below {least:.2g}, "
                "whatever they measure. Add seeds to find out whether they differ."
            )
    if comparisons.untested and tests:
        text += f" {count_of(comparisons.untested, 'pair')} had a single run on one side and could not be tested."
    if comparisons.too_many:
        text += f" Not tested, with more than {MAX_TESTS} pairs: {join_words(comparisons.too_many)}."
    return text


def _tests(pairs: list[tuple[Group, Group]], quantity: Quantity) -> list[Comparison]:
    """A test for each pair, corrected for the number of pairs."""
    p_values = [mann_whitney_p(quantity.values(a.included), quantity.values(b.included)) for a, b in pairs]
    tests = []
    for (a, b), p, corrected in zip(pairs, p_values, holm(p_values), strict=True):
        first, second = a.estimates[quantity.name], b.estimates[quantity.name]
        texts = quantity.text(first, intervals=False), quantity.text(second, intervals=False)
        n = first.n, second.n
        tests.append(Comparison(quantity, a.panel, (a.line, b.line), texts, n, p, corrected, smallest_p(*n)))
    return tests


def _measured(groups: Groups, panel: str, quantity: Quantity) -> list[Group]:
    return [group for group in groups.in_panel(panel) if quantity.name in group.estimates]
