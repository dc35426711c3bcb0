"""`undertow study compare`: the table, the JSON object and the page of two studies."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from undertow.config.space import Space
from undertow.report.results import CombinationResult, Objective, StudyResults

Call = Callable[..., Any]


def study(name: str, lr: str, accuracy: float) -> StudyResults:
    vary: dict[str, tuple[Any, ...]] = {"cell.name": ("rnn", "lstm"), "seed": (0, 1, 2)}
    found = tuple(
        CombinationResult({"cell.name": cell, "seed": seed}, 0, "complete", values=(accuracy + seed / 100,))
        for cell in ("rnn", "lstm")
        for seed in (0, 1, 2)
    )
    objective = Objective("val/accuracy", "maximize")
    config = f"cell: {{name: rnn}}\noptim: {{lr: {lr}}}\n"
    return StudyResults(name, "?", config, Space(vary, {}, 1, {}), (objective,), {}, found, None)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def recorded(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two studies in place of a database."""
    studies = {"fast": study("fast", "0.01", 0.8), "slow": study("slow", "0.001", 0.5)}
    monkeypatch.setattr("undertow.studies.store.ledger.Ledger.find", lambda _, name: SimpleNamespace(name=name))
    monkeypatch.setattr("undertow.studies.store.results.read_results", lambda ledger: studies[ledger.name])


def test_the_tables_fit_into_80_columns(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = call("study", "compare", "fast", "slow")
    assert (code, err) == (0, "")
    lines = [line.rstrip() for line in out.splitlines()]
    assert lines[:2] == ["1 key of the configuration differs.", "2 of 2 compared numbers moved."]
    assert "optim.lr  0.01  0.001" in lines
    row = next(line.split() for line in lines if line.startswith("rnn"))
    assert row[:3] == ["rnn", "val/accuracy", "0.81"]
    assert row[-4:] == ["-0.3", "[-0.32,", "-0.28]", "yes"] or row[-1] == "yes"
    assert max(map(len, lines)) <= 80
    assert not list(Path().glob("*.html"))


def test_json_is_one_object(call: Call) -> None:
    document = call("study", "compare", "fast", "slow", "--json").document
    assert document["configuration"] == [{"key": "optim.lr", "first": "0.01", "second": "0.001"}]
    assert document["quantities"][0]["difference"]["value"] == pytest.approx(-0.3)
    assert "page" not in document


def test_open_writes_the_page_and_opens_it(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    code, out, _ = call("study", "compare", "fast", "slow", "--open")
    assert code == 0
    assert out.splitlines()[-1] == "fast-slow.html"
    assert opened == [Path("fast-slow.html").absolute().as_uri()]
    assert "val/accuracy" in Path("fast-slow.html").read_text()


def test_the_page_is_written_to_the_requested_file(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "pages" / "two.html"
    assert call("study", "compare", "fast", "slow", "--output", file, "--json").document["page"] == str(file)
    assert file.read_text().startswith("<!doctype html>")
