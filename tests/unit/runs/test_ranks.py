"""The ranks of a run, and the process that started them."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from undertow._system.stopping import StopRequest
from undertow.runs import ranks
from undertow.runs.result import Result
from undertow.tracking import RunFolder

RANK = """
import sys, time
from pathlib import Path
from undertow.runs.ranks import register_rank
from undertow.tracking import RunFolder
lock = register_rank(RunFolder.open(Path(sys.argv[1])), 1)
print("registered", flush=True)
time.sleep(100)
"""


@pytest.fixture
def folder(home: Path) -> RunFolder:
    return RunFolder.create(home, "run", experiment="e", uri=None, config_yaml="")


class Gone:
    path = Path("none")

    def is_alive(self) -> bool:
        return False


def test_a_rank_that_hangs_does_not_outlive_the_process_that_started_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[Any] = []
    waited: list[float] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    monkeypatch.setattr("time.sleep", waited.append)
    stop = StopRequest()
    ranks.stop_with_the_run(Gone(), stop, 30.0)  # type: ignore[arg-type]
    assert stop.reason == "the end of the process that started it"
    assert waited == [30.0], "it has time to save itself"
    assert ended == [1]


def test_a_rank_stops_when_the_run_has_been_taken_over(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "_exit", lambda code: None)
    stop = StopRequest()
    assert folder.is_alive()  # held by the process that continues the run, not by the one that started this rank
    ranks.stop_with_the_run(folder, stop, 0.0)
    assert stop.reason


def test_ranks_have_ended_when_end_ranks_returns(folder: RunFolder) -> None:
    ranks.end_ranks(folder)  # without ranks it does nothing
    (folder.path / "ranks").mkdir()
    rank = subprocess.Popen([sys.executable, "-c", RANK, str(folder.path)], stdout=subprocess.PIPE, text=True)
    assert rank.stdout is not None
    with rank:
        assert rank.stdout.readline() == "registered\n"
        ranks.end_ranks(folder)
        assert rank.wait(timeout=5) == -9
    assert not list(folder.path.glob("ranks*"))


def test_a_rank_that_cannot_build_the_run_records_the_reason(folder: RunFolder) -> None:
    (folder.path / "ranks").mkdir()
    folder.config.write_text("cell: [")
    command = [sys.executable, "-m", "undertow.runs.process", str(folder.path)]
    done = subprocess.run(command, env={**os.environ, "RANK": "0"}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    result = Result.read(ranks.rank_result(folder))
    assert result.status == "FAILED"
    assert "config.yaml" in result.reason


def test_a_rank_that_starts_too_late_ends_at_once(folder: RunFolder) -> None:
    (folder.path / "ranks").mkdir()
    ranks.register_rank(folder, 0).release()
    ranks.end_ranks(folder)
    with pytest.raises(SystemExit, match=r"rank 1 of .* the run has ended before this rank has started"):
        ranks.register_rank(folder, 1)
