"""Two studies side by side: what differs in configuration, what moved, with intervals."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from undertow.config.space import Space
from undertow.report.compare import (
    StudyComparison,
    compare_studies,
    comparison_document,
    configuration_table,
    difference_of,
    how_to_read,
    result_table_of,
    sentences,
    write_comparison,
)
from undertow.report.results import StudyResults
from undertow.report.statistics import estimate

Make = Callable[..., StudyResults]
Grid = Callable[..., Space]

CONFIG = "question: How far?\ntask: {name: digits, length: 64}\ncell: {name: lstm}\noptim: {lr: 0.01}\n"


def scaled(results: StudyResults, factor: float, config: str = CONFIG) -> StudyResults:
    """The study with losses of this factor."""
    found = tuple(replace(each, values=tuple(value * factor for value in each.values)) for each in results.combinations)
    return replace(results, combinations=found, config_yaml=config)


def row_of(comparison: StudyComparison, where: str, quantity: str):  # type: ignore[no-untyped-def]
    return next(row for row in comparison.rows if (row.where, row.quantity.label) == (where, quantity))


def test_the_configuration_lists_the_keys_that_differ_and_not_the_names(make_study: Make, make_grid: Grid) -> None:
    results = make_study(make_grid(cells=("rnn", "gru"), lengths=(64,)))
    second = CONFIG.replace("0.01", "0.001").replace("How far?", "How near?") + "train: {max_steps: 5, betas: [1, 2]}\n"
    comparison = compare_studies(scaled(results, 1.0), scaled(results, 1.0, second))
    assert comparison.configuration == (
        ("optim.lr", "0.01", "0.001"),
        ("train.max_steps", "–", "5"),
        ("train.betas", "–", "[1, 2]"),
    )
    assert configuration_table(comparison).columns == ("key", "vanishing-digits (1)", "vanishing-digits (2)")


def test_the_same_results_have_not_moved(whole: StudyResults) -> None:
    comparison = compare_studies(whole, whole)
    assert len(comparison.rows) == 15 * 5  # two scores and three lags; one group has no complete run
    assert not any(row.moved for row in comparison.rows)
    assert {row.superiority for row in comparison.rows} == {0.5}
    assert sentences(comparison)[1] == "0 of 75 compared numbers moved."


def test_scores_whose_ranges_are_apart_have_moved(make_study: Make, make_grid: Grid) -> None:
    results = make_study(make_grid(cells=("rnn", "gru"), lengths=(64, 128)))
    comparison = compare_studies(scaled(results, 1.0), scaled(results, 2.0))
    row = row_of(comparison, "rnn · length=64", "val/loss")
    assert row.moved
    assert row.superiority == 1.0
    first, second = row.estimates
    assert row.difference.low == pytest.approx(second.low - first.high)
    assert row.difference.high == pytest.approx(second.high - first.low)
    assert row.difference.text.startswith(f"+{first.value:.3g}"[:4])
    assert not row_of(comparison, "rnn · length=64", "half-life of ∂L/∂x").moved
    assert "fewer than 10 replicates" in how_to_read(comparison)


def test_single_runs_are_not_said_to_have_moved(make_study: Make, make_grid: Grid) -> None:
    results = make_study(make_grid(cells=("rnn", "gru"), lengths=(64,), seeds=1))
    comparison = compare_studies(scaled(results, 1.0), scaled(results, 2.0))
    row = row_of(comparison, "rnn", "val/loss")
    assert (row.moved, row.difference.spread) == (False, "single runs")
    assert "says nothing of chance" in how_to_read(comparison)


def test_from_ten_replicates_the_difference_has_an_interval(make_study: Make, make_grid: Grid) -> None:
    results = make_study(make_grid(cells=("rnn", "gru"), lengths=(64,), seeds=12))
    comparison = compare_studies(scaled(results, 1.0), scaled(results, 1.3))
    difference = row_of(comparison, "rnn", "val/loss").difference
    assert difference.spread == "95 % interval"
    assert difference.low is not None
    assert 0 < difference.low < difference.value < difference.high  # type: ignore[operator]
    assert "95 % interval, moved: it excludes 0" in how_to_read(comparison)


def test_the_interval_of_a_difference_covers_the_true_one() -> None:
    """Coverage over simulated pairs of studies with 12 replicates each; of 400 at 95 %, fewer than 360 is no chance."""
    random = np.random.default_rng(1)
    covered = 0
    for _ in range(400):
        first, second = random.normal(1.0, 1.0, 12), random.normal(1.5, 0.5, 12)
        found = difference_of(estimate(first.tolist()), estimate(second.tolist()))
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0.5 <= found.high
    assert 360 <= covered <= 400


def test_a_bound_on_either_side_leaves_the_difference_open() -> None:
    exact, bound = estimate([10.0, 11.0, 12.0]), estimate([63.0] * 3, [True] * 3)
    up, down = difference_of(exact, bound), difference_of(bound, exact)
    assert up.text == "> +52 [+51, –]"
    assert up.excludes_zero
    assert down.text == "< -52 [–, -51]"
    assert down.excludes_zero
    assert difference_of(bound, bound).text == "–"
    assert not difference_of(bound, bound).excludes_zero


def test_a_value_that_one_study_varies_is_looked_up_in_the_configuration_of_the_other(make_study: Make) -> None:
    several = make_study(Space({"cell.name": ("rnn", "lstm"), "seed": (0, 1)}, {}))
    single = make_study(Space({"seed": (0, 1, 2)}, {}))
    comparison = compare_studies(scaled(several, 1.0), scaled(single, 1.0, CONFIG))
    assert {row.where for row in comparison.rows} == {"lstm"}
    assert comparison.only == (("rnn",), ())
    assert sentences(comparison)[-1] == "Only in vanishing-digits (1): rnn."


def test_studies_without_anything_in_common_have_no_rows(make_study: Make, make_grid: Grid, tmp_path: Path) -> None:
    first = make_study(make_grid(cells=("rnn",), lengths=(64,)))
    second = make_study(make_grid(cells=("gru",), lengths=(64,)))
    comparison = compare_studies(first, second)
    assert comparison.rows == ()
    assert "nothing" not in how_to_read(comparison)
    text = write_comparison(comparison, tmp_path / "page.html").read_text()
    assert "no combination and no quantity in common" in text


def test_the_short_table_has_no_ranges_of_the_two(whole: StudyResults) -> None:
    comparison = compare_studies(whole, scaled(whole, 2.0))
    row = result_table_of(comparison, short=True).rows[0]
    assert "[" not in row[2] + row[3]
    assert "[" in row[4]
    assert row[-1] == "yes"


def test_the_document_is_json_and_has_both_estimates(whole: StudyResults) -> None:
    document = json.loads(json.dumps(comparison_document(compare_studies(whole, whole)), allow_nan=False))
    assert document["studies"] == ["vanishing-digits (1)", "vanishing-digits (2)"]
    first = document["quantities"][0]
    assert first["first"] == first["second"]
    assert first["difference"]["value"] == 0
    assert first["params"]["cell.name"] == "rnn"
    assert all(math.isfinite(each["superiority"]) for each in document["quantities"])


def test_the_page_loads_nothing_and_escapes_what_users_wrote(whole: StudyResults, tmp_path: Path) -> None:
    named = replace(scaled(whole, 2.0), name="<script>alert(1)</script>")
    text = write_comparison(compare_studies(whole, named), tmp_path / "new" / "page.html").read_text()
    tags: list[str] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.append(tag)
            assert not {name for name, _ in attrs} & {"src", "href"}

    Tags().feed(text)
    assert "script" not in tags
    assert tags.count("svg") == 75
    assert text.count('<tr class="moved">') == 15
    assert "default-src 'none'" in text
