"""The state of a study on a terminal and as JSON."""

import json
from typing import Any

import pytest

from undertow.cli.output.console import emit
from undertow.cli.output.studies import print_results, print_status, status_document
from undertow.config.space import Space
from undertow.report.results import CombinationResult, Objective, StudyResults
from undertow.studies.status import StudyStatus
from undertow.studies.store.counts import Counts

SINGLY = {
    "optim.omega: Ω penalises each network by itself": 10,
    "optim.scheduler.name: `plateau` gives each replicate another rate": 20,
}


ONE_BY_ONE = {"measured to be faster": 8}


def status(packs: list[int], one_by_one: dict[str, int], singly: dict[str, int]) -> StudyStatus:
    counts = Counts(48, {"complete": 40, "running": 8}, None)
    return StudyStatus("small", counts, {}, {}, {}, "val/loss", 1.5, packs, one_by_one, singly)


def lines(capsys: pytest.CaptureFixture[str], shown: StudyStatus) -> list[str]:
    print_status(shown)
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_the_status_says_what_is_packed_in_lines_of_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    found = lines(capsys, status([8, 8, 2], ONE_BY_ONE, SINGLY))
    assert "packed             18 runs in 3 packs of up to 8; 8 one by one (measured to be" in found
    assert " " * 19 + "faster)" in found
    (first,) = [place for place, line in enumerate(found) if line.startswith("singly")]
    said = " ".join(line.removeprefix("singly").strip() for line in found[first:])
    assert said == "; ".join(f"{runs} runs ({reason})" for reason, runs in SINGLY.items())
    assert len(found) - first <= 3
    assert max(map(len, found)) <= 80


def test_a_study_without_packs_says_nothing_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    found = "\n".join(lines(capsys, status([], {}, {})))
    assert "packed" not in found
    assert "singly" not in found


def test_the_json_has_the_size_of_every_pack_and_the_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    emit(status_document(status([8, 4], ONE_BY_ONE, SINGLY)))
    document = json.loads(capsys.readouterr().out)
    assert (document["packs"], document["one_by_one"], document["singly"]) == ([8, 4], ONE_BY_ONE, SINGLY)


def combination(cell: str, length: int, seed: int, views: tuple[str, ...]) -> CombinationResult:
    metrics = {f"gradient/{view}/{measure}": 1234.5 for view in views for measure in ("half_life", "reach")}
    metrics |= {f"gradient/{view}/reach_censored": 1.0 for view in views}
    metrics |= {"val/accuracy": 0.5 + seed / 100, "test/accuracy": 0.4 + seed / 100, "cost/parameters": 4810.0}
    params = {"cell.name": cell, "task.length": length, "seed": seed}
    return CombinationResult(params, 0, "complete", values=(metrics["val/accuracy"],), metrics=metrics)


def study(cells: tuple[str, ...], views: tuple[str, ...]) -> StudyResults:
    vary: dict[str, tuple[Any, ...]] = {"cell.name": cells, "task.length": (512, 1024), "seed": (0, 1, 2)}
    found = tuple(combination(cell, length, seed, views) for cell in cells for length in (512, 1024) for seed in (0, 1))
    objective = Objective("val/accuracy", "maximize")
    return StudyResults("s", "?", "", Space(vary, {}, 1, {}), (objective,), {}, found, None)  # type: ignore[arg-type]


def printed(capsys: pytest.CaptureFixture[str], results: StudyResults) -> list[str]:
    print_results(results)
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_a_narrow_terminal_shows_the_table_of_a_study_without_ranges(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    found = printed(capsys, study(("rnn", "lstm"), ("input", "h", "c")))
    assert max(map(len, found)) <= 80
    rows = [line.split() for line in found if line.startswith(("rnn", "lstm"))]
    assert [row[:4] for row in rows[:2]] == [["rnn", "512", "0.505", "0.405"], ["lstm", "512", "0.505", "0.405"]]
    assert len(rows) == 4


def test_a_study_with_long_names_is_shown_in_blocks_that_begin_with_what_is_varied(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "torchrecurrent/gated-antisymmetric-rnn"
    monkeypatch.setenv("COLUMNS", "80")
    found = printed(capsys, study((name, "lstm"), ("input",)))
    assert max(map(len, found)) <= 80
    rows = [line.split() for line in found if line.startswith(name)]
    assert len(rows) > 2
    assert {tuple(row[:2]) for row in rows} == {(name, "512"), (name, "1024")}
    shown = [word for row in rows if row[1] == "512" for word in row[2:]]
    assert shown == ["0.505", "[0.5,", "0.51]", "0.405", "[0.4,", "0.41]", "1,234", ">", "1,234", "4,810", "2"]
