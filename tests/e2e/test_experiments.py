"""Every YAML in experiments/ is valid, and every smoke experiment runs."""

import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import undertow
from undertow.config.load import load_experiment
from undertow.studies.load import is_study, load_study

ROOT = Path(__file__).parents[2]
EXPERIMENTS = ROOT / "experiments"
FILES = sorted(EXPERIMENTS.rglob("*.yaml"))


def named(path: Path) -> str:
    return path.relative_to(EXPERIMENTS).as_posix()


def test_there_are_experiments_to_look_at() -> None:
    assert {"demo.yaml", "smoke/digits.yaml"} <= {named(path) for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=named)
def test_an_experiment_is_valid_and_asks_a_question(path: Path) -> None:
    config = load_study(path).first if is_study(path) else load_experiment(path).config
    assert config.question.endswith("?")
    assert config.track.experiment != "default"


@pytest.mark.parametrize("path", sorted((EXPERIMENTS / "smoke").glob("*.yaml")), ids=named)
def test_a_smoke_experiment_runs_and_is_recorded(path: Path, home: Path) -> None:
    changes = ["train.max_steps=4", "train.val_every=2", "train.val_examples=32"]
    result = undertow.run(path, set=changes, home=home, progress=False)
    assert result.steps == 4
    assert result.shipped
    assert "val/loss" in result.metrics
    assert "cost/parameters" in result.metrics


def test_the_readme_of_the_experiments_names_every_file() -> None:
    readme = (EXPERIMENTS / "README.md").read_text()
    for path in [*FILES, *EXPERIMENTS.glob("*.py")]:
        assert f"`{named(path)}`" in readme


def test_the_demo_ends_with_one_table_of_six_runs_and_where_to_look(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = undertow.run
    tiny = ["train.max_steps=2", "train.val_every=1", "train.val_examples=16", "cell.hidden_size=4"]
    monkeypatch.setattr(undertow, "run", lambda path, set: run(path, set=[*set, *tiny], progress=False))
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(EXPERIMENTS / "demo.py"), run_name="__main__")
    assert end.value.code == 0
    out = capsys.readouterr().out
    rows = [line.split()[:2] for line in out.splitlines() if line.split()[:1] in (["rnn"], ["lstm"], ["gru"])]
    assert rows == [[cell, length] for length in ("64", "256") for cell in ("rnn", "lstm", "gru")]
    assert "undertow ui" in out
    assert "http://127.0.0.1:5000/#/experiments/1/runs" in out


@pytest.mark.slow
def test_ctrl_c_ends_the_demo_and_loses_nothing(home: Path) -> None:
    demo = subprocess.Popen([sys.executable, str(EXPERIMENTS / "demo.py")], stderr=subprocess.PIPE, text=True)
    with demo:
        deadline = time.monotonic() + 120
        while not any('"train/loss"' in path.read_text() for path in home.glob("*/outbox.jsonl")):
            assert demo.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        demo.send_signal(signal.SIGINT)
        _, err = demo.communicate(timeout=120)
    (folder,) = home.glob("rnn-T64-s0-*")
    assert demo.returncode == 130
    assert f"undertow run --resume {folder}" in err
    assert "Traceback" not in err
    assert (folder / "checkpoints" / "last.ckpt").exists()
