"""Four drivers in four processes share one journal, as on machines without a database; one of them is killed."""

import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from undertow.studies.plan.load import LoadedStudy
from undertow.studies.store.ledger import Ledger
from undertow.studies.store.results import read_results

Bombs = Callable[..., LoadedStudy]
Until = Callable[..., Any]

pytestmark = [pytest.mark.slow, pytest.mark.long]

WAITING = ["--set", "study.vary={cell.options.bomb.mode: [wait], seed: [0, 1, 2, 3, 4, 5, 6, 7]}", "--workers", "1"]
"""Trials that wait while the file `shut` exists: what is killed when must not depend on the load of the machine."""


def test_four_drivers_complete_each_combination_once_although_one_is_killed(
    home: Path, bombs: Bombs, until: Until
) -> None:
    bombs()
    shared = home / "shared"
    shared.mkdir()
    journal = f"journal://{shared}/optuna.log"
    shut = home / "shut"
    shut.touch()

    def start(*words: str, at: str = "here") -> "subprocess.Popen[str]":
        variables = {**os.environ, "UNDERTOW_STUDY_URI": journal, "UNDERTOW_HOME": str(home / at)}
        command = [sys.executable, "-P", "-m", *words]
        process = subprocess.Popen(command, cwd=home, env=variables, text=True, stdout=-1, stderr=-1)
        processes.callback(process.communicate)
        processes.callback(process.kill)
        return process

    def ended(*words: str) -> str:
        out, err = start("undertow.cli", *words).communicate(timeout=180)
        return out + err

    with ExitStack() as processes:
        drivers = [start("undertow.cli", "study", "run", "bombs.yaml", *WAITING, at=f"machine-{n}") for n in range(4)]
        until(lambda: len([*home.glob("machine-*/*/checkpoints/last.ckpt")]) == 4, seconds=300)
        status = json.loads(ended("study", "status", "bombs", "--json"))
        assert sorted(pid for each in status["drivers"].values() for pid in each) == sorted(d.pid for d in drivers)
        assert len(status["running"]) == 4
        drivers[0].kill()
        shut.unlink()
        errors = [driver.communicate(timeout=300)[1] for driver in drivers]
        assert [driver.returncode for driver in drivers] == [-9, 0, 0, 0], errors
        combinations = read_results(Ledger.find(journal, "bombs")).combinations
        assert [each.state for each in combinations] == ["complete"] * 8
        assert sorted(each.attempts for each in combinations) == [1, 1, 1, 1, 1, 1, 1, 2]
        completed = [*home.glob("machine-*/*/result.json")]
        assert len(completed) in (8, 9), "the trial of the killed driver may have ended in its home as well"
        assert "no driver is running, so there is nothing to stop" in ended("study", "stop", "bombs")

        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        dashboard = start("undertow.cli.servers.dashboard", "127.0.0.1", str(port))

        def shown() -> Any:
            assert dashboard.poll() is None
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/studies/0", timeout=30) as response:
                    return json.load(response)
            except OSError:
                return None

        states = [trial["state"] for trial in until(shown)["trials"]]
        assert (states.count("Complete"), len(states)) == (8, 9)
