"""The process that is forked in advance for the next trial: it is replaced if it dies, and ends with the executor."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from undertow.runs.result import Result
from undertow.studies.plan.load import load_study_mapping
from undertow.studies.work.executor import LocalExecutor
from undertow.studies.work.job import Job

SMALL = {
    "task": {"name": "adding", "length": 16},
    "cell": {"name": "rnn", "hidden_size": 4},
    "train": {"max_steps": 2, "val_every": 1, "val_examples": 16, "batch_size": 8},
    "probes": [],
    "study": {"name": "small", "vary": {"seed": [0]}},
}


@pytest.mark.slow
def test_a_spare_process_that_dies_is_replaced_and_the_last_one_ends(home: Path, until: Callable[..., None]) -> None:
    loaded = load_study_mapping(SMALL, [])
    executor = LocalExecutor()

    def job(run: str) -> Job:
        return Job(
            home=home,
            study=home / "study",
            folder=None,
            run=run * 32,
            parent="",
            uri=f"sqlite:///{home}/mlflow.db",
            config=loaded.experiment({"seed": 0}),
            plugins=loaded.registry.plugins,
            tags={},
            params={},
            threads=1,
        )

    first = executor.launch([job("1")])
    spare = executor._spare
    assert spare is not None
    os.kill(spare.pid, signal.SIGKILL)
    until(lambda: spare.exit_code is not None)
    second = executor.launch([job("2")])
    until(lambda: first.exit_code == second.exit_code == 0)
    for folder in (job("1").place, job("2").place):
        assert Result.read(folder / "result.json").status == "FINISHED"
    last = executor._spare
    assert last is not None
    assert last.pid not in (first.pid, second.pid, spare.pid)
    executor.close()
    until(lambda: not psutil.pid_exists(last.pid))
