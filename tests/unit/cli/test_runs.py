"""The table of runs: every number in its column, and a dash where there is none."""

from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from undertow.cli.output.runs import runs_tables
from undertow.config.schema import ExperimentConfig
from undertow.runs.experiment import RunResult

Make = Callable[..., RunResult]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def make(cell: str, length: int, metrics: dict[str, float]) -> RunResult:
        folder = tmp_path / f"{cell}-{length}"
        folder.mkdir(parents=True)
        config = ExperimentConfig.model_validate({"cell": {"name": cell}, "task": {"name": "t", "length": length}})
        return RunResult(folder.name, folder, "id", True, 1, metrics, {}, config)

    return make


def printed(width: int, *results: RunResult) -> str:
    """Return what a terminal of this width shows."""
    console = Console(width=width)
    with console.capture() as capture:
        for grid in runs_tables(results, width):
            console.print(grid)
    return capture.get()


def rendered(*results: RunResult) -> tuple[str, list[list[str]]]:
    """Return the headings in one line, and the words of each row."""
    above, _, below = printed(200, *results).partition("──")
    return " ".join(above.split()), [line.split() for line in below.splitlines()[1:] if line.strip()]


def test_the_input_has_half_life_and_reach_and_each_state_part_its_half_life(make: Make) -> None:
    lstm = {"val/accuracy": 0.8766, "gradient/h/half_life": 5.4999, "gradient/h/reach": 48.0}
    lstm |= {"gradient/input/half_life": 7.0, "gradient/input/reach": 63.0, "gradient/input/reach_censored": 1.0}
    lstm |= {"gradient/c/half_life": 1234.0, "gradient/c/reach": 63.0, "cost/parameters": 4810.0}
    gru = {"val/accuracy": 0.5, "gradient/h/half_life": 1.0, "gradient/h/reach": 3.0, "cost/steps_per_second": 57.123}
    headings, rows = rendered(make("lstm", 64, lstm), make("gru", 256, gru))
    assert (headings.count("half-"), headings.count("reach")) == (3, 1)
    assert (headings.count("∂L/∂x"), headings.count("∂L/∂h"), headings.count("∂L/∂c")) == (2, 1, 1)
    assert rows == [
        ["lstm", "64", "0.877", "7", ">", "63", "5.5", "1.23e+03", "4,810", "–"],
        ["gru", "256", "0.500", "–", "–", "1", "–", "–", "57.1"],
    ]


def test_a_task_without_scores_shows_the_loss(make: Make) -> None:
    headings, rows = rendered(make("gru", 64, {"val/loss": 0.1667, "train/loss": 9.0}))
    assert "loss" in headings
    assert "val" in headings
    assert "test" not in headings
    assert rows == [["gru", "64", "0.167", "–", "–"]]


def test_test_scores_are_beside_the_validation_scores_that_chose_the_checkpoint(make: Make) -> None:
    tested = {
        "val/loss": 0.3,
        "val/accuracy": 0.9,
        "val/f1": 0.8,
        "test/loss": 0.4,
        "test/accuracy": 0.85,
        "test/f1": 0.7,
    }
    headings, rows = rendered(make("gru", 64, tested), make("lstm", 64, {"val/accuracy": 0.5, "val/loss": 1.0}))
    assert headings.split()[:5] == ["accuracy", "accuracy", "f1", "f1", "cell"]
    assert headings.split()[6:10] == ["val", "test", "val", "test"]
    assert [row[2:6] for row in rows] == [["0.900", "0.850", "0.800", "0.700"], ["0.500", "–", "–", "–"]]


def test_single_layers_of_a_state_part_have_no_columns(make: Make) -> None:
    headings, _ = rendered(make("gru", 64, {"gradient/h/reach": 1.0, "gradient/h/layer0/reach": 1.0}))
    assert headings.count("half-") == 1


def test_a_table_with_two_state_parts_fits_into_80_columns(make: Make) -> None:
    metrics = {f"gradient/{part}/{what}": 123.0 for part in ("input", "h", "c") for what in ("half_life", "reach")}
    metrics |= {
        "val/accuracy": 0.5,
        "test/accuracy": 0.4,
        "cost/parameters": 1_234_567.0,
        "cost/steps_per_second": 123.4,
    }
    row = next(line for line in printed(80, make("lstm", 1024, metrics)).splitlines() if line.startswith("lstm"))
    assert row.split() == ["lstm", "1024", "0.500", "0.400", "123", "123", "123", "123", "1,234,567", "123"]


def test_a_table_with_many_state_parts_is_in_blocks_that_begin_with_cell_and_length(make: Make) -> None:
    parts = ("input", "h", "c", "n", "m")
    metrics = {f"gradient/{part}/{what}": 12345.0 for part in parts for what in ("half_life", "reach")}
    metrics |= {"val/accuracy": 0.5, "test/accuracy": 0.25, "cost/parameters": 1_234_567.0}
    lines = printed(80, make("torchrecurrent/gated-antisymmetric-rnn", 1024, metrics)).splitlines()
    assert max(map(len, lines)) <= 80
    rows = [line.split() for line in lines if "gated" in line]
    assert len(rows) > 1
    assert {tuple(row[:2]) for row in rows} == {("torchrecurrent/gated-antisymmetric-rnn", "1024")}
    values = [value for row in rows for value in row[2:]]
    assert values == ["0.500", "0.250", *["1.23e+04"] * 6, "1,234,567", "–"]
