"""The charts: what each one draws, and its caption where nothing can be drawn."""

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import optuna
import pytest

from undertow.config.space import Space
from undertow.report import figures
from undertow.report.charts.chart import standalone_figure
from undertow.report.charts.costs import cost_charts, pareto_front
from undertow.report.charts.curves import align, centre_curve
from undertow.report.charts.extrapolation import extrapolation_charts
from undertow.report.charts.half_life import half_life_charts
from undertow.report.charts.heatmaps import heatmap, heatmap_charts
from undertow.report.charts.learning import learning_charts
from undertow.report.charts.narrow import narrow_layout
from undertow.report.charts.optuna import optuna_charts
from undertow.report.charts.profiles import profile_charts
from undertow.report.charts.scores import score_charts
from undertow.report.charts.sections import Section, sections
from undertow.report.charts.style import DASHES, line_style, log_ticks
from undertow.report.charts.training import training_charts
from undertow.report.grouping import group_results
from undertow.report.results import CombinationResult, Objective, StudyResults

Make = Callable[..., StudyResults]
Grid = Callable[..., Space]


def boxes(figure: Any) -> dict[tuple[str, str], str]:
    """The text of each box of a heat map, by line and panel."""
    lines, panels = figure.layout.yaxis.ticktext, figure.layout.xaxis.ticktext
    return {(lines[int(each.y)], panels[int(each.x)]): each.text for each in figure.layout.annotations}


def curve(values: list[float], lags: list[int] | None = None) -> CombinationResult:
    lags = lags or list(range(1, len(values) + 1))
    return CombinationResult({}, 0, "complete", curves={"gradient/h/by_lag": (lags, values)})


def named_section(results: StudyResults, name: str) -> Section:
    return next(each for each in sections(group_results(results)) if each.name == name)


# --- other lengths ---------------------------------------------------------------------------------------------------


def test_scores_at_other_lengths_have_a_chart_each_and_a_section_only_where_measured(
    whole: StudyResults,
) -> None:
    assert not extrapolation_charts(group_results(whole))
    assert "lengths" not in [section.name for section in sections(group_results(whole))]
    by_length = {"val/loss/by_length": ([50, 100, 400], [0.1, 0.2, 0.9])}
    measured = tuple(replace(each, curves=by_length if each.curves else {}) for each in whole.combinations)
    groups = group_results(replace(whole, combinations=measured))
    (section,) = [each for each in sections(groups) if each.name == "lengths"]
    (chart,) = section.charts
    assert chart.title == "val/loss at other lengths"
    assert chart.figure is not None
    lines = [trace for trace in chart.figure.data if trace.fill is None]
    assert len(lines) == 15
    assert all(list(trace.x) == [50, 100, 400] for trace in lines)
    assert all(list(trace.y) == pytest.approx([0.1, 0.2, 0.9]) for trace in lines)


def test_panels_beyond_the_limit_are_named_in_the_caption_of_scores_at_other_lengths(
    make_study: Make, make_grid: Grid
) -> None:
    results = make_study(make_grid(cells=("rnn",), lengths=tuple(range(10, 25)), seeds=1))
    by_length = {"val/loss/by_length": ([50, 100], [0.1, 0.2])}
    measured = tuple(replace(each, curves=by_length) for each in results.combinations)
    (chart,) = extrapolation_charts(group_results(replace(results, combinations=measured)))
    assert "The first 12 of 15 panels are drawn" in chart.caption


def test_titles_are_plain_text_and_escaped_once_in_a_figure(whole: StudyResults) -> None:
    by_length = {"val/<b>/by_length": ([50, 100, 400], [0.1, 0.2, 0.9])}
    measured = tuple(replace(each, curves=by_length if each.curves else {}) for each in whole.combinations)
    (chart,) = extrapolation_charts(group_results(replace(whole, combinations=measured)))
    assert chart.title == "val/<b> at other lengths"
    assert standalone_figure(chart).layout.title.text == "val/&lt;b&gt; at other lengths"


# --- profiles --------------------------------------------------------------------------------------------------------


def test_each_state_part_has_a_profile_chart_with_a_panel_for_each_length(whole: StudyResults) -> None:
    x, h, c = profile_charts(group_results(whole))
    assert (x.name, h.name, c.name) == ("profile-input", "profile-h", "profile-c")
    assert "the input of the step" in x.caption
    assert "describes one cell" in h.caption
    assert "Lines: median over seeds; bands: range (n = " in x.caption
    assert h.figure is not None
    assert c.figure is not None
    assert [title.text for title in h.figure.layout.annotations] == [f"length {n}" for n in (64, 128, 256, 512)]
    assert {trace.legendgroup for trace in h.figure.data} == {"rnn", "lstm", "gru", "ugrnn"}
    assert {trace.legendgroup for trace in c.figure.data} == {"lstm"}


def test_each_line_has_a_band_and_one_legend_entry(whole: StudyResults) -> None:
    figure = profile_charts(group_results(whole))[0].figure
    assert figure is not None
    lines = [trace for trace in figure.data if trace.fill is None]
    bands = [trace for trace in figure.data if trace.fill == "toself"]
    assert len(lines) == len(bands) == 15  # four cells at four lengths, one of them without a complete run
    assert sorted(trace.name for trace in lines if trace.showlegend) == ["gru", "lstm", "rnn", "ugrnn"]


def test_a_single_run_has_no_band(make_study: Make, make_grid: Grid) -> None:
    figure = profile_charts(group_results(make_study(make_grid(seeds=1))))[0].figure
    assert figure is not None
    assert not any(trace.fill for trace in figure.data)


def test_the_centre_is_taken_of_logarithms_at_the_lags_that_all_runs_have() -> None:
    runs = [curve([0.0, -2.0, -8.0], [1, 2, 9]), curve([-1.0, -3.0, -4.0], [1, 2, 4])]
    found = centre_curve(runs, "gradient/h/by_lag")
    assert found is not None
    assert (found.steps, found.centre, found.n) == ([1, 2], [-0.5, -2.5], 2)
    assert (found.low, found.high) == ([-1.0, -3.0], [0.0, -2.0])


def test_a_lag_where_a_run_has_no_finite_value_is_left_out() -> None:
    lags, values = align([([1, 2, 3], [0.0, math.nan, -1.0]), ([1, 2, 3], [0.0, -1.0, 1.7e308])])
    assert lags == [1]
    assert values.tolist() == [[0.0], [0.0]]


def test_runs_without_a_common_lag_have_no_centre_curve() -> None:
    assert centre_curve([curve([0.0], [1]), curve([0.0], [2])], "gradient/h/by_lag") is None
    assert centre_curve([curve([], [])], "gradient/h/by_lag") is None


def test_lines_beyond_the_limit_are_not_drawn_and_the_caption_says_so(make_study: Make, make_grid: Grid) -> None:
    results = make_study(make_grid(cells=tuple(f"cell{number}" for number in range(20)), lengths=(8,)))
    chart = profile_charts(group_results(results))[0]
    assert chart.figure is not None
    assert len({trace.legendgroup for trace in chart.figure.data}) == 16
    assert "The first 16 of 20 lines are drawn" in chart.caption


def test_a_legend_of_several_rows_makes_the_chart_taller_and_leaves_the_plots_their_size(
    make_study: Make, make_grid: Grid
) -> None:
    few, many = (
        named_section(make_study(make_grid(cells=cells, seeds=1)), "profiles").charts[0]
        for cells in (("rnn", "gru"), tuple(f"a-cell-with-a-long-name-{number}" for number in range(12)))
    )
    assert few.figure is not None
    assert many.figure is not None
    short, tall = few.figure.layout, many.figure.layout
    assert tall.height > short.height + 40
    assert tall.height - tall.margin.t == short.height - short.margin.t


def test_lines_differ_in_dash_as_well_as_in_colour() -> None:
    styles = [line_style(index) for index in range(35)]
    assert len({(each.colour, each.dash) for each in styles}) == 35
    assert len({each.dash for each in styles[:5]}) == len(DASHES)
    assert styles[0].band == "rgba(0,114,178,0.16)"


# --- heat maps -------------------------------------------------------------------------------------------------------


def test_every_box_has_its_value_and_n(whole: StudyResults) -> None:
    groups = group_results(whole)
    by_name = {chart.name: chart for chart in heatmap_charts(groups)}
    assert list(by_name) == [
        *("val-loss", "test-loss", "half-life-input", "tenth-life-input", "reach-input", "at-cue-input"),
    ]
    texts = boxes(by_name["val-loss"].figure)
    group = groups.at("lstm", "128")
    assert group is not None
    assert f"<b>{group.estimates['val/loss'].value:.3g}</b>" in texts["lstm", "128"]
    assert "n = 3" in texts["lstm", "128"]
    assert "n = 2 of 3" in texts["gru", "512"]


def test_a_box_without_a_value_lists_the_states(whole: StudyResults) -> None:
    texts = boxes(heatmap_charts(group_results(whole))[0].figure)
    assert texts["rnn", "512"] == "<i>2 pruned<br>1 missing</i>"


def test_a_lag_beyond_the_window_is_written_into_the_box(make_study: Make, make_grid: Grid) -> None:
    grows = tuple(f"cell.name=gru task.length=64 seed={seed}" for seed in range(3))
    results = make_study(make_grid(lengths=(64, 128)), grows=(*grows, "cell.name=gru task.length=128 seed=0"))
    texts = boxes(
        next(chart for chart in heatmap_charts(group_results(results)) if chart.name == "half-life-input").figure
    )
    assert texts["gru", "64"].startswith("<b>&gt; 63</b>")
    assert "n = 3, 1 beyond" in texts["gru", "128"]
    assert "beyond" not in texts["rnn", "64"]


def test_cells_that_were_not_measured_are_named_in_the_caption(whole: StudyResults) -> None:
    bare = tuple(
        each if each.params["cell.name"] == "lstm" else replace(each, metrics={}) for each in whole.combinations
    )
    charts = heatmap_charts(group_results(replace(whole, combinations=bare)))
    chart = next(chart for chart in charts if chart.name == "reach-input")
    assert "Not measured for" in chart.caption
    assert {"gru", "ugrnn"}.isdisjoint(line for line, _ in boxes(chart.figure))


def test_yellow_is_the_better_end_of_an_objective(make_study: Make, make_grid: Grid) -> None:
    objectives = (Objective("val/loss", "minimize"), Objective("val/accuracy", "maximize"))
    loss, accuracy, *_ = heatmap_charts(group_results(make_study(make_grid(lengths=(64,)), objectives=objectives)))
    assert loss.figure is not None
    assert accuracy.figure is not None
    assert loss.figure.data[0].reversescale
    assert not accuracy.figure.data[0].reversescale


# --- training --------------------------------------------------------------------------------------------------------


def test_training_is_shown_for_each_cell_at_its_longest_complete_length(whole: StudyResults) -> None:
    _, h, c = training_charts(group_results(whole))
    assert h.figure is not None
    assert c.figure is not None
    assert [title.text for title in h.figure.layout.annotations] == [
        *("rnn · length 256", "lstm · length 512", "gru · length 512", "ugrnn · length 512"),
    ]
    assert list(h.figure.data[1].y) == [*range(0, 500, 50), 500]
    assert len(c.figure.data) == 1


def test_training_shows_the_centre_over_seeds(make_study: Make, make_grid: Grid) -> None:
    results = make_study(make_grid(cells=("rnn",), lengths=(64,), seeds=2))
    chart = training_charts(group_results(results))[0]
    assert chart.figure is not None
    first = [each.history["gradient/input/by_lag"][0][0] for each in results.combinations]
    assert chart.figure.data[0].z[0][0] == pytest.approx(sum(first) / 2)


def test_a_profile_measured_once_has_no_training_map(make_study: Make, make_grid: Grid) -> None:
    results = make_study(make_grid(cells=("rnn",), lengths=(64,)))
    once = tuple(replace(each, history={}) for each in results.combinations)
    for chart in training_charts(group_results(replace(results, combinations=once))):
        assert chart.figure is None
        assert chart.caption == "No complete run measured it more than once."


def test_a_profile_may_start_at_lag_0(make_study: Make, make_grid: Grid) -> None:
    name = "gradient/h/by_lag"
    results = make_study(make_grid(cells=("rnn",), lengths=(64,), seeds=1))
    (run,) = results.combinations
    lags, values = run.curves[name]
    history = {step: [0.0, *earlier] for step, earlier in run.history[name].items()}
    run = replace(run, curves={name: ([0, *lags], [0.0, *values])}, history={name: history})
    _, chart = training_charts(group_results(replace(results, combinations=(run,))))
    assert chart.figure is not None
    assert chart.figure.layout.xaxis.ticktext[:2] == ("0", "4")


def test_a_gradient_below_the_range_of_colours_has_the_darkest_one(make_study: Make, make_grid: Grid) -> None:
    name = "gradient/h/by_lag"
    results = make_study(make_grid(cells=("rnn",), lengths=(64,), seeds=1))
    (run,) = results.combinations
    lags, _ = run.curves[name]
    history = {step: [-50.0] * len(lags) for step in run.history[name]}
    run = replace(run, curves={name: (lags, [-50.0] * len(lags))}, history={name: history})
    _, chart = training_charts(group_results(replace(results, combinations=(run,))))
    assert chart.figure is not None
    assert (chart.figure.layout.coloraxis.cmin, chart.figure.layout.coloraxis.cmax) == (-16, -15)


# --- scores and costs ------------------------------------------------------------------------------------------------


def test_the_score_is_drawn_at_the_lengths_with_its_interval(whole: StudyResults) -> None:
    chart, tested = score_charts(group_results(whole))
    assert tested.name == "test-loss-by-length"
    assert chart.figure is not None
    rnn = next(trace for trace in chart.figure.data if trace.name == "rnn" and trace.mode == "lines+markers")
    assert list(rnn.x) == [64, 128, 256]
    assert len(rnn.error_y.array) == 3
    assert chart.figure.layout.xaxis.type == "log"


def test_an_interval_that_ends_at_0_is_drawn_to_its_end(make_study: Make, make_grid: Grid) -> None:
    results = make_study(make_grid(cells=("rnn",), lengths=(64, 128), seeds=2))
    scored = tuple(replace(each, values=(float(str(each.params["seed"])),)) for each in results.combinations)
    chart, _ = score_charts(group_results(replace(results, combinations=scored)))
    assert chart.figure is not None
    (mean,) = [trace for trace in chart.figure.data if trace.error_y.array is not None]
    assert list(mean.error_y.arrayminus) == list(mean.error_y.array) == [0.5, 0.5]


def test_a_loss_is_drawn_with_the_trivial_loss_of_the_task(make_study: Make, make_grid: Grid) -> None:
    objectives = (Objective("val/loss", "minimize"), Objective("val/accuracy", "maximize"))
    results = make_study(make_grid(lengths=(64, 128), seeds=1), objectives=objectives)
    loss, accuracy, _ = score_charts(group_results(results))
    assert loss.figure is not None
    assert accuracy.figure is not None
    (trivial,) = [trace for trace in loss.figure.data if trace.name == "guessing"]
    assert list(trivial.x) == [64, 128]
    assert list(trivial.y) == [math.log(10)] * 2
    assert "ignores the input" in loss.caption
    assert "guessing" not in {trace.name for trace in accuracy.figure.data}


def test_without_lengths_the_score_is_drawn_by_cell(make_study: Make) -> None:
    chart, _ = score_charts(group_results(make_study(Space({"cell.name": ("rnn", "gru"), "seed": (0, 1)}, {}))))
    assert chart.figure is not None
    assert list(chart.figure.layout.xaxis.ticktext) == ["rnn", "gru"]


def test_runs_beyond_the_window_are_drawn_beyond_the_longest_half_life(whole: StudyResults) -> None:
    (chart,) = half_life_charts(group_results(whole))
    assert chart.figure is not None
    axis = chart.figure.layout.xaxis
    place = dict(zip(axis.ticktext, axis.tickvals, strict=True))["beyond"]
    drawn = [(trace.name, x) for trace in chart.figure.data if trace.xaxis == "x" for x in trace.x]
    assert "gru" in [name for name, x in drawn if x == place]
    assert max(x for _, x in drawn) == place
    assert len(drawn) == 44


def test_every_sample_of_a_search_has_a_mark(make_study: Make, make_grid: Grid) -> None:
    groups = group_results(make_study(make_grid(cells=("rnn", "gru"), lengths=(64,), seeds=2, samples=6)))
    (chart,) = half_life_charts(groups)
    (cost,) = cost_charts(groups)
    assert chart.figure is not None
    assert cost.figure is not None
    assert sum(len(trace.x) for trace in chart.figure.data) == 24
    marks = [trace for trace in cost.figure.data if trace.mode == "markers" and trace.xaxis == "x"]
    assert sum(len(trace.x) for trace in marks) == 24


def test_costs_are_drawn_by_kind_and_length(whole: StudyResults) -> None:
    (chart,) = cost_charts(group_results(whole))
    assert chart.figure is not None
    titles = {axis.title.text for axis in chart.figure.select_xaxes()}
    assert titles == {"parameters", "activation bytes", "ms per training step"}
    assert len(list(chart.figure.select_xaxes())) == 12


def test_without_measured_costs_there_is_no_chart(make_study: Make, make_grid: Grid) -> None:
    results = make_study(make_grid(cells=("rnn",), lengths=(64,)))
    bare = tuple(replace(each, metrics={}) for each in results.combinations)
    assert cost_charts(group_results(replace(results, combinations=bare))) == []


@pytest.mark.parametrize("cost", [math.inf, math.nan])
def test_a_cost_that_is_not_finite_is_not_drawn(make_study: Make, make_grid: Grid, cost: float) -> None:
    results = make_study(make_grid(cells=("rnn", "gru"), lengths=(64,), seeds=1))
    rnn, gru = results.combinations
    broken = replace(rnn, metrics=rnn.metrics | {"cost/activation_bytes": cost})  # type: ignore[operator]
    (chart,) = cost_charts(group_results(replace(results, combinations=(broken, gru))))
    assert chart.figure is not None
    assert [len(trace.x) for trace in chart.figure.data if trace.mode == "markers"] == [1, 1, 1, 1, 1]


def test_the_pareto_front_has_the_points_that_no_other_improves_on() -> None:
    points = [(1.0, 9.0), (2.0, 5.0), (2.0, 4.0), (3.0, 6.0), (4.0, 4.0), (5.0, 1.0)]
    assert pareto_front(points, "low") == [(1.0, 9.0), (2.0, 4.0), (5.0, 1.0)]
    assert pareto_front(points, "high") == [(1.0, 9.0)]


def test_ticks_of_a_logarithmic_axis_are_round() -> None:
    assert log_ticks(0.5, 2000) == [1, 10, 100, 1000]
    assert log_ticks(3, 70) == [5, 10, 20, 50]
    assert log_ticks(110, 190) == [150]


# --- Optuna's charts -------------------------------------------------------------------------------------------------


def test_optuna_draws_importances_history_slices_and_parallel_coordinates(make_study: Make, make_grid: Grid) -> None:
    charts = optuna_charts(make_study(make_grid(lengths=(64, 256))))
    assert [chart.name for chart in charts] == ["importances", "history", "slice", "parallel"]
    assert all(chart.figure is not None for chart in charts)
    assert "fANOVA" in charts[0].title


def test_several_objectives_have_a_chart_each_and_a_front(make_study: Make, make_grid: Grid) -> None:
    objectives = (Objective("val/loss", "minimize"), Objective("val/accuracy", "maximize"))
    charts = optuna_charts(make_study(make_grid(lengths=(64, 256)), objectives=objectives))
    assert [chart.name for chart in charts][:3] == ["pareto", "importances-val-loss", "history-val-loss"]
    assert len(charts) == 9
    assert all(chart.figure is not None for chart in charts)


def test_importances_find_the_factor_that_matters(make_study: Make, make_grid: Grid) -> None:
    importances = optuna_charts(make_study(make_grid(lengths=(64, 128), seeds=5)))[0].figure
    assert importances is not None
    shares = dict(zip(importances.data[0].y, importances.data[0].x, strict=True))
    assert max(shares, key=lambda name: shares[name]) == "cell"
    assert shares["seed"] < 0.05


def test_importances_of_many_cells_take_no_longer_than_of_few(make_study: Make, make_grid: Grid) -> None:
    # With a column for each choice Optuna would visit 2 ** 30 subsets.
    results = make_study(make_grid(cells=tuple(f"cell{n}" for n in range(30)), lengths=(64,), seeds=2))
    assert optuna_charts(results)[0].figure is not None


def test_one_complete_run_is_too_few_for_optunas_charts(make_study: Make) -> None:
    (chart,) = optuna_charts(make_study(Space({"cell.name": ("rnn",)}, {})))
    assert (chart.figure, chart.caption) == (None, "1 complete run: too few to draw.")


def test_runs_that_are_all_alike_have_no_optuna_charts(make_study: Make) -> None:
    results = make_study(Space({"cell.name": ("rnn",)}, {}))
    study = optuna.create_study()
    study.add_trials(results.study.get_trials() * 3)
    (chart,) = optuna_charts(replace(results, study=study))
    assert (chart.figure, chart.caption) == (None, "No parameter varies over the complete runs.")


def test_an_error_in_optuna_is_shown_in_the_caption_and_the_other_charts_are_drawn(
    make_study: Make, make_grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("broken <here>")

    monkeypatch.setattr("optuna.visualization.plot_slice", fail)
    charts = {chart.name: chart for chart in optuna_charts(make_study(make_grid(lengths=(64,))))}
    assert charts["slice"].figure is None
    assert charts["slice"].caption == "Optuna could not draw this: RuntimeError: broken <here>"
    assert charts["history"].figure is not None


def test_optunas_figures_show_names_as_they_are_written(make_study: Make) -> None:
    results = make_study(Space({"cell.name": ("<b>bold</b>", "rnn"), "task.length": (64, 128)}, {}))
    for chart in optuna_charts(results):
        assert chart.figure is not None
        assert "<b>bold" not in json.dumps(json.loads(chart.figure.to_json())), chart.name


def test_lines_of_parallel_coordinates_stand_out_from_the_page(make_study: Make, make_grid: Grid) -> None:
    chart = optuna_charts(make_study(make_grid(lengths=(64, 256))))[3]
    assert chart.figure is not None
    by_loss = sorted((trace.y[0], trace.line.color) for trace in chart.figure.data if trace.mode == "lines")
    colours = [[int(part) for part in re.findall(r"\d+", colour)] for _, colour in by_loss]
    assert colours[0][:2] > [200, 200]  # yellow is better: the smallest loss
    assert colours[-1] == [0, 32, 76] or max(colours[-1]) < 130
    assert max(sum(each) for each in colours) < 3 * 190  # white is 3 * 255


# --- all of them -----------------------------------------------------------------------------------------------------


def test_figures_are_returned_by_name_with_their_title(whole: StudyResults) -> None:
    found = figures(whole)
    assert {
        "profile-input",
        "profile-c",
        "half-life-input",
        "training-h",
        "val-loss-by-length",
        "history",
    } <= found.keys()
    assert found["profile-h"].layout.title.text == "∂L/∂h by lag"


def test_names_of_charts_are_unique(make_study: Make, make_grid: Grid) -> None:
    objectives = (Objective("val/loss", "minimize"), Objective("val/accuracy", "maximize"))
    results = make_study(make_grid(lengths=(64, 128)), objectives=objectives)
    names = [chart.name for section in sections(group_results(results)) for chart in section.charts]
    assert len(set(names)) == len(names)


def test_charts_of_metrics_that_differ_in_case_have_names_of_their_own(make_study: Make, make_grid: Grid) -> None:
    objectives = (Objective("val/loss", "minimize"), Objective("val/accuracy", "maximize"))
    results = make_study(make_grid(cells=("rnn", "gru"), lengths=(64, 128)), objectives=objectives)
    results = replace(results, objectives=(Objective("val/f1", "maximize"), Objective("val/F1", "maximize")))
    names = [chart.name for section in sections(group_results(results)) for chart in section.charts]
    assert len(set(names)) == len(names)
    assert {"val-f1", "val-f1-2"} <= set(names)


# --- learning curves -------------------------------------------------------------------------------------------------


def test_both_losses_have_a_row_and_each_length_a_column(whole: StudyResults) -> None:
    (chart,) = learning_charts(group_results(whole))
    assert chart.figure is not None
    assert [axis.title.text for axis in chart.figure.select_yaxes(col=1)] == ["training loss", "validation loss"]
    lines = [trace for trace in chart.figure.data if trace.fill is None]
    assert len(lines) == 2 * 15  # of 16 groups one has no complete run
    assert {len(trace.x) for trace in lines} == {21, 6}
    assert len({trace.line.color for trace in lines}) == 4
    assert "median over seeds; bands: range" in chart.caption
    assert [trace.name for trace in chart.figure.data if trace.showlegend] == ["rnn", "lstm", "gru", "ugrnn"]


def test_learning_curves_have_a_line_at_the_loss_of_guessing(whole: StudyResults) -> None:
    (chart,) = learning_charts(group_results(whole))
    assert chart.figure is not None
    assert {shape.y0 for shape in chart.figure.layout.shapes} == {math.log(10)}
    assert len(chart.figure.layout.shapes) == 8


def test_a_study_that_recorded_no_losses_by_step_has_no_learning_curves(whole: StudyResults) -> None:
    without = tuple(replace(each, curves={}) for each in whole.combinations)
    section = named_section(replace(whole, combinations=without), "learning")
    assert not section.charts
    assert "No run recorded its losses by step" in section.empty


# --- guessing --------------------------------------------------------------------------------------------------------


def test_every_chart_of_scores_marks_guessing(make_study: Make, make_grid: Grid) -> None:
    objectives = (Objective("val/loss", "minimize"), Objective("val/accuracy", "maximize"))
    results = make_study(make_grid(lengths=(64, 256)), objectives=objectives)
    scored = tuple(
        replace(
            each,
            metrics={**each.metrics, "task/trivial_accuracy": 0.1},
            curves={**each.curves, "val/loss/by_length": ([50, 100], [0.1, 0.2])},
        )
        for each in results.combinations
    )
    groups = group_results(replace(results, combinations=scored))
    charts = [*half_life_charts(groups), *cost_charts(groups), *extrapolation_charts(groups), *score_charts(groups)]
    charts += [each for each in optuna_charts(groups.results) if each.name.startswith(("history", "slice"))]
    assert len(charts) > 8
    for chart in charts:
        assert chart.figure is not None
        guess = 0.1 if "accuracy" in chart.title else math.log(10)
        traces = [y for trace in chart.figure.data if trace.name == "guessing" for y in trace.y]
        assert {*(shape.y0 for shape in chart.figure.layout.shapes), *traces} == {guess}, chart.name
        assert "guessing, the best answer" in chart.caption, chart.name


# --- colours of heat maps --------------------------------------------------------------------------------------------


def heatmap_of(make_study: Make, space: Space, half_lives: dict[str, tuple[float, float]]) -> Any:
    """The heat map of the half-life of a study whose runs have these: lag, and whether it is a bound."""
    results = make_study(space)
    found = tuple(
        replace(
            each,
            metrics={
                **each.metrics,
                "gradient/input/half_life": half_lives[str(each.params["cell.name"])][0],
                "gradient/input/half_life_censored": half_lives[str(each.params["cell.name"])][1],
            },
        )
        for each in results.combinations
    )
    charts = heatmap_charts(group_results(replace(results, combinations=found)))
    return next(each.figure for each in charts if each.name == "half-life-input")


def test_what_never_falls_is_at_the_far_end_of_the_colours(make_study: Make, make_grid: Grid) -> None:
    space = make_grid(cells=("rnn", "lstm", "gru"), lengths=(64,), seeds=2)
    figure = heatmap_of(make_study, space, {"rnn": (10.0, 0.0), "lstm": (63.0, 1.0), "gru": (100.0, 0.0)})
    (heatmap,) = figure.data
    rnn, lstm, gru = (row[0] for row in heatmap.z)
    assert rnn < gru < lstm == heatmap.zmax  # 100 is a larger number than the bound 63, but the curve has fallen
    assert heatmap.colorbar.ticktext[-1] == "beyond"
    assert [each.font.color for each in figure.layout.annotations] == ["white", "#1b1b1b", "#1b1b1b"]


def test_a_single_finite_value_is_in_the_middle_of_the_colours(make_study: Make, make_grid: Grid) -> None:
    space = make_grid(cells=("rnn", "lstm"), lengths=(64,), seeds=2)
    (heatmap,) = heatmap_of(make_study, space, {"rnn": (10.0, 0.0), "lstm": (63.0, 1.0)}).data
    rnn, lstm = (row[0] for row in heatmap.z)
    assert rnn == pytest.approx((heatmap.zmin + heatmap.zmax) / 2)
    assert lstm == heatmap.zmax
    (same,) = heatmap_of(make_study, space, {"rnn": (10.0, 0.0), "lstm": (10.0, 0.0)}).data
    assert [row[0] for row in same.z] == pytest.approx([(same.zmin + same.zmax) / 2] * 2)


def test_where_nothing_falls_every_box_is_at_the_far_end(make_study: Make, make_grid: Grid) -> None:
    space = make_grid(cells=("rnn", "lstm"), lengths=(64,), seeds=2)
    (heatmap,) = heatmap_of(make_study, space, {"rnn": (63.0, 1.0), "lstm": (63.0, 1.0)}).data
    assert {row[0] for row in heatmap.z} == {heatmap.zmax}
    assert list(heatmap.colorbar.ticktext) == ["beyond"]


def test_a_state_part_has_no_row_for_a_cell_without_it_nor_for_one_that_failed(
    make_study: Make, make_grid: Grid
) -> None:
    space = make_grid(cells=("rnn", "lstm", "gru"), lengths=(64,), seeds=2)
    failed = {f"cell.name=gru task.length=64 seed={seed}": ("failed", "why") for seed in (0, 1)}
    groups = group_results(make_study(space, states=failed))
    quantity = next(each for each in groups.quantities if each.name == "half-life-c")
    chart = heatmap(groups, quantity)
    assert chart.figure is not None
    assert list(chart.figure.layout.yaxis.ticktext) == ["lstm"]
    assert chart.caption.endswith("No state part c: rnn. No complete run: gru.")


# --- costs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("load", "words"),
    [
        ({}, "its load was not recorded"),
        ({"start": 0.4, "end": 0.75}, "was 0.4 to 0.75 for each processor."),
        ({"start": 0.4, "end": 3.1}, "was 0.4 to 3.1 for each processor: processes waited"),
    ],
)
def test_costs_say_how_loaded_the_machine_was(
    make_study: Make, make_grid: Grid, load: dict[str, float], words: str
) -> None:
    results = make_study(make_grid(cells=("rnn", "gru"), lengths=(64,)))
    loaded = tuple(replace(each, load=load) for each in results.combinations)
    (chart,) = cost_charts(group_results(replace(results, combinations=loaded)))
    assert words in chart.caption


# --- narrow screens --------------------------------------------------------------------------------------------------


def test_on_a_narrow_screen_panels_are_below_one_another(whole: StudyResults) -> None:
    chart = profile_charts(group_results(whole))[0]
    assert chart.figure is not None
    content = json.loads(chart.figure.to_json())
    narrow = narrow_layout(content["data"], content["layout"])
    assert narrow is not None
    axes = ["xaxis", "xaxis2", "xaxis3", "xaxis4"]
    assert [narrow[name]["domain"] for name in axes] == [[0, 1]] * 4
    tops = [narrow[name.replace("x", "y", 1)]["domain"] for name in axes]
    assert [low for low, _ in tops] == sorted((low for low, _ in tops), reverse=True)
    assert all(above[0] > below[1] for above, below in pairwise(tops))
    titles = [each["text"] for each in narrow["annotations"]]
    assert titles == ["length 64", "length 128", "length 256", "length 512"]
    assert [each["y"] for each in narrow["annotations"]] == [top for _, top in tops]
    assert all(narrow[name]["title"]["text"] == "lag, time steps" for name in axes)
    assert narrow["height"] > 4 * 200


def test_every_figure_of_a_section_with_axes_has_a_narrow_layout(whole: StudyResults) -> None:
    for section in sections(group_results(whole)):
        for chart in section.charts:
            assert chart.figure is not None
            content = json.loads(chart.figure.to_json())
            assert narrow_layout(content["data"], content["layout"]), chart.name


# --- words -----------------------------------------------------------------------------------------------------------

_CAUSAL = re.compile(
    r"\b(effects?|affects?|causes?|because of|leads? to|drives?|influences?|impact|due to|helps?)\b", re.I
)


def test_titles_and_captions_name_no_causes(whole: StudyResults) -> None:
    for section in sections(group_results(whole)):
        assert not _CAUSAL.search(section.title), section.title
        for chart in section.charts:
            assert not _CAUSAL.search(f"{chart.title}. {chart.caption}"), chart.name


def test_one_importance_is_shown_and_its_difference_from_the_dashboards_is_explained(whole: StudyResults) -> None:
    charts = [chart for chart in named_section(whole, "optuna").charts if "fANOVA" in chart.title]
    assert [chart.title for chart in charts] == ["Variance of val/loss by parameter (fANOVA)"]
    assert "Optuna's dashboard shows another measure under the same name, PED-ANOVA" in charts[0].caption
