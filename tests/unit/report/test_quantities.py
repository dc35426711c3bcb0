"""Which quantities there are, and how lags that are known to be larger than the window are averaged and written."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from undertow.report.quantities import Quantity, gradient_views, quantities
from undertow.report.results import CombinationResult, Objective

LOSS = (Objective("val/loss", "minimize"),)


def run(lag: float | None = None, censored: float = 0.0, value: float = 1.0, **more: float) -> CombinationResult:
    metrics = {"gradient/input/half_life": lag, "gradient/input/half_life_censored": censored, **more}
    return CombinationResult(
        {}, 0, "complete", values=(value,), metrics={name: each for name, each in metrics.items() if each is not None}
    )


def find(kind: str, *runs: CombinationResult) -> Quantity:
    return next(each for each in quantities(LOSS, runs) if each.kind == kind)


@pytest.fixture
def half_life_text() -> Callable[..., str]:
    def text(*runs: CombinationResult, spread: bool = False) -> str:
        quantity = find("half-life", run(1.0))
        return quantity.text(quantity.estimate(runs), spread)

    return text


def test_the_half_life_of_some_runs_is_their_median(half_life_text: Callable[..., str]) -> None:
    assert half_life_text(run(10), run(40), run(12)) == "12"


def test_a_gradient_that_does_not_fall_so_far_is_beyond_the_longest_lag(half_life_text: Callable[..., str]) -> None:
    assert half_life_text(run(63, 1)) == "> 63"
    assert half_life_text(run(12), run(63, 1), run(63, 1), spread=True) == "> 63 [12, > 63]"


def test_a_range_may_end_beyond_the_longest_lag(half_life_text: Callable[..., str]) -> None:
    assert half_life_text(run(10), run(20), run(63, 1), spread=True) == "20 [10, > 63]"


def test_a_run_without_a_measurement_has_no_half_life(half_life_text: Callable[..., str]) -> None:
    assert half_life_text(CombinationResult({}, 0, "complete")) == "–"


def test_a_bound_ranks_above_every_number() -> None:
    quantity = find("half-life", run(1.0))
    assert quantity.ranks([run(63), run(63, 1), run(5)]) == [63, float("inf"), 5]


def test_cells_are_compared_by_scores_and_by_the_gradient_of_the_input_alone() -> None:
    both = run(5.0, **{"gradient/c/half_life": 7.0, "test/loss": 1.0})
    compared = {each.name for each in quantities(LOSS, [both]) if each.compares_cells}
    assert {"val/loss", "test/loss", "half-life-input"} <= compared
    assert "half-life-c" not in compared
    assert find("half-life", both).label == "half-life of ∂L/∂x"


def test_the_test_score_belongs_to_the_objective_on_the_validation_split() -> None:
    found = quantities(LOSS, [run(**{"test/loss": 0.5, "test/accuracy": 0.9})])
    assert [(each.name, each.better) for each in found if each.kind == "test"] == [("test/loss", "low")]


def test_a_study_of_an_earlier_version_is_shown_with_its_measures_called_so() -> None:
    growing = run(None, **{"gradient/h/half_life": -12.0, "gradient/h/growth": 1.0, "gradient/h/reach": 63.0})
    growing = replace(growing, curves={"gradient/h/by_lag": ([1, 63], [-1.0, 0.0])})
    falling = run(None, **{"gradient/h/half_life": 8.0, "gradient/h/growth": 0.0, "gradient/h/reach": 30.0})
    half_life, reach = (each for each in quantities(LOSS, [growing, falling]) if each.kind == "earlier")
    assert half_life.label == "half-life of h by a fitted line (earlier version)"
    assert reach.label == "reach of h (earlier version)"
    assert half_life.text(half_life.estimate([growing])) == "> 63"
    assert half_life.text(half_life.estimate([falling])) == "8"


def test_an_infinity_as_sql_stores_keep_it_is_no_value() -> None:
    (loss,) = quantities(LOSS, [])
    assert loss.of(run(value=1.7976931348623157e308)) is None
    assert loss.of(run(value=float("nan"))) is None
    assert loss.of(CombinationResult({}, 0, "failed")) is None


def test_views_begin_with_the_input_and_leave_out_single_layers() -> None:
    curves = {f"gradient/{view}/by_lag": ([1], [0.0]) for view in ("h", "h/layer0", "h/layer1", "c", "input")}
    combination = CombinationResult({}, 0, "complete", curves=curves, metrics={"saturation/forget/derivative": 0.1})
    assert gradient_views([combination]) == ["input", "h", "c"]
