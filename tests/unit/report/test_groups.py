"""How runs are arranged in groups, and what of a search counts."""

from collections.abc import Callable

import pytest

from undertow.config.space import Range, Space
from undertow.report.groups import arrange
from undertow.report.results import Objective, StudyResults

Make = Callable[..., StudyResults]


def test_lengths_make_panels_and_cells_make_lines(whole: StudyResults) -> None:
    digest = arrange(whole)
    assert (digest.line_name, digest.panel_name) == ("cell", "length")
    assert digest.lines == ("rnn", "lstm", "gru", "ugrnn")
    assert digest.panels == ("64", "128", "256", "512")
    assert len(digest.groups) == 16


def test_panels_ascend_however_they_are_written(make_study: Make, make_grid: Callable[..., Space]) -> None:
    assert arrange(make_study(make_grid(lengths=(256, 64, 1000)))).panels == ("64", "256", "1000")


def test_seeds_are_replicates(whole: StudyResults) -> None:
    group = arrange(whole).at("lstm", "64")
    assert group is not None
    assert (group.n, group.seeds, group.estimates["val/loss"].n) == ("3", "0, 1, 2", 3)
    values = [trial.values[0] for trial in whole.combinations if trial.params["cell.name"] == "lstm"][:3]
    assert group.estimates["val/loss"].value == pytest.approx(sum(values) / 3)


def test_without_a_length_the_second_factor_makes_the_panels(make_study: Make) -> None:
    digest = arrange(make_study(Space({"optim.lr": (0.1, 0.01), "cell.hidden_size": (8, 16)}, {})))
    assert (digest.lines, digest.panel_name, digest.panels) == (
        ("lr=0.1", "lr=0.01"),
        "hidden_size",
        ("8", "16"),
    )


def test_with_cells_and_no_length_the_other_factor_makes_the_panels(make_study: Make) -> None:
    digest = arrange(make_study(Space({"optim.lr": (0.1, 0.01), "cell.name": ("rnn", "gru")}, {})))
    assert (digest.lines, digest.panel_name, digest.panels) == (("rnn", "gru"), "lr", ("0.01", "0.1"))


def test_one_factor_makes_lines_in_one_panel(make_study: Make) -> None:
    digest = arrange(make_study(Space({"cell.name": ("rnn", "gru"), "seed": (0, 1)}, {})))
    assert (digest.lines, digest.panel_name, digest.panels) == (("rnn", "gru"), "", ("",))


def test_what_is_varied_besides_is_joined_to_the_line_and_averaged_over_nothing(make_study: Make) -> None:
    vary = {
        "cell.name": ("rnn", "lstm"),
        "cell.options.lstm.forget_bias": (0.0, 1.0),
        "task.length": (64, 128),
        "seed": (0, 1),
    }
    digest = arrange(make_study(Space(vary, {})))
    assert digest.line_name == "cell · forget_bias"
    assert digest.lines == ("rnn", "lstm · forget_bias=0", "lstm · forget_bias=1")
    assert {group.n for group in digest.groups} == {"2"}


def test_where_no_cell_is_varied_the_line_is_the_one_cell_there_is(make_study: Make) -> None:
    digest = arrange(make_study(Space({"task.length": (64, 128)}, {}, base={"cell.name": "gru"})))
    assert (digest.lines, digest.panels) == (("gru",), ("64", "128"))


def test_what_is_missing_is_counted_against_what_was_planned(whole: StudyResults) -> None:
    digest = arrange(whole)
    rnn, gru = digest.at("rnn", "512"), digest.at("gru", "512")
    assert rnn is not None
    assert gru is not None
    assert (rnn.n, rnn.left_out, rnn.estimates) == ("0 of 3", "2 pruned, 1 missing", {})
    assert (gru.n, gru.left_out, gru.seeds) == ("2 of 3", "1 failed", "0, 2")


@pytest.mark.parametrize(("direction", "best"), [("minimize", min), ("maximize", max)])
def test_of_a_search_the_best_sample_at_each_seed_counts_and_no_mean_over_samples(
    make_study: Make, make_grid: Callable[..., Space], direction: str, best: Callable[..., float]
) -> None:
    space = make_grid(cells=("rnn", "gru"), lengths=(64,), seeds=2, samples=5)
    results = make_study(space, objectives=(Objective("val/accuracy", direction),))  # type: ignore[arg-type]
    group = arrange(results).at("rnn", "64")
    assert group is not None
    rnn = [trial for trial in results.combinations if trial.params["cell.name"] == "rnn"]
    by_seed = [best(trial.values[0] for trial in rnn if trial.params["seed"] == seed) for seed in (0, 1)]
    assert [trial.values[0] for trial in group.counted] == by_seed
    assert group.n == "2"
    assert group.estimates["val/accuracy"].value == pytest.approx(sum(by_seed) / 2)


def test_a_search_alone_is_one_group_of_its_best_sample(make_study: Make) -> None:
    search = {"optim.lr": Range(low=1e-4, high=1e-2, log=True)}
    results = make_study(Space({}, search, 20, {"cell.name": "gru"}))
    (group,) = arrange(results).groups
    assert [trial.values[0] for trial in group.counted] == [min(trial.values[0] for trial in results.combinations)]
    assert len(group.complete) == 20


def test_a_failed_sample_does_not_hide_the_complete_ones(make_study: Make) -> None:
    search = {"optim.lr": Range(low=1e-4, high=1e-2, log=True)}
    results = make_study(Space({"seed": (0,)}, search, 3), states={"seed=0": ("failed", "boom")})
    (group,) = arrange(results).groups
    assert (group.n, group.left_out) == ("1", "1 failed")
