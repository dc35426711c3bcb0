"""How combinations are grouped, and which samples of a search are included."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from undertow.config.space import Range, Space
from undertow.report.grouping import group_results
from undertow.report.results import Objective, StudyResults

Make = Callable[..., StudyResults]


def test_lengths_make_panels_and_cells_make_lines(whole: StudyResults) -> None:
    groups = group_results(whole)
    assert (groups.line_name, groups.panel_name) == ("cell", "length")
    assert groups.lines == ("rnn", "lstm", "gru", "ugrnn")
    assert groups.panels == ("64", "128", "256", "512")
    assert len(groups.groups) == 16


def test_panels_ascend_in_whatever_order_they_are_written(make_study: Make, make_grid: Callable[..., Space]) -> None:
    assert group_results(make_study(make_grid(lengths=(256, 64, 1000)))).panels == ("64", "256", "1000")


def test_seeds_are_replicates(whole: StudyResults) -> None:
    group = group_results(whole).at("lstm", "64")
    assert group is not None
    assert (group.n, group.seeds, group.estimates["val/loss"].n) == ("3", "0, 1, 2", 3)
    values = [each.values[0] for each in whole.combinations if each.params["cell.name"] == "lstm"][:3]
    assert group.estimates["val/loss"].value == sorted(values)[1]


def test_without_a_length_the_second_factor_makes_the_panels(make_study: Make) -> None:
    groups = group_results(make_study(Space({"optim.lr": (0.1, 0.01), "cell.hidden_size": (8, 16)}, {})))
    assert (groups.lines, groups.panel_name, groups.panels) == (
        ("lr=0.1", "lr=0.01"),
        "hidden_size",
        ("8", "16"),
    )


def test_with_cells_and_no_length_the_other_factor_makes_the_panels(make_study: Make) -> None:
    groups = group_results(make_study(Space({"optim.lr": (0.1, 0.01), "cell.name": ("rnn", "gru")}, {})))
    assert (groups.lines, groups.panel_name, groups.panels) == (("rnn", "gru"), "lr", ("0.01", "0.1"))


def test_one_factor_makes_lines_in_one_panel(make_study: Make) -> None:
    groups = group_results(make_study(Space({"cell.name": ("rnn", "gru"), "seed": (0, 1)}, {})))
    assert (groups.lines, groups.panel_name, groups.panels) == (("rnn", "gru"), "", ("",))


def test_other_factors_are_joined_to_the_line_and_not_averaged_over(make_study: Make) -> None:
    vary = {
        "cell.name": ("rnn", "lstm"),
        "cell.options.lstm.forget_bias": (0.0, 1.0),
        "task.length": (64, 128),
        "seed": (0, 1),
    }
    groups = group_results(make_study(Space(vary, {})))
    assert groups.line_name == "cell · forget_bias"
    assert groups.lines == ("rnn", "lstm · forget_bias=0", "lstm · forget_bias=1")
    assert {group.n for group in groups.groups} == {"2"}


def test_where_no_cell_is_varied_the_only_line_is_the_cell(make_study: Make) -> None:
    groups = group_results(make_study(Space({"task.length": (64, 128)}, {}, base={"cell.name": "gru"})))
    assert (groups.lines, groups.panels) == (("gru",), ("64", "128"))


def test_n_gives_the_included_of_the_planned_combinations(whole: StudyResults) -> None:
    groups = group_results(whole)
    rnn, gru = groups.at("rnn", "512"), groups.at("gru", "512")
    assert rnn is not None
    assert gru is not None
    assert (rnn.n, rnn.excluded, rnn.estimates) == ("0 of 3", "2 pruned, 1 missing", {})
    assert (gru.n, gru.excluded, gru.seeds) == ("2 of 3", "1 failed", "0, 2")


@pytest.mark.parametrize(("direction", "best"), [("minimize", min), ("maximize", max)])
def test_a_search_is_represented_by_its_best_sample_at_each_seed(
    make_study: Make, make_grid: Callable[..., Space], direction: str, best: Callable[..., float]
) -> None:
    space = make_grid(cells=("rnn", "gru"), lengths=(64,), seeds=2, samples=5)
    results = make_study(space, objectives=(Objective("val/accuracy", direction),))  # type: ignore[arg-type]
    group = group_results(results).at("rnn", "64")
    assert group is not None
    rnn = [each for each in results.combinations if each.params["cell.name"] == "rnn"]
    by_seed = [best(each.values[0] for each in rnn if each.params["seed"] == seed) for seed in (0, 1)]
    assert [each.values[0] for each in group.included] == by_seed
    assert group.n == "2"
    assert group.estimates["val/accuracy"].value == pytest.approx(sum(by_seed) / 2)


def test_a_search_alone_is_one_group_of_its_best_sample(make_study: Make) -> None:
    search = {"optim.lr": Range(low=1e-4, high=1e-2, log=True)}
    results = make_study(Space({}, search, 20, {"cell.name": "gru"}))
    (group,) = group_results(results).groups
    assert [each.values[0] for each in group.included] == [min(each.values[0] for each in results.combinations)]
    assert len(group.complete) == 20


def test_a_failed_sample_does_not_hide_the_complete_ones(make_study: Make) -> None:
    search = {"optim.lr": Range(low=1e-4, high=1e-2, log=True)}
    results = make_study(Space({"seed": (0,)}, search, 3), states={"seed=0": ("failed", "boom")})
    (group,) = group_results(results).groups
    assert (group.n, group.excluded) == ("1", "1 failed")


def test_numbers_that_differ_in_a_late_digit_make_groups_of_their_own(make_study: Make) -> None:
    groups = group_results(make_study(Space({"optim.lr": (0.12345678, 0.12345679), "seed": (0, 1)}, {})))
    assert groups.lines == ("lr=0.12345678", "lr=0.12345679")
    assert [groups.at(line, "") for line in groups.lines] == list(groups.groups)


def test_a_stored_infinity_is_never_the_best_sample(make_study: Make, make_grid: Callable[..., Space]) -> None:
    space = make_grid(cells=("rnn",), lengths=(64,), seeds=1, samples=3)
    results = make_study(space, objectives=(Objective("val/accuracy", "maximize"),))
    first, *rest = results.combinations
    infinite = replace(first, values=(1.7976931348623157e308,))
    (group,) = group_results(replace(results, combinations=(infinite, *rest))).groups
    assert group.included[0] in rest
    assert "val/accuracy" in group.estimates
