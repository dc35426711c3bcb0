"""Which differences between cells the replicates support: pairwise tests at each length, corrected for their number.

    for test in compare(groups).tests:
        print(test.panel, test.lines, test.superiority, test.corrected)

Mann-Whitney U over replicates, two-sided; Holm's correction over all pairs at all lengths of one quantity. Beside each
test is its effect size, the probability of superiority. A quantity is tested only where there are so many replicates
that a test can come out significant after the correction. Only what means the same for every cell is compared: the
scores, and the half-life of the gradient by the input.
"""

from dataclasses import dataclass
from itertools import combinations

from undertow.report.format import count_of, join_words
from undertow.report.groups import Group, Groups
from undertow.report.quantities import Quantity
from undertow.report.statistics import holm, mann_whitney_p, smallest_p, superiority
from undertow.report.tables.results_table import Table

MAX_TESTS = 400
"""Tests of one quantity. After a correction for more, hardly any difference could be found."""

SIGNIFICANT = 0.05

_KINDS = ("objective", "test", "half-life")


@dataclass(frozen=True)
class Comparison:
    """One test.

    Attributes:
        quantity: What is compared.
        panel: Where.
        lines: The two lines.
        texts: The estimate of each.
        n: How many values each has.
        superiority: The probability that a run of the first line has a larger value than one of the second.
        p: The p-value of this test alone.
        corrected: After Holm's correction over all tests of this quantity.
    """

    quantity: Quantity
    panel: str
    lines: tuple[str, str]
    texts: tuple[str, str]
    n: tuple[int, int]
    superiority: float
    p: float
    corrected: float


@dataclass(frozen=True)
class Comparisons:
    """All tests of a study.

    Attributes:
        tests: In the order of quantities and panels.
        too_few: Labels of quantities that have pairs, but too few replicates for any to come out significant.
        needed: Replicates of each line that such tests would need, at least.
        too_many: Labels of quantities that need more than `MAX_TESTS` tests.
    """

    tests: tuple[Comparison, ...]
    too_few: tuple[str, ...]
    needed: int
    too_many: tuple[str, ...]


def compare(groups: Groups) -> Comparisons:
    """Test every pair of lines in every panel, by every score and by the half-life of the gradient by the input."""
    tests: list[Comparison] = []
    too_few: list[str] = []
    too_many: list[str] = []
    needed = 0
    for quantity in groups.quantities:
        if quantity.kind not in _KINDS or not quantity.compares_cells:
            continue
        pairs = [pair for panel in groups.panels for pair in combinations(_measured(groups, panel, quantity), 2)]
        testable = [pair for pair in pairs if _smallest(pair, quantity) * len(pairs) < SIGNIFICANT]
        if len(pairs) > MAX_TESTS:
            too_many.append(quantity.label)
        elif testable:
            tests += _tests(testable, quantity)
        elif pairs:
            too_few.append(quantity.label)
            needed = max(needed, _needed(len(pairs)))
    return Comparisons(tuple(tests), tuple(too_few), needed, tuple(too_many))


def comparison_table(groups: Groups, comparisons: Comparisons) -> Table:
    """The tests as a table."""
    panel_column = (groups.panel_name,) if groups.panel_name else ()
    columns = ("quantity", *panel_column, "pair", "centres", "n", "P(first > second)", "p", "p, Holm")
    rows = tuple(
        (
            test.quantity.label,
            *((test.panel,) if panel_column else ()),
            " – ".join(test.lines),
            " – ".join(test.texts),
            " – ".join(map(str, test.n)),
            f"{test.superiority:.2f}",
            f"{test.p:.3g}",
            f"{test.corrected:.3g}",
        )
        for test in comparisons.tests
    )
    return Table(columns, rows)


def conclusion(comparisons: Comparisons) -> str:
    """How many tests are significant, and what was not tested and why."""
    tests = comparisons.tests
    sentences = []
    if tests:
        significant = sum(test.corrected < SIGNIFICANT for test in tests)
        sentences.append(
            f"{count_of(len(tests), 'test')}; below {SIGNIFICANT} after the correction: {significant or 'none'}."
        )
    if comparisons.too_few:
        sentences.append(
            f"No test of {join_words(comparisons.too_few)}: with so few replicates none could come out below "
            f"{SIGNIFICANT} after the correction; at least {comparisons.needed} of each are needed."
        )
    if comparisons.too_many:
        sentences.append(f"Not tested, with more than {MAX_TESTS} pairs: {join_words(comparisons.too_many)}.")
    return " ".join(sentences) or "There is nothing to test: no two lines have the same quantity at the same place."


def _smallest(pair: tuple[Group, Group], quantity: Quantity) -> float:
    """The smallest p-value that the numbers of values of a pair allow."""
    first, second = (group.estimates[quantity.name].n for group in pair)
    return smallest_p(first, second)


def _needed(pairs: int) -> int:
    """The smallest number of replicates of both sides whose smallest p-value survives the correction."""
    n = 2
    while smallest_p(n, n) * pairs >= SIGNIFICANT:
        n += 1
    return n


def _tests(pairs: list[tuple[Group, Group]], quantity: Quantity) -> list[Comparison]:
    """A test for each pair, corrected for the number of pairs."""
    ranks = [(quantity.ranks(a.included), quantity.ranks(b.included)) for a, b in pairs]
    p_values = [mann_whitney_p(*each) for each in ranks]
    tests = []
    for (a, b), each, p, corrected in zip(pairs, ranks, p_values, holm(p_values), strict=True):
        first, second = a.estimates[quantity.name], b.estimates[quantity.name]
        texts = quantity.text(first, spread=False), quantity.text(second, spread=False)
        n = first.n, second.n
        tests.append(Comparison(quantity, a.panel, (a.line, b.line), texts, n, superiority(*each), p, corrected))
    return tests


def _measured(groups: Groups, panel: str, quantity: Quantity) -> list[Group]:
    return [group for group in groups.in_panel(panel) if quantity.name in group.estimates]
