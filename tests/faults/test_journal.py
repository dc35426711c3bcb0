"""Four drivers in four processes share one journal, as on machines without a database; one of them is killed."""

import json
import socket
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from undertow.studies.plan.load import LoadedStudy
from undertow.studies.store.ledger import Ledger
from undertow.studies.store.results import read_results

Bombs = Callable[..., LoadedStudy]
Until = Callable[..., Any]

pytestmark = pytest.mark.slow

WAITING = ["--set", "study.vary={cell.options.bomb.mode: [wait], seed: [0, 1, 2, 3, 4, 5, 6, 7]}", "--workers", "1"]
"""Trials that wait while the file `shut` exists: what is killed when must not depend on the load of the machine."""


def test_four_drivers_complete_each_combination_once_although_one_is_killed(
    home: Path,
    bombs: Bombs,
    fork: Callable[..., Any],
    call: Callable[..., tuple[int, str]],
    start: Callable[..., Any],
    until: Until,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bombs()
    shared = home / "shared"
    shared.mkdir()
    journal = f"journal://{shared}/optuna.log"
    shut = home / "shut"
    shut.touch()

    monkeypatch.setenv("UNDERTOW_STUDY_URI", journal)
    drivers = [fork("study", "run", "bombs.yaml", *WAITING, at=f"machine-{n}") for n in range(4)]
    until(lambda: len([*home.glob("machine-*/*/checkpoints/last.ckpt")]) == 4, seconds=300)
    status = json.loads(call("study", "status", "bombs", "--json")[1])
    assert sorted(pid for each in status["drivers"].values() for pid in each) == sorted(d.pid for d in drivers)
    assert len(status["running"]) == 4
    drivers[0].kill()
    shut.unlink()
    for driver, code in zip(drivers, (-9, 0, 0, 0), strict=True):
        driver.ended(code)
    combinations = read_results(Ledger.find(journal, "bombs")).combinations
    assert [each.state for each in combinations] == ["complete"] * 8
    assert sorted(each.attempts for each in combinations) == [1, 1, 1, 1, 1, 1, 1, 2]
    completed = [*home.glob("machine-*/*/result.json")]
    assert len(completed) in (8, 9), "the trial of the killed driver may have ended in its home as well"
    assert "no driver is running, so there is nothing to stop" in call("study", "stop", "bombs")[1]

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-P", "-m", "undertow.cli.servers.dashboard", "127.0.0.1", str(port)]
    dashboard = start(command)

    def shown() -> Any:
        assert dashboard.poll() is None
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/studies/0", timeout=30) as response:
                return json.load(response)
        except OSError:
            return None

    states = [trial["state"] for trial in until(shown)["trials"]]
    assert (states.count("Complete"), len(states)) == (8, 9)
