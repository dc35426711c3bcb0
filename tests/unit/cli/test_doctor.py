"""`undertow doctor`: all well is 0; what needs attention is 1, each with its remedy."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from undertow.cli.commands import doctor
from undertow.tracking import Outbox, RunFolder

Call = Callable[..., Any]


@pytest.fixture(autouse=True)
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing it takes seconds; tests/e2e asks about real devices."""
    monkeypatch.setattr(doctor, "_devices", lambda: iter([doctor.Finding("GPUs", "none")]))


def findings(outcome: Any) -> dict[str, dict[str, Any]]:
    return {each["what"]: each for each in outcome.document["findings"]}


def test_all_well_exits_with_0(call: Call, runs: Path) -> None:
    outcome = call("doctor", "--json")
    assert outcome.code == 0
    assert outcome.document["ok"] is True
    found = findings(outcome)
    assert found["mlflow"]["found"].startswith("3.")
    assert "the first run makes it" in found["tracking store"]["found"]
    assert not runs.exists()
    assert call("doctor").code == 0


def test_an_unshipped_run_needs_attention(call: Call, runs: Path) -> None:
    folder = RunFolder.create(runs, "lstm-T64-s0", experiment="tides", uri=None, config_yaml="seed: 0\n")
    with Outbox(folder.outbox) as outbox:
        outbox.metrics([("train/loss", 1.0, 1)])
    folder.release()
    code, out, _ = call("doctor")
    assert code == 1
    assert f"undertow sync {runs}" in out
    assert "1 not shipped" in findings(call("doctor", "--json"))["run folders"]["found"]


def test_a_run_at_work_is_not_mistaken_for_an_unshipped_one(call: Call, runs: Path) -> None:
    folder = RunFolder.create(runs, "lstm-T64-s0", experiment="tides", uri=None, config_yaml="seed: 0\n")
    with Outbox(folder.outbox) as outbox:
        outbox.metrics([("train/loss", 1.0, 1)])
    outcome = call("doctor", "--json")
    folder.release()
    assert outcome.code == 0
    assert "1 running, 0 not shipped" in findings(outcome)["run folders"]["found"]


def test_a_store_is_counted_without_being_changed(call: Call, runs: Path) -> None:
    runs.mkdir()
    store = sqlite3.connect(runs / "mlflow.db")
    store.execute("CREATE TABLE runs (lifecycle_stage TEXT)")
    store.executemany("INSERT INTO runs VALUES (?)", [("active",), ("active",), ("deleted",)])
    store.commit()
    store.close()
    before = (runs / "mlflow.db").read_bytes()
    assert "2 runs" in findings(call("doctor", "--json"))["tracking store"]["found"]
    assert (runs / "mlflow.db").read_bytes() == before


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "mlruns"])
def test_a_store_out_of_reach_needs_attention(call: Call, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    outcome = call("doctor", "--json")
    assert outcome.code == 1
    assert findings(outcome)["tracking store"]["remedy"]


def test_a_file_that_is_no_store_needs_attention(call: Call, runs: Path) -> None:
    runs.mkdir()
    (runs / "mlflow.db").write_text("this is no database")
    outcome = call("doctor", "--json")
    assert outcome.code == 1
    assert findings(outcome)["tracking store"]["remedy"]


def test_a_plugin_that_failed_needs_attention(call: Call, install: Callable[[str, str], None]) -> None:
    install("dry-cells", "raise RuntimeError('no water')\n")
    code, out, _ = call("doctor")
    assert code == 1
    assert "no water" in out
    assert "plugins: {block: [dry-cells]}" in out
