"""Studies that an earlier version recorded: other measures, and a floor in the place of every small gradient."""

from collections.abc import Callable
from dataclasses import replace
from math import isnan
from pathlib import Path

import pytest

from undertow.config.space import Space
from undertow.report import study_description, write_report
from undertow.report.charts.profiles import profile_charts
from undertow.report.charts.training import training_charts
from undertow.report.earlier import without_floor
from undertow.report.grouping import group_results
from undertow.report.results import CombinationResult, StudyResults

LAGS = [1, 2, 4, 8, 16, 32, 63]
VALUES = [-2.0, -8.0, -20.0, -44.0, -50.0, -50.0, -50.0]


def as_recorded_before(run: CombinationResult) -> CombinationResult:
    """The run as the earlier version recorded it: views h and joint, no test score, a fitted half-life."""
    metrics = {name: value for name, value in run.metrics.items() if name.partition("/")[0] not in ("gradient", "test")}
    for view in ("h", "joint"):
        metrics |= {f"gradient/{view}/half_life": 0.2, f"gradient/{view}/growth": 0.0, f"gradient/{view}/reach": 2.0}
    return replace(
        run,
        metrics=metrics,
        curves={f"gradient/{view}/by_lag": (LAGS, VALUES) for view in ("h", "joint")},
        history={f"gradient/{view}/by_lag": {0: VALUES, 100: VALUES} for view in ("h", "joint")},
    )


@pytest.fixture
def recorded_before(make_study: Callable[..., StudyResults], make_grid: Callable[..., Space]) -> StudyResults:
    results = make_study(make_grid(cells=("rnn", "gru"), lengths=(64, 128), seeds=2))
    return replace(results, combinations=tuple(map(as_recorded_before, results.combinations)))


def test_the_report_of_a_study_of_an_earlier_version_names_its_measures(
    recorded_before: StudyResults, tmp_path: Path
) -> None:
    page = write_report(recorded_before, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "half-life of h by a fitted line (earlier version)" in page
    assert "as earlier versions measured it" in page
    assert "of an earlier version: from a line through log₁₀ of the root mean square" in page


def test_the_floor_of_an_earlier_version_is_not_drawn(recorded_before: StudyResults) -> None:
    groups = group_results(recorded_before)
    for chart in profile_charts(groups):
        assert chart.figure is not None
        lines = [trace for trace in chart.figure.data if trace.mode == "lines+markers"]
        assert len(lines) == 4
        assert all(list(trace.x) == LAGS[:4] and min(trace.y) == -44 for trace in lines)
        assert "floor of 10⁻⁵⁰" in chart.caption
    for chart in training_charts(groups):
        assert chart.figure is not None
        assert all(value > -50 for trace in chart.figure.data for row in trace.z for value in row)


def test_a_value_below_the_floor_that_was_measured_exactly_is_kept(make_study: Callable[..., StudyResults]) -> None:
    results = make_study(Space({"cell.name": ("rnn",)}, {}))
    (run,) = results.combinations
    exact = replace(run, curves={"gradient/input/by_lag": (LAGS, VALUES)})
    results = replace(results, combinations=(exact,))
    assert without_floor(results) is results
    (gaps,) = without_floor(replace(results, combinations=(as_recorded_before(run),))).combinations
    assert [isnan(value) for value in gaps.curves["gradient/h/by_lag"][1]] == [value == -50 for value in VALUES]


def test_the_description_says_what_each_curve_is(whole: StudyResults, recorded_before: StudyResults) -> None:
    text = study_description(whole)
    assert text.startswith(whole.question)
    assert "| cell | length |" in text
    assert "; ∂L/∂x, the gradient by the input, compares cells." in text
    assert "- `gradient/input/by_lag`: Norm of the gradient of the loss with respect to the input of the step" in text
    assert "`gradient/joint/by_lag`: log₁₀ of the norm of ∂L/∂joint, root mean square" in study_description(
        recorded_before
    )
    assert len(text) < 8000
