"""The benchmarks run, on tiny sizes; what they measure is for `make bench` to show, where nothing else runs."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.slow
@pytest.mark.long
def test_quick_benchmarks_measure_every_row(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, str(_BENCHMARKS / "run.py"), "--quick", "--json", str(file)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(file.read_text())
    assert {"device", "processor", "cores", "threads", "python", "torch", "seed"} <= document["machine"].keys()
    rows = {row["name"]: row for row in document["rows"]}
    assert {name: row["target"] for name, row in rows.items() if row["target"] and row["unit"]} == {
        "undertow --help": "<= 0.4",
        "undertow list cells": "<= 0.6",
        "lstm by steps / nn.LSTM": "<= 2",
        "gradient profile / training step, lstm": "<= 0.9",
        "gradient profile / training step, gru": "<= 0.9",
        "gradient profile / training step, rnn": "<= 0.9",
        "platform / bare loop, steps/s": ">= 0.9",
        "torchrecurrent / ours, median of the cells that both have": ">= 1.5",
        **{f"{cell} by steps / by scan": ">= 5" for cell in ("lru", "mingru", "minlstm", "rg-lru", "sru")},
        **{f"{cell} by steps / by scan": ">= 5" for cell in ("deltanet", "gla", "hgrn2", "mlstm", "rwkv7")},
        "2 single runs / pack, H=4: median of the cells that only have steps": ">= 2.5",
        "2 single runs / pack, H=8: rnn": ">= 3",
        "2 single runs / pack, H=8: gru": ">= 2",
        **{f"single run / pack of one, H=8: {cell}": ">= 0.9" for cell in ("rnn", "lstm", "gru")},
        "memory: pack / 2 single runs in processes of their own, lstm": "<= 0.5",
    }
    assert {
        "undertow --help, heavy imports",
        "undertow list cells, heavy imports",
        "unrolled profile / training step, lstm",
        "unrolled profile / training step, gru",
        "unrolled profile / training step, rnn",
        "torchrecurrent OriginalLSTM / nn.LSTM",
        "torchrecurrent MGU / nn.LSTM",
        "slstm / nn.LSTM",
        "training step, lstm by steps / training step, lstm",
        "gradient profile, lem / gradient profile, lstm",
        "memory: training step, gru by steps / training step, gru",
        "lru / nn.LSTM",
        "torchrecurrent LEM / lem",
        "torchrecurrent UnICORNN / unicornn",
        "2 single runs / pack, H=4: mgu",
        "2 single runs / pack, H=4: lru",
        "2 single runs / pack, H=8: lstm",
        "replicate steps/s, S=4 / S=1, lem",
        "replicate steps/s, S=2 / S=1, mgu, bf16-mixed",
        "platform / bare loop, from the start",
        "Lightning + MLFlowLogger / bare loop",
    } <= rows.keys()
    for row in rows.values():
        if row["skipped"]:
            continue
        assert row["low"] <= row["value"] <= row["high"], row
        assert row["value"] > 0 if row["unit"] else row["value"] == 0, row
        assert isinstance(row["met"], bool) == bool(row["target"]), row
        assert row["name"] in done.stdout.replace("\n", " ")


@pytest.mark.filterwarnings("ignore")  # the peer is what its libraries make of it
def test_contestants_of_the_study_train_alike(home: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(_BENCHMARKS.parent)
    shutil.copy(empty_store, home / "mlflow.db")  # where the peer keeps its own
    import optuna

    from benchmarks.grid import Combination, Grid, Outcome
    from benchmarks.peers import bare_study
    from benchmarks.peers.optuna_lightning_mlflow import Worker
    from undertow._system.stopping import StopRequest
    from undertow.config.load import LoadedExperiment
    from undertow.studies.plan.load import load_study
    from undertow.train.build import build
    from undertow.train.job import train
    from undertow.train.record import Record

    file = _BENCHMARKS / "study.yaml"
    tiny = [
        "cell.hidden_size=4",
        "train.max_steps=3",
        "train.val_every=3",
        "train.val_examples=8",
        "train.batch_size=4",
        "study.vary={cell.name: [rnn, lstm, gru], task.length: [10], seed: [1]}",
    ]
    grid, loaded = Grid.read(file, tiny), load_study(file, tiny)
    assert [each.name for each in grid.combinations()] == ["rnn-T10-s1", "lstm-T10-s1", "gru-T10-s1"]
    peer = Worker(grid)
    for point in loaded.space.points():
        config = loaded.experiment(point)
        folder = home / config.run_name
        folder.mkdir()
        record = Record(None)
        built = build(LoadedExperiment(config, loaded.registry))
        train(built, folder, record=record, stop=StopRequest(), progress=False)
        combination = Combination(config.cell.name, config.task.length or 0, config.seed)
        assert combination.name == config.run_name
        expected = Outcome(
            train_loss=pytest.approx(record.latest["train/loss"], rel=1e-5),
            val_loss=pytest.approx(record.latest["val/loss"], rel=1e-5),
        )
        assert bare_study.train(combination, grid) == expected
        assert peer.objective(optuna.trial.FixedTrial(vars(combination))) == expected.val_loss
        assert peer.outcomes[combination.name] == expected


def test_study_of_the_benchmark_is_the_grid_that_is_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(_BENCHMARKS.parent)
    from benchmarks.grid import Grid
    from undertow.studies.plan.load import load_study
    from undertow.studies.plan.packs import Packs

    file = _BENCHMARKS / "study.yaml"
    grid, loaded = Grid.read(file), load_study(file)
    names = [loaded.experiment(each.params).run_name for each in loaded.space.combinations()]
    assert [each.name for each in grid.combinations()] == names
    assert len(names) == 48
    packs = Packs(loaded, grid.workers)
    assert {packs.most(each) for each in loaded.space.combinations()} == {8}
    assert (grid.hidden_size, grid.batch_size, grid.train_batches, grid.val_batches) == (64, 32, 100, 100)
    assert (grid.workers, grid.threads) == (2, 1)


_LEAVES_SOMETHING_BEHIND = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", {busy!r}], start_new_session=True)
print("done")
"""
_BUSY = "import time\nwhile time.process_time() < 0.5: pass"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux hands a process's orphans to another than init")
def test_command_is_charged_for_what_it_leaves_behind(tmp_path: Path) -> None:
    spent = _spent_on(_LEAVES_SOMETHING_BEHIND.format(busy=_BUSY), tmp_path, limit=None)
    assert spent["output"] == "done\n"
    assert spent["finished"]
    assert spent["cpu"] >= 0.5


def test_command_past_its_limit_is_ended(tmp_path: Path) -> None:
    spent = _spent_on("import time; time.sleep(60)", tmp_path, limit=0.5)
    assert not spent["finished"]
    assert 0.5 <= spent["wall"] < 30


def _spent_on(code: str, folder: Path, limit: float | None) -> dict[str, Any]:
    """Run Python as a command is run, by a process of its own: this one has other children to wait for."""
    script = (
        "import json, os, sys; from dataclasses import asdict; from pathlib import Path\n"
        "from benchmarks.command import run\n"
        f"spent = run([sys.executable, '-c', {code!r}], folder=Path(), environment=os.environ, limit={limit})\n"
        "print(json.dumps(asdict(spent)))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(_BENCHMARKS.parent)}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    spent: dict[str, Any] = json.loads(done.stdout)
    return spent


def test_study_rows_set_the_platform_against_the_bare_loops_and_the_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    study = _study_with_made_up_times(monkeypatch, platform_loss=0.1)
    rows = {row.name: row for row in study.measure(quick=True)}
    assert {name: (row.value, row.target) for name, row in rows.items()} == {
        "study / bare loops, wall time": (1.25, "<= 0.75"),
        "study / bare loops without start-up": (1.5625, ""),
        "Optuna + Lightning + MLflow / bare loops, wall time": (2.0, ""),
        "study / Optuna + Lightning + MLflow, trials a minute": (1.6, ">= 2.5"),
        "the same, the peer with torch's default threads": (None, ""),
        "CPU time of a single trial beyond its training": (0.25, "<= 0.5"),
    }


def test_study_whose_losses_differ_is_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    study = _study_with_made_up_times(monkeypatch, platform_loss=0.1002)
    with pytest.raises(RuntimeError, match="rnn-T10-s0: undertow ends at"):
        study.measure(quick=True)


def _study_with_made_up_times(monkeypatch: pytest.MonkeyPatch, platform_loss: float) -> Any:
    """The measurement of studies, whose contestants answer at once."""
    monkeypatch.syspath_prepend(_BENCHMARKS.parent)
    from benchmarks import study
    from benchmarks.command import Spent
    from benchmarks.grid import Grid, Outcome, Report

    wall = {"bare_study": 40.0, "optuna_lightning_mlflow": 80.0, "undertow": 50.0}
    cpu_each = {"bare_study": 1.0, "optuna_lightning_mlflow": 2.0, "undertow": 1.25}

    def spent(name: str, grid: Grid) -> Spent:
        return Spent(wall[name], 7.0 + cpu_each[name] * len(grid.combinations()), output="", finished=True)

    def by_hand(name: str, grid: Grid) -> tuple[Spent, Report]:
        return spent(name, grid), Report(32.0, {each.name: Outcome(0.1, 0.2) for each in grid.combinations()})

    def by_platform(overrides: tuple[str, ...]) -> tuple[Spent, dict[str, Outcome]]:
        grid = Grid.read(_BENCHMARKS / "study.yaml", overrides)
        return spent("undertow", grid), {each.name: Outcome(platform_loss, 0.2) for each in grid.combinations()}

    monkeypatch.setattr(study, "_by_hand", by_hand)
    monkeypatch.setattr(study, "_by_platform", by_platform)
    return study
