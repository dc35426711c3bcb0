"""The batch script of README, with the signals that SLURM sends to a job: started again, it goes on."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from undertow.runs.result import Result
from undertow.studies.plan.load import LoadedStudy
from undertow.studies.store.ledger import Ledger
from undertow.studies.store.results import read_results

README = Path(__file__).parents[2] / "README.md"
SLOW = "study.vary={cell.options.bomb.mode: [slow], seed: [0, 1]}"

pytestmark = [pytest.mark.slow, pytest.mark.long]

Until = Callable[..., Any]


class Slurm:
    """Runs the batch script as SLURM does: in a session of its own, with the variables of a job."""

    def __init__(self, home: Path, script: str) -> None:
        self.programs = home / "bin"
        self.programs.mkdir()
        self.requeued = home / "requeued"
        self._home = home
        self._jobs: list[subprocess.Popen[bytes]] = []
        self._write(home / "undertow.sbatch", script)
        self._write(self.programs / "undertow", f'#!/bin/sh\nexec {sys.executable} -m undertow.cli "$@"\n')
        self._write(self.programs / "scontrol", f'#!/bin/sh\necho "$@" >> {self.requeued}\n')

    def start(self, *words: str) -> "subprocess.Popen[bytes]":
        """Start the job, for the first time or again."""
        of_the_job = {"SLURM_JOB_ID": "17", "SLURM_SUBMIT_DIR": str(self._home), "RANK": "0", "SLURM_PROCID": "0"}
        path = f"{self.programs}:{os.environ['PATH']}"
        with (self._home / "slurm-17.out").open("ab") as output:
            command = [str(self._home / "undertow.sbatch"), *words]
            environment = {**os.environ, **of_the_job, "PATH": path}
            job = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True, env=environment)
        self._jobs.append(job)
        return job

    def signal_all(self, job: "subprocess.Popen[bytes]", *numbers: signal.Signals) -> None:
        """Send signals to every process of a job, in whatever session, as `scancel`, preemption and timeouts do."""
        batch = psutil.Process(job.pid)
        for each in [batch, *batch.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                for number in numbers:
                    each.send_signal(number)

    def end(self) -> None:
        """Kill what is left of all jobs."""
        for job in self._jobs:
            if job.poll() is None:
                self.signal_all(job, signal.SIGKILL)
            job.wait()

    def _write(self, path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o755)


@pytest.fixture
def slurm(home: Path) -> Iterator[Slurm]:
    (script,) = re.findall(r"```bash\n(#!/bin/bash\n#SBATCH .*?)```", README.read_text(), re.DOTALL)
    assert len(script.splitlines()) == 10
    slurm = Slurm(home, script)
    yield slurm
    slurm.end()


def losses(folder: Path) -> Counter[int]:
    """How often each step of a run is in its record."""
    records = [json.loads(line) for line in (folder / "outbox.jsonl").read_text().splitlines() if line.endswith("}")]
    rows = [row for each in records if each["kind"] == "metrics" for row in each["rows"]]
    return Counter(row[2] for row in rows if row[0] == "train/loss")


def test_a_run_is_queued_again_before_its_time_is_over_and_goes_on(
    home: Path, bombs: Callable[..., LoadedStudy], slurm: Slurm, until: Until
) -> None:
    """`--signal=B:USR1@120` goes to the batch shell alone."""
    bombs()
    (home / "bomb.yaml").write_text((home / "bombs.yaml").read_text().partition("study:")[0])
    sets = ["cell.options.bomb.mode=slow", "train.max_steps=300", "train.log_every=1"]
    words = ["run", "bomb.yaml", *(word for each in sets for word in ("--set", each))]
    job = slurm.start(*words)
    until(lambda: list(home.glob("job-17-*/checkpoints/last.ckpt")))
    job.send_signal(signal.SIGUSR1)
    job.wait(300)
    (folder,) = home.glob("job-17-*")
    assert Result.read(folder / "result.json").reason.startswith("stopped by SIGUSR1 after step ")
    assert slurm.requeued.read_text() == "requeue 17\n"
    Path("fast").touch()
    assert slurm.start(*words).wait(300) == 0, (home / "slurm-17.out").read_text()
    assert list(home.glob("job-17-*")) == [folder]
    assert Result.read(folder / "result.json").status == "FINISHED"
    assert losses(folder) == Counter(range(1, 301))
    with closing(sqlite3.connect(home / "mlflow.db")) as store:
        assert store.execute("SELECT status FROM runs").fetchall() == [("FINISHED",)]
        rows = "SELECT count(*), count(DISTINCT step) FROM metrics WHERE key = 'train/loss'"
        assert store.execute(rows).fetchall() == [(300, 300)]


def test_a_study_that_is_preempted_goes_on_when_the_job_is_started_again(
    home: Path, bombs: Callable[..., LoadedStudy], slurm: Slurm, until: Until
) -> None:
    """SLURM sends SIGCONT and SIGTERM to every process of the job, and SIGKILL after the grace time."""
    bombs()
    words = ["study", "run", "bombs.yaml", "--set", SLOW, "--set", "train.max_steps=300"]
    job = slurm.start(*words)
    until(lambda: len(list(home.glob("bomb-*/checkpoints/last.ckpt"))) == 2)
    slurm.signal_all(job, signal.SIGCONT, signal.SIGTERM)
    job.wait(300)
    slurm.end()
    assert "stopped by SIGTERM with 0 of 2 combinations settled" in (home / "slurm-17.out").read_text()
    assert not slurm.requeued.exists(), "SLURM queues a preempted job again itself"
    folders = sorted(home.glob("bomb-*"))
    reasons = [Result.read(each / "result.json").reason for each in folders]
    assert all(reason.startswith("stopped by SIGTERM after step ") for reason in reasons), reasons
    Path("fast").touch()
    assert slurm.start(*words).wait(300) == 0, (home / "slurm-17.out").read_text()
    assert sorted(home.glob("bomb-*")) == folders
    trials = read_results(Ledger.find(f"sqlite:///{home}/optuna.db", "bombs")).combinations
    assert [(trial.state, trial.attempts) for trial in trials] == [("complete", 2), ("complete", 2)]
    with closing(sqlite3.connect(home / "mlflow.db")) as store:
        states = "SELECT status, count(*) FROM runs GROUP BY status"
        assert store.execute(states).fetchall() == [("FINISHED", 3)], "two trials, and the study's own run"
