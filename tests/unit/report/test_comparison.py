"""The pairwise tests: which pairs are tested, and what the conclusion says."""

from collections.abc import Callable
from math import comb

import pytest

from undertow.config.space import Space
from undertow.report.grouping import group_results
from undertow.report.results import StudyResults
from undertow.report.statistics import holm
from undertow.report.tables.comparison import compare, comparison_table, conclusion

Make = Callable[..., StudyResults]
Grid = Callable[..., Space]


def test_every_pair_of_cells_is_tested_at_each_length(make_study: Make, make_grid: Grid) -> None:
    found = compare(group_results(make_study(make_grid(lengths=(64, 128)))))
    losses = [each for each in found.tests if each.quantity.name == "val/loss"]
    assert len(losses) == comb(4, 2) * 2
    assert {each.n for each in losses} == {(3, 3)}
    assert {each.smallest for each in losses} == {0.1}


def test_only_lines_that_have_a_part_are_compared_by_it(make_study: Make, make_grid: Grid) -> None:
    found = compare(group_results(make_study(make_grid(lengths=(64,)))))
    assert {each.quantity.name for each in found.tests} == {"val/loss", "half-life-h"}


def test_the_correction_is_over_all_tests_of_a_quantity(make_study: Make, make_grid: Grid) -> None:
    tests = compare(group_results(make_study(make_grid(lengths=(64, 128), seeds=5)))).tests
    losses = [each for each in tests if each.quantity.name == "val/loss"]
    assert [each.corrected for each in losses] == pytest.approx(holm([each.p for each in losses]))
    assert any(each.corrected > each.p for each in losses)


def test_the_conclusion_of_few_seeds_says_that_they_cannot_show_a_difference(make_study: Make, make_grid: Grid) -> None:
    text = conclusion(compare(group_results(make_study(make_grid(lengths=(64,))))))
    assert "below 0.05 after the correction: none" in text
    assert "cannot give a p-value below 0.1" in text


def test_enough_seeds_show_a_large_difference(make_study: Make, make_grid: Grid) -> None:
    found = compare(group_results(make_study(make_grid(cells=("rnn", "lstm"), lengths=(128,), seeds=8))))
    assert max(each.corrected for each in found.tests) < 0.001
    assert "below 0.05 after the correction: 2." in conclusion(found)
    assert "cannot give" not in conclusion(found)


def test_a_single_run_is_not_tested_and_the_conclusion_says_so(make_study: Make, make_grid: Grid) -> None:
    states = {f"cell.name=rnn task.length=64 seed={seed}": ("failed", "") for seed in (1, 2)}
    found = compare(group_results(make_study(make_grid(cells=("rnn", "lstm", "gru"), lengths=(64,)), states=states)))
    assert {each.lines for each in found.tests} == {("lstm", "gru")}
    assert found.untested == 4  # rnn with lstm and with gru, by loss and by half-life
    assert "4 pairs had a single run on one side" in conclusion(found)


def test_without_replicates_there_is_no_test(make_study: Make, make_grid: Grid) -> None:
    found = compare(group_results(make_study(make_grid(seeds=1))))
    assert found.tests == ()
    assert conclusion(found).startswith("No test could be made")


def test_no_tests_are_made_beyond_the_limit(make_study: Make, make_grid: Grid) -> None:
    cells = tuple(f"cell{number}" for number in range(30))
    found = compare(group_results(make_study(make_grid(cells=cells, lengths=(8,), seeds=2))))
    assert found.tests == ()
    assert "Not tested, with more than 400 pairs: val/loss and half-life of h." in conclusion(found)


def test_the_table_has_both_sides_and_both_p_values(make_study: Make, make_grid: Grid) -> None:
    groups = group_results(make_study(make_grid(cells=("rnn", "lstm"), lengths=(64,))))
    table = comparison_table(groups, compare(groups))
    row = dict(zip(table.columns, table.rows[0], strict=True))
    assert (row["pair"], row["n"], row["length"]) == ("rnn – lstm", "3 – 3", "64")
    assert {"p", "p, Holm", "smallest p possible"} <= row.keys()
