"""How half-lives are averaged and written."""

from collections.abc import Callable

import pytest

from undertow.report.quantities import STEEPEST, quantities, rate, state_parts
from undertow.report.results import CombinationResult, Objective
from undertow.report.statistics import estimate

LOSS = (Objective("val/loss", "minimize"),)


def run(half_life: float | None = None, growth: float | None = None, value: float = 1.0) -> CombinationResult:
    named = {"gradient/h/half_life": half_life, "gradient/h/growth": growth, "gradient/h/reach": 5.0}
    metrics = {name: value for name, value in named.items() if value is not None}
    return CombinationResult({}, 0, "complete", values=(value,), metrics=metrics)


@pytest.fixture
def half_life_text() -> Callable[..., str]:
    quantity = next(each for each in quantities(LOSS, ["h"]) if each.kind == "half-life")

    def text(*runs: CombinationResult, intervals: bool = False) -> str:
        values = quantity.values(runs)
        return quantity.text(estimate(values) if values else None, intervals)

    return text


def test_half_lives_are_averaged_by_their_slopes(half_life_text: Callable[..., str]) -> None:
    # Slopes of 1/10 and 1/40: on average 1/16.
    assert half_life_text(run(10, 0), run(40, 0)) == "16"


def test_a_growing_gradient_reads_grows(half_life_text: Callable[..., str]) -> None:
    assert half_life_text(run(-30, 1)) == "grows"


def test_a_gradient_that_neither_shrinks_nor_grows_reads_grows(half_life_text: Callable[..., str]) -> None:
    assert half_life_text(run(None, 1)) == "grows"


def test_a_gradient_that_vanished_at_once_has_a_half_life_of_0(half_life_text: Callable[..., str]) -> None:
    assert half_life_text(run(0.0, 0)) == "0"


def test_an_interval_of_half_lives_runs_from_short_to_long(half_life_text: Callable[..., str]) -> None:
    assert half_life_text(run(10, 0), run(40, 0), intervals=True) == "16 [10, 40]"


def test_an_interval_may_end_in_growth(half_life_text: Callable[..., str]) -> None:
    assert half_life_text(run(10, 0), run(-40, 1), intervals=True) == "26.7 [10, grows]"


def test_a_run_without_a_measurement_has_no_half_life(half_life_text: Callable[..., str]) -> None:
    assert half_life_text(CombinationResult({}, 0, "complete")) == "–"


def test_no_rate_is_steeper_than_can_be_measured() -> None:
    assert rate(run(0.0), "h") == STEEPEST
    assert rate(run(1e-9), "h") == STEEPEST


def test_an_infinity_as_sql_stores_keep_it_is_no_value() -> None:
    (loss,) = quantities(LOSS, [])
    assert loss.of(run(value=1.7976931348623157e308)) is None
    assert loss.of(run(value=float("nan"))) is None
    assert loss.of(CombinationResult({}, 0, "failed")) is None


def test_state_parts_leave_out_single_layers() -> None:
    curves = {f"gradient/{view}/by_lag": ([1], [0.0]) for view in ("h", "h/layer0", "h/layer1", "c")}
    combination = CombinationResult({}, 0, "complete", curves=curves, metrics={"saturation/forget/derivative": 0.1})
    assert state_parts([combination]) == ["h", "c"]
