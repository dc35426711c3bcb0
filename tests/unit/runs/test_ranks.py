"""The ranks of a run, and the process that started them."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from undertow._system.stopping import StopRequest
from undertow.runs import process, ranks
from undertow.runs.result import Result
from undertow.tracking import RunFolder
from undertow.train.devices import Devices

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


def test_a_rank_that_cannot_build_the_run_records_the_reason(folder: RunFolder, fork: Callable[..., Any]) -> None:
    (folder.path / "ranks").mkdir()
    folder.config.write_text("cell: [")
    main = f"import sys; sys.argv[1:] = [{str(folder.path)!r}]; from undertow.runs.process import main; main()"
    fork(main, {**os.environ, "RANK": "0"}).ended(1)
    result = Result.read(ranks.rank_result(folder))
    assert result.status == "FAILED"
    assert "config.yaml" in result.reason


def test_a_rank_that_is_killed_while_it_imports_torch_has_died(folder: RunFolder, tmp_path: Path) -> None:
    (folder.path / "ranks").mkdir()
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "torch.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    path = os.pathsep.join([str(modules), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "undertow.runs.process", str(folder.path)]
    done = subprocess.run(command, env={**os.environ, "RANK": "1", "PYTHONPATH": path}, check=False, timeout=120)
    assert done.returncode == -9
    assert ranks.dead_ranks(folder).startswith("rank 1 (process ")


def test_a_rank_that_starts_too_late_ends_at_once(folder: RunFolder) -> None:
    (folder.path / "ranks").mkdir()
    ranks.register_rank(folder, 0).release()
    ranks.end_ranks(folder)
    with pytest.raises(SystemExit, match=r"rank 1 of .* the run has ended before this rank has started"):
        ranks.register_rank(folder, 1)


def test_the_reason_of_a_stopped_run_is_the_request_even_if_another_rank_was_faster(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Torchrun:
        pid = 0

        def __init__(self, *args: Any, **options: Any) -> None: ...

        def wait(self, timeout: float) -> int:
            Result("KILLED", "stopped by another rank after step 7").write(ranks.rank_result(folder))
            return 0

        def poll(self) -> int:
            return 0

    monkeypatch.setattr(subprocess, "Popen", Torchrun)
    stop = StopRequest()
    stop.reason = "SIGTERM"
    result = ranks.execute_on_ranks(folder, Devices("cpu", 2, "ddp", "cpu"), stop, progress=False)
    assert result.reason == "stopped by SIGTERM after step 7"


def test_the_ranks_share_the_cores_that_the_process_may_use(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    class Started(Exception):
        pass

    def popen(command: list[str], *, env: dict[str, str], **options: Any) -> None:
        raise Started(env["OMP_NUM_THREADS"])

    monkeypatch.setattr(ranks, "usable_cpus", lambda: 7)
    monkeypatch.setattr(subprocess, "Popen", popen)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for devices, threads in ((2, "3"), (8, "1")):
        with pytest.raises(Started, match=threads):
            ranks.execute_on_ranks(folder, Devices("cpu", devices, "ddp", "cpu"), StopRequest(), progress=False)
        ranks.end_ranks(folder)


TORCHRUN = """
import os, signal, subprocess, sys
from pathlib import Path
from undertow.runs.ranks import mark_ended, rank_result, register_rank
from undertow.tracking import RunFolder

if len(sys.argv) == 2:  # as torchrun: start the rank, and wait for it
    raise SystemExit(subprocess.run([sys.executable, __file__, sys.argv[1], "rank"]).returncode != 0)
folder = RunFolder.open(Path(sys.argv[1]))
lock = register_rank(folder, 1)
BEHAVIOUR
"""


@pytest.fixture
def train(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Result]:
    """Start a rank with this behaviour below a process in the place of torchrun, and return how the run ends."""
    start = subprocess.Popen

    def train(behaviour: str) -> Result:
        script = folder.path / "torchrun.py"
        script.write_text(TORCHRUN.replace("BEHAVIOUR", behaviour))

        def popen(command: list[str], **options: Any) -> "subprocess.Popen[bytes]":
            return start([sys.executable, str(script), str(folder.path)], **options)

        with monkeypatch.context() as patch:
            patch.setattr(subprocess, "Popen", popen)
            return ranks.execute_on_ranks(folder, Devices("cpu", 2, "ddp", "cpu"), StopRequest(), progress=False)

    return train


def test_the_promised_time_after_which_a_stopped_rank_is_noticed() -> None:
    checks = ranks._STOPPED_SECONDS / ranks._CHECK_SECONDS
    assert checks * (ranks._CHECK_SECONDS + ranks._POLL) < 60


def test_a_stopped_rank_is_the_reason_even_if_another_one_fails_when_it_is_killed(
    folder: RunFolder, train: Callable[[str], Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    end_ranks = ranks.end_ranks

    def record_a_failure(folder: RunFolder) -> None:
        if (folder.path / "ranks").exists():
            Result("FAILED", "RuntimeError: Connection closed by peer").write(ranks.rank_result(folder))
        end_ranks(folder)

    monkeypatch.setattr(ranks, "end_ranks", record_a_failure)
    monkeypatch.setattr(ranks, "_STOPPED_SECONDS", 2.0)
    result = train("os.kill(os.getpid(), signal.SIGSTOP)")
    assert result.status == "KILLED"
    assert result.reason.startswith("rank 1 (process ")
    assert result.reason.endswith(") has been stopped for 2 s, and the others wait for it")


def test_a_failure_that_was_recorded_before_a_rank_was_stopped_is_the_reason(
    train: Callable[[str], Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranks, "_STOPPED_SECONDS", 1.0)
    failed = "from undertow.runs.result import Result; Result('FAILED', 'it broke').write(rank_result(folder))"
    assert train(f"{failed}; os.kill(os.getpid(), signal.SIGSTOP)") == Result("FAILED", "it broke")


def test_a_run_whose_rank_is_killed_ends_as_killed_and_names_it(train: Callable[[str], Result]) -> None:
    result = train("os.kill(os.getpid(), signal.SIGKILL)")
    assert result.status == "KILLED"
    assert result.reason.startswith("rank 1 (process ")
    assert result.reason.endswith(") died: out of memory, crashed, or killed from outside")


def test_a_run_whose_torchrun_is_killed_ends_as_killed(train: Callable[[str], Result]) -> None:
    result = train("mark_ended(folder, 1); os.kill(os.getppid(), signal.SIGKILL)")
    assert result == Result("KILLED", "torchrun was ended by SIGKILL")


def test_a_rank_that_ends_by_itself_is_a_failure(train: Callable[[str], Result]) -> None:
    result = train("mark_ended(folder, 1); raise SystemExit(3)")
    assert result == Result("FAILED", "a process of the run ended with exit code 1 and recorded no reason")


NO_LOGGERS = SimpleNamespace(config=SimpleNamespace(track=SimpleNamespace(loggers=[])))


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RuntimeError("Connection closed by peer"), "KILLED"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "FAILED"),
        (ValueError("it broke"), "FAILED"),
    ],
)
def test_a_rank_that_loses_its_connection_to_a_killed_one_has_not_failed(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, error: Exception, status: str
) -> None:
    def fail(*arguments: Any, **options: Any) -> Result:
        raise error

    monkeypatch.setattr(process, "_train", fail)
    (folder.path / "ranks").mkdir()
    ranks.register_rank(folder, 1).release()
    built: Any = SimpleNamespace(devices=Devices("cpu", 2, "ddp", "cpu"), loaded=NO_LOGGERS)
    result = process.execute(folder, built, StopRequest(), progress=False)
    assert result.status == status
    if status == "KILLED":
        assert result.reason.startswith(f"rank 1 (process {os.getpid()}) died")


def test_a_connection_that_is_lost_while_all_ranks_live_is_a_failure(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any, **options: Any) -> Result:
        raise RuntimeError("Connection closed by peer")

    monkeypatch.setattr(process, "_train", fail)
    monkeypatch.setattr(process, "_DEATH_SECONDS", 0.1)
    (folder.path / "ranks").mkdir()
    ranks.register_rank(folder, 1).release()
    ranks.mark_ended(folder, 1)
    built: Any = SimpleNamespace(devices=Devices("cpu", 2, "ddp", "cpu"), loaded=NO_LOGGERS)
    result = process.execute(folder, built, StopRequest(), progress=False)
    assert (result.status, result.error) == ("FAILED", "RuntimeError")


def test_a_rank_that_is_about_to_take_its_lock_is_not_dead(folder: RunFolder) -> None:
    (folder.path / "ranks").mkdir()
    (folder.path / "ranks" / "1.lock").touch()
    assert ranks.dead_ranks(folder) == ""
    ranks.end_ranks(folder)
    assert ranks.dead_ranks(folder) == ""
