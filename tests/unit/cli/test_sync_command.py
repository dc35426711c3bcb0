"""`undertow sync`, with the shipping itself replaced."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from undertow.cli.commands import sync as sync_module
from undertow.tracking import SyncResult

Call = Callable[..., Any]


def ships(monkeypatch: pytest.MonkeyPatch, *results: SyncResult) -> list[Path]:
    asked: list[Path] = []

    def sync(path: Path, progress: Callable[[Path, int, int], None]) -> list[SyncResult]:
        asked.append(path)
        for result in results:
            progress(result.folder, 5, 10)
        return list(results)

    monkeypatch.setattr(sync_module, "sync", sync)
    return asked


def test_what_was_shipped_is_told_by_run(call: Call, monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    asked = ships(monkeypatch, SyncResult(runs / "lstm-1", 120, 0, 0, None))
    code, out, _ = call("sync")
    assert code == 0
    assert asked == [runs]
    assert ["lstm-1", "120", "0", "0"] in [line.split() for line in out.splitlines()]


def test_what_is_left_exits_with_1_and_says_why(call: Call, monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    ships(monkeypatch, SyncResult(runs / "lstm-1", 3, 7, 0, "connection refused"))
    code, out, err = call("sync")
    assert code == 1
    assert ["lstm-1", "3", "7", "0"] in [line.split() for line in out.splitlines()]
    assert "connection refused" in err
    outcome = call("sync", "--json")
    assert outcome.code == 1
    assert outcome.document["left"] == 7
    assert outcome.document["runs"][0]["error"] == "connection refused"


def test_what_the_store_refuses_is_told_with_the_file_that_has_it(
    call: Call, monkeypatch: pytest.MonkeyPatch, runs: Path
) -> None:
    ships(monkeypatch, SyncResult(runs / "lstm-1", 9, 0, 1, None))
    code, _, err = call("sync", runs / "lstm-1")
    assert code == 0
    assert str(runs / "lstm-1" / "rejected.jsonl") in err


def test_nothing_to_ship_is_said(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    ships(monkeypatch)
    code, out, _ = call("sync")
    assert code == 0
    assert "Nothing to ship" in out


def test_a_folder_that_is_not_there_is_refused(call: Call, runs: Path) -> None:
    code, _, err = call("sync")
    assert code == 2
    assert str(runs) in err
