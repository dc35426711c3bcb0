"""`undertow sync` with replaced shipping."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from undertow.cli.commands import sync as sync_module
from undertow.tracking import SyncResult

Call = Callable[..., Any]


def replace_sync(monkeypatch: pytest.MonkeyPatch, *results: SyncResult) -> list[Path]:
    folders: list[Path] = []

    def sync(path: Path, progress: Callable[[Path, int, int], None]) -> list[SyncResult]:
        folders.append(path)
        for result in results:
            progress(result.folder, 5, 10)
        return list(results)

    monkeypatch.setattr(sync_module, "sync", sync)
    return folders


def test_shipped_records_are_counted_by_run(call: Call, monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    folders = replace_sync(monkeypatch, SyncResult(runs / "lstm-1", 120, 0, 0, None))
    code, out, _ = call("sync")
    assert code == 0
    assert folders == [runs]
    assert ["lstm-1", "120", "0", "0"] in [line.split() for line in out.splitlines()]


def test_records_that_are_left_exit_with_1_and_the_reason(
    call: Call, monkeypatch: pytest.MonkeyPatch, runs: Path
) -> None:
    replace_sync(monkeypatch, SyncResult(runs / "lstm-1", 3, 7, 0, "connection refused"))
    code, out, err = call("sync")
    assert code == 1
    assert ["lstm-1", "3", "7", "0"] in [line.split() for line in out.splitlines()]
    assert "connection refused" in err
    outcome = call("sync", "--json")
    assert outcome.code == 1
    assert outcome.document["left"] == 7
    assert outcome.document["runs"][0]["error"] == "connection refused"


def test_rejected_records_are_reported_with_the_file_that_has_them(
    call: Call, monkeypatch: pytest.MonkeyPatch, runs: Path
) -> None:
    replace_sync(monkeypatch, SyncResult(runs / "lstm-1", 9, 0, 1, None))
    code, _, err = call("sync", runs / "lstm-1")
    assert code == 0
    assert str(runs / "lstm-1" / "rejected.jsonl") in err


def test_nothing_to_ship_is_reported(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_sync(monkeypatch)
    code, out, _ = call("sync")
    assert code == 0
    assert "Nothing to ship" in out


def test_a_missing_folder_is_refused(call: Call, runs: Path) -> None:
    code, _, err = call("sync")
    assert code == 2
    assert str(runs) in err
