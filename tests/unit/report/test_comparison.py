"""The pairwise tests: which pairs are tested, and what the conclusion says."""

from collections.abc import Callable
from math import comb

import pytest

from undertow.config.space import Space
from undertow.report.grouping import group_results
from undertow.report.results import StudyResults
from undertow.report.statistics import holm, superiority
from undertow.report.tables.comparison import compare, comparison_table, conclusion

Make = Callable[..., StudyResults]
Grid = Callable[..., Space]


def test_every_pair_of_cells_is_tested_at_each_length(make_study: Make, make_grid: Grid) -> None:
    found = compare(group_results(make_study(make_grid(lengths=(64, 128), seeds=8))))
    losses = [each for each in found.tests if each.quantity.name == "val/loss"]
    assert len(losses) == comb(4, 2) * 2
    assert {each.n for each in losses} == {(8, 8)}


def test_cells_are_compared_by_scores_and_by_the_gradient_of_the_input(make_study: Make, make_grid: Grid) -> None:
    found = compare(group_results(make_study(make_grid(lengths=(64,), seeds=8))))
    assert {each.quantity.name for each in found.tests} == {"val/loss", "test/loss", "half-life-input"}


def test_the_correction_is_over_all_tests_of_a_quantity(make_study: Make, make_grid: Grid) -> None:
    tests = compare(group_results(make_study(make_grid(lengths=(64, 128), seeds=8)))).tests
    losses = [each for each in tests if each.quantity.name == "val/loss"]
    assert [each.corrected for each in losses] == pytest.approx(holm([each.p for each in losses]))
    assert any(each.corrected > each.p for each in losses)


def test_beside_each_test_is_its_effect_size(make_study: Make, make_grid: Grid) -> None:
    groups = group_results(make_study(make_grid(cells=("rnn", "lstm"), lengths=(64,), seeds=8)))
    test = next(each for each in compare(groups).tests if each.quantity.name == "val/loss")
    rnn, lstm = (groups.at(line, "64").included for line in ("rnn", "lstm"))  # type: ignore[union-attr]
    assert test.superiority == superiority([each.values[0] for each in rnn], [each.values[0] for each in lstm])


def test_too_few_seeds_are_not_tested_and_the_conclusion_says_how_many_are_needed(
    make_study: Make, make_grid: Grid
) -> None:
    found = compare(group_results(make_study(make_grid(cells=("rnn", "lstm"), lengths=(64, 128), seeds=3))))
    assert found.tests == ()
    assert found.needed == 5  # 2 / C(10, 5) = 0.0079, times 2 tests
    text = conclusion(found)
    assert "with so few replicates none could come out below 0.05" in text
    assert "at least 5 of each are needed" in text


def test_enough_seeds_show_a_large_difference(make_study: Make, make_grid: Grid) -> None:
    found = compare(group_results(make_study(make_grid(cells=("rnn", "lstm"), lengths=(128,), seeds=8))))
    assert max(each.corrected for each in found.tests) < 0.001
    assert "below 0.05 after the correction: 3." in conclusion(found)
    assert "cannot" not in conclusion(found)


def test_a_pair_with_a_single_run_on_one_side_is_not_tested(make_study: Make, make_grid: Grid) -> None:
    states = {f"cell.name=rnn task.length=64 seed={seed}": ("failed", "") for seed in range(1, 8)}
    space = make_grid(cells=("rnn", "lstm", "gru"), lengths=(64,), seeds=8)
    found = compare(group_results(make_study(space, states=states)))
    assert {each.lines for each in found.tests} == {("lstm", "gru")}


def test_without_replicates_there_is_no_test(make_study: Make, make_grid: Grid) -> None:
    found = compare(group_results(make_study(make_grid(seeds=1))))
    assert found.tests == ()
    assert conclusion(found).startswith("No test of val/loss")


def test_with_one_line_there_is_nothing_to_test(make_study: Make, make_grid: Grid) -> None:
    assert "nothing to test" in conclusion(compare(group_results(make_study(make_grid(cells=("rnn",))))))


def test_no_tests_are_made_beyond_the_limit(make_study: Make, make_grid: Grid) -> None:
    cells = tuple(f"cell{number}" for number in range(30))
    found = compare(group_results(make_study(make_grid(cells=cells, lengths=(8,), seeds=2))))
    assert found.tests == ()
    assert "Not tested, with more than 400 pairs: val/loss, test/loss and half-life of ∂L/∂x." in conclusion(found)


def test_the_table_has_both_sides_the_effect_and_both_p_values(make_study: Make, make_grid: Grid) -> None:
    groups = group_results(make_study(make_grid(cells=("rnn", "lstm"), lengths=(64,), seeds=5)))
    table = comparison_table(groups, compare(groups))
    row = dict(zip(table.columns, table.rows[0], strict=True))
    assert (row["pair"], row["n"], row["length"]) == ("rnn – lstm", "5 – 5", "64")
    assert {"p", "p, Holm", "P(first > second)"} <= row.keys()
