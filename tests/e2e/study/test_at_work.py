"""Running studies: from a script, with a search, stopped, pruned, retried, and without a server."""

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from forked import command
from undertow.report.results import CombinationResult
from undertow.studies.work.driver import Driver
from undertow.tracking import start_shipper, sync

Document = dict[str, Any]


def by(trials: Sequence[CombinationResult], key: str) -> dict[Any, list[CombinationResult]]:
    found: dict[Any, list[CombinationResult]] = {}
    for trial in trials:
        found.setdefault(trial.params.get(key), []).append(trial)
    return found


SCRIPT = """\
import signal
import undertow

mapping = {
    "task": {"name": "adding", "length": 16},
    "cell": {"name": "rnn", "hidden_size": 4},
    "train": {"max_steps": 2, "val_every": 1, "val_examples": 16, "batch_size": 8, "threads": 1},
    "probes": [],
    "study": {"name": "scripted", "vary": {"cell.name": ["rnn", "gru"], "seed": [0, 1]}},
}
before = signal.getsignal(signal.SIGINT)
study, frame = undertow.study(mapping, set=["train.max_steps=3"], progress=False)
assert signal.getsignal(signal.SIGINT) is before
print(type(study).__name__, study.study_name, len(study.trials))
print(frame[["cell.name", "seed", "state", "steps"]].to_csv(index=False))
print(sorted(frame.columns) == sorted(set(frame.columns)) and bool((frame["val/loss"] > 0).all()))
"""


@pytest.mark.slow
def test_a_script_gets_the_study_and_a_frame(place) -> None:
    """It has no `if __name__ == "__main__"`: the processes of its trials must not run it again."""
    (place.path / "script.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "Study scripted 4",
        "cell.name,seed,state,steps",
        *(f"{cell},{seed},complete,3" for cell in ("rnn", "gru") for seed in (0, 1)),
        "",
        "True",
    ]


SEARCH = """\
name: search
vary: {cell.name: [rnn, lstm]}
search:
  optim.lr: {low: 1.0e-4, high: 1.0e-2, log: true}
  cell.options.lstm.forget_bias: {low: 0.0, high: 4.0}
  optim.name: {choices: [adam, sgd]}
  optim.momentum: {low: 0.0, high: 0.9, when: {optim.name: sgd}}
sampler: {name: tpe, options: {n_startup_trials: 2}}
samples: 3
"""


@pytest.mark.slow
def test_a_search_samples_the_keys_that_matter_at_each_point_of_the_grid(unshipped, call) -> None:
    file = unshipped.write(SEARCH)
    assert call("study", "run", file, "--quiet").code == 0
    first = unshipped.read("search").combinations
    for cell, trials in by(first, "cell.name").items():
        assert [trial.sample for trial in trials] == [0, 1, 2]
        for trial in trials:
            assert trial.state == "complete"
            assert 1e-4 <= float(str(trial.params["optim.lr"])) <= 1e-2
            assert ("cell.options.lstm.forget_bias" in trial.params) == (cell == "lstm")
            assert ("optim.momentum" in trial.params) == (trial.params["optim.name"] == "sgd")
            config = yaml.safe_load((Path(trial.folder) / "config.yaml").read_text())
            assert config["optim"]["lr"] == trial.params["optim.lr"]
    assert len({trial.params["optim.lr"] for trial in first}) == 6

    assert call("study", "run", file, "--quiet", "--set", "study.samples=4").code == 0
    more = unshipped.read("search").combinations
    assert [len(trials) for trials in by(more, "cell.name").values()] == [4, 4]
    assert {trial.number: trial.params for trial in first}.items() <= {t.number: t.params for t in more}.items()
    assert [trial.attempts for trial in more] == [1] * 8


@pytest.mark.slow
def test_two_objectives_make_a_pareto_front(unshipped, call) -> None:
    study = """\
        name: front
        search: {cell.hidden_size: {low: 2, high: 16}}
        samples: 4
        sampler: {name: nsgaii, options: {population_size: 2}}
        objectives: [{metric: val/loss}, {metric: cost/parameters}]
    """
    file = unshipped.write(study, cell={"name": "rnn"}, probes=[{"name": "cost"}])
    output = call("study", "run", file, "--json", "--quiet")
    document: Document = json.loads(output.out)
    assert output.code == 0
    assert [len(trial["values"]) for trial in document["trials"]] == [2] * 4
    assert "Pareto" in Path(document["report"]).read_text()


@pytest.mark.slow
def test_after_its_time_budget_a_study_starts_no_trial_and_the_next_command_continues(
    unshipped, call, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = "{name: budget, vary: {seed: [0, 1, 2]}, time_budget: 3600, workers: 1, pack: 'off'}"
    file = unshipped.write(study, cell={"name": "rnn", "hidden_size": 4})
    launch = Driver._launch

    def an_hour_passes(driver: Driver, *trial: Any) -> None:
        launch(driver, *trial)
        driver._started -= 3600

    with monkeypatch.context() as patch:
        patch.setattr(Driver, "_launch", an_hour_passes)
        output = call("study", "run", file, "--quiet")
    assert output.code == 0
    assert "2 of 3 combinations are left: run the same command to continue." in output.err
    assert [trial.state for trial in unshipped.read("budget").combinations] == ["complete", "waiting", "waiting"]
    limited = call("study", "run", file, "--quiet", "--trials", "1")
    assert "1 of 3 combinations are left" in limited.err
    assert "left" not in call("study", "run", file, "--quiet").err
    trials = unshipped.read("budget").combinations
    assert [(trial.state, trial.attempts) for trial in trials] == [("complete", 1)] * 3


FAILING = """
import os
import torch
from undertow import Cell, CellSpec, hookimpl


class Failing(Cell):
    def initial_state(self, batch_size):
        return (torch.zeros(batch_size, self.hidden_size),)

    def __init__(self, input_size, hidden_size, options, length):
        super().__init__(input_size, hidden_size, options, length)
        self.input_map = torch.nn.Linear(input_size, hidden_size)

    def step(self, z, state):
        if self.training and not os.path.exists({fixed!r}):
            raise ValueError("it failed")
        return (torch.tanh(self.input_map(z)),)


@hookimpl
def undertow_register_cells():
    yield CellSpec(name="failing", summary="fails until there is a file", factory=":Failing", state=("h",))
"""


@pytest.mark.slow
def test_failed_combinations_are_retried_on_request(unshipped, call) -> None:
    (unshipped.path / "failing.py").write_text(FAILING.format(fixed=str(unshipped.path / "fixed")))
    file = unshipped.write(
        "{name: failing, vary: {seed: [0, 1]}, retries: 0}", cell={"name": "failing", "hidden_size": 4}
    )
    run = ["study", "run", file, "--plugin", "failing.py", "--quiet"]
    assert call(*run).code == 1
    assert [trial.state for trial in unshipped.read("failing").combinations] == ["failed", "failed"]
    status = call("study", "status", "failing")
    assert status.out.count("ValueError: it failed") == 2
    assert call("study", "status", file, "--plugin", "failing.py").out == status.out, "by the file that names the cell"
    (unshipped.path / "fixed").touch()
    assert call(*run).code == 1
    assert [trial.attempts for trial in unshipped.read("failing").combinations] == [1, 1], "a retry was not requested"
    assert call(*run, "--retry-failed").code == 0
    trials = unshipped.read("failing").combinations
    assert [(trial.state, trial.attempts) for trial in trials] == [("complete", 2)] * 2
    assert len(list(unshipped.path.glob("failing-T*/run.json"))) == 2, "a retry uses the run folder of the trial before"


@pytest.mark.slow
def test_a_study_with_a_failed_combination_exits_with_1_and_names_the_option_that_runs_it_again(
    unshipped, call
) -> None:
    """An exception would be raised again, so that the combination fails once, whatever `retries` is."""
    (unshipped.path / "failing.py").write_text(FAILING.format(fixed="nowhere"))
    file = unshipped.write("{name: mixed, vary: {cell.name: [rnn, failing]}, retries: 3}", cell={"hidden_size": 4})
    output = call("study", "run", file, "--plugin", "failing.py", "--quiet")
    combinations = unshipped.read("mixed").combinations
    assert [(each.state, each.attempts) for each in combinations] == [("complete", 1), ("failed", 1)]
    assert output.code == 1
    assert "1 of 2 combinations have failed" in output.err.splitlines()[-1]
    assert "--retry-failed" in output.err.splitlines()[-1]


@pytest.mark.slow
def test_a_study_whose_report_cannot_be_written_is_finished(unshipped, call, monkeypatch: pytest.MonkeyPatch) -> None:
    file = unshipped.write("{name: done, vary: {seed: [0]}}", cell={"name": "rnn", "hidden_size": 4})

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("undertow.report.write_report", full)
        output = call("study", "run", file, "--quiet")
    assert output.code == 0
    assert "report cannot be written" in output.err
    assert "No space left on device" in output.err
    assert "Report: " not in output.err
    (outbox,) = unshipped.path.glob("done-*/outbox.jsonl")
    assert '"status":"FINISHED"' in outbox.read_text().splitlines()[-1]
    with monkeypatch.context() as patch:
        patch.setattr("undertow.studies.run.ParentRun.close", full)
        output = call("study", "run", file, "--quiet")
    assert output.code == 0
    assert "its own run cannot be recorded: OSError" in output.err


@pytest.mark.slow
def test_a_study_grows_and_shrinks_with_its_file(unshipped, call) -> None:
    def run(vary: str) -> tuple[Document, str]:
        file = unshipped.write(f"{{name: growing, vary: {vary}}}", cell={"hidden_size": 4})
        output = call("study", "run", file, "--quiet", "--json")
        assert output.code == 0, output.err
        document: Document = json.loads(output.out)
        status = json.loads(call("study", "status", "growing", "--json").out)
        assert (status["total"], status["states"]) == (len(document["trials"]), {"complete": len(document["trials"])})
        return document, Path(document["report"]).read_text()

    first, _ = run("{cell.name: [rnn], optim.betas: [[0.9, 0.999]]}")
    grown, page = run("{cell.name: [lstm, rnn], optim.betas: [[0.9, 0.999], [0.5, 0.9]]}")
    assert [trial["run_name"] for trial in grown["trials"]] == [
        f"{cell}-T16-s0-betas={betas}" for cell in ("lstm", "rnn") for betas in ("0.9,0.999", "0.5,0.9")
    ]
    assert first["trials"][0] in grown["trials"], "it was kept, and not run again"
    assert "[0.5, 0.9]" in page
    assert {trial["params"]["optim.betas"][0] for trial in grown["trials"]} == {0.9, 0.5}
    assert len(list(unshipped.path.glob("*-T16-s0-*/run.json"))) == 4
    shrunk, page = run("{cell.name: [lstm], optim.betas: [[0.5, 0.9]]}")
    assert shrunk["trials"] == grown["trials"][1:2]
    assert "rnn-T16" not in page


@pytest.mark.slow
@pytest.mark.long
def test_a_pruner_ends_a_run_of_two_processes(call, place, until) -> None:
    study = """\
        name: pruned
        vary: {seed: [0]}
        pruner: {name: threshold, options: {upper: 1.0e-6}}
        workers: 1
    """
    train = {"max_steps": 100_000, "val_every": 5, "val_examples": 16, "batch_size": 8}
    file = place.write(
        study,
        cell={"name": "rnn", "hidden_size": 4},
        train={**train, "devices": 2, "strategy": "ddp", "accelerator": "cpu"},
    )
    output = call("study", "run", file, "--quiet")
    assert output.code == 1, "nothing is complete"
    (trial,) = place.read("pruned").combinations
    assert trial.state == "pruned"
    assert "threshold: val/loss is" in trial.reason
    assert trial.steps < 100_000
    until(lambda: place.shipped())
    assert dict(place.query("SELECT name, status FROM runs")) == {trial.run_name: "KILLED", "pruned": "FAILED"}
    until(lambda: not ranks(trial.folder), 30)


def ranks(folder: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if folder in process.cmdline():
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


@pytest.mark.slow
def test_a_study_is_completed_while_its_server_is_down_and_shipped_later(
    home: Path, call, monkeypatch: pytest.MonkeyPatch, place
) -> None:
    monkeypatch.setattr("undertow.tracking.shipping.wait.TIMEOUT", 1.0)
    file = place.write("{name: adrift, vary: {seed: [0, 1]}}", cell={"name": "rnn", "hidden_size": 4})
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    output = call("study", "run", file)
    assert output.code == 0, output.err
    assert "adrift is not completely in the tracking store yet; no record is lost." in output.err
    assert f"undertow sync {home}" in output.err
    assert [trial.state for trial in place.read("adrift").combinations] == ["complete", "complete"]
    shipper = start_shipper(home)
    os.kill(shipper.pid, signal.SIGKILL)  # else it keeps trying, and holds its lock
    shipper.close(10)

    # The server is back at another address: sync uses only the address in the run folder.
    for path in home.glob("*/run.json"):
        path.write_text(path.read_text().replace("http://127.0.0.1:9", f"sqlite:///{home}/mlflow.db"))
    assert not any(result.left or result.error for result in sync(home))
    runs = place.query("SELECT run_uuid, name, status FROM runs")
    assert {name: status for _, name, status in runs} == {
        "adrift": "FINISHED", "rnn-T16-s0": "FINISHED", "rnn-T16-s1": "FINISHED"
    }  # fmt: skip
    (parent,) = [each for each, name, _ in runs if name == "adrift"]
    assert {place.tags(f"rnn-T16-s{seed}")["mlflow.parentRunId"] for seed in (0, 1)} == {parent}


@pytest.mark.slow
def test_status_shows_a_running_study_and_stop_ends_it(home: Path, call, place, until, fork) -> None:
    file = place.write(
        "{name: long, vary: {seed: [0, 1]}, workers: 1}",
        cell={"name": "rnn", "hidden_size": 4},
        train={"max_steps": 100_000, "val_every": 1000, "val_examples": 16, "batch_size": 8, "threads": 1},
        track={"uri": "http://127.0.0.1:9"},
    )
    driver = fork(command("study", "run", file, "--quiet"))
    until(lambda: (home / "optuna.db").exists() and call("study", "status", "long", "--json").out.count("-T16-s1"))
    document: Document = json.loads(call("study", "status", "long", "--json").out)
    assert (document["total"], document["settled"]) == (2, 0)
    assert document["states"]["running"] == 2
    assert sorted(document["running"]) == ["rnn-T16-s0", "rnn-T16-s1"]
    assert document["packs"] == [2]
    assert list(document["drivers"].values()) == [[driver.pid]]
    status = call("study", "status", "long").out
    assert "running: rnn-T16-s0" in status
    assert "2 runs in 1 pack of up to 2" in status
    until(lambda: any('"train/loss"' in path.read_text() for path in home.glob("rnn-*/outbox.jsonl")))
    grown = call("study", "run", file, "--set", "study.vary={seed: [0, 1, 2]}")
    assert grown.code == 2
    assert f"cannot change while a driver works on it (process {driver.pid} on " in grown.err
    assert json.loads(call("study", "status", "long", "--json").out)["total"] == 2
    assert "asked to stop" in call("study", "stop", "long").err
    driver.ended(1)
    assert "stopped by `undertow study stop` with 0 of 2 combinations settled" in driver.errors.read_text()
    assert call("study", "status", "long", "--json").out.count('"drivers": {}') == 1
