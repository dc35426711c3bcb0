"""What `study report --export` writes: the same numbers as the report, for a paper or another program."""

import csv
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from undertow.config.space import Space
from undertow.report import export
from undertow.report.grouping import group_results
from undertow.report.results import StudyResults
from undertow.report.svg import write_drawings
from undertow.report.tables.results_table import Table, latex_table

Make = Callable[..., StudyResults]
Grid = Callable[..., Space]


@pytest.fixture(scope="module")
def exported(whole: StudyResults, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("paper")
    files = export(whole, folder)
    assert sorted(files) == sorted(path for path in folder.rglob("*") if path.is_file())
    return folder


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as text:
        return list(csv.DictReader(text))


def test_every_combination_has_a_row_with_its_state_and_numbers(exported: Path, whole: StudyResults) -> None:
    found = rows(exported / "runs.csv")
    assert [row["state"] for row in found] == [each.state for each in whole.combinations]
    first = whole.combinations[0]
    assert (found[0]["cell.name"], found[0]["seed"], found[0]["load_end"]) == ("rnn", "0", "0.75")
    assert float(found[0]["val/loss"]) == first.metrics["val/loss"]
    failed = next(row for row in found if row["state"] == "failed")
    assert (failed["val/loss"], failed["reason"]) == ("", "out of memory: 2.1 GiB requested, 2 allowed")


def test_every_estimate_has_a_row_that_says_what_its_numbers_are(exported: Path, whole: StudyResults) -> None:
    groups = group_results(whole)
    found = rows(exported / "results.csv")
    assert len(found) == sum(len(group.estimates) for group in groups.groups)
    group = groups.at("lstm", "64")
    assert group is not None
    (row,) = [
        row for row in found if (row["cell.name"], row["task.length"], row["quantity"]) == ("lstm", "64", "val/loss")
    ]
    estimate = group.estimates["val/loss"]
    assert [float(row[name]) for name in ("value", "low", "high")] == [estimate.value, estimate.low, estimate.high]
    assert (row["centre"], row["spread"], row["n"], row["planned"]) == ("median", "range", "3", "3")
    assert {row["beyond"] for row in found} == {"True", "False"}


def test_every_point_of_every_curve_has_a_row(exported: Path, whole: StudyResults) -> None:
    complete = [each for each in whole.combinations if each.state == "complete"]
    found = rows(exported / "curves.csv")
    assert len(found) == sum(len(steps) for each in complete for steps, _ in each.curves.values())
    assert {"gradient/input/by_lag", "train/loss/by_step", "val/loss/by_step"} <= {row["curve"] for row in found}


def test_the_tables_have_a_row_for_each_group(exported: Path, whole: StudyResults) -> None:
    latex = (exported / "results.tex").read_text()
    assert latex.count(r" \\") == 1 + len(group_results(whole).groups)
    assert r"$\partial$L/$\partial$x" in latex
    markdown = (exported / "results.md").read_text()
    assert markdown.count("\n| ") == 2 + len(group_results(whole).groups)


def test_latex_reads_no_text_as_a_command() -> None:
    latex = latex_table(Table(("a_b", "c"), (("50 % & more", "\\input{x}"), ("> 63", "–"))), "#1", "so ~ it is")
    assert r"a\_b & c \\" in latex
    assert r"50 \% \& more & \textbackslash{}input\{x\} \\" in latex
    assert r"$>$ 63 & -- \\" in latex
    assert r"\caption{\#1}" in latex


def test_the_figures_are_svg_whose_text_is_text(exported: Path) -> None:
    drawings = {path.stem: path for path in (exported / "figures").iterdir()}
    assert {"learning", "profile-input", "val-loss-by-length", "half-life-input", "cost-val-loss"} <= set(drawings)
    for path in drawings.values():
        root = ElementTree.parse(path).getroot()
        assert root.tag.endswith("svg")
    text = drawings["learning"].read_text()
    for word in ("Loss by training step", "training loss", "length 512", "ugrnn"):
        assert f">{word}</text>" in text, word
    assert "#0072b2" in text  # the colour of the first cell, as in the report


def test_the_same_results_give_the_same_drawing(make_study: Make, make_grid: Grid, tmp_path: Path) -> None:
    results = make_study(make_grid(cells=("rnn", "gru"), lengths=(64,), seeds=2))
    first, second = (write_drawings(group_results(results), tmp_path / each) for each in ("a", "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_panels_whose_axes_match_have_one_range(make_study: Make, make_grid: Grid, tmp_path: Path) -> None:
    results = make_study(make_grid(cells=("rnn",), lengths=(64, 128), seeds=1))
    flat = {"val/loss/by_step": ([0, 100], [2.0, 2.0]), "train/loss/by_step": ([0, 100], [2.0, 2.0])}
    steep = {"val/loss/by_step": ([0, 100], [2.0, 0.5]), "train/loss/by_step": ([0, 100], [2.0, 0.5])}
    found = tuple(
        replace(each, curves={**each.curves, **(flat if each.params["task.length"] == 128 else steep)})
        for each in results.combinations
    )
    files = write_drawings(group_results(replace(results, combinations=found)), tmp_path)
    text = next(path for path in files if path.stem == "learning").read_text()
    lines = re.findall(r'<path d="M ([\d.]+) ([\d.]+) ?\nL ([\d.]+) ([\d.]+) ?\n" clip-path[^>]*stroke: #0072b2', text)
    starts = sorted(float(y) for _, y, _, _ in lines)
    assert len(starts) == 4
    assert starts[0] == pytest.approx(starts[1], abs=0.01)  # a loss of 2.0 is as high in both columns
    assert starts[2] == pytest.approx(starts[3], abs=0.01)


def test_a_study_without_a_complete_run_is_exported(make_study: Make, make_grid: Grid, tmp_path: Path) -> None:
    space = make_grid(cells=("rnn",), lengths=(64,), seeds=1)
    results = make_study(space, states={str(each): ("failed", "why") for each in space.combinations()})
    names = {path.name for path in export(results, tmp_path)}
    assert names == {"runs.csv", "results.csv", "curves.csv", "results.tex", "results.md"}
