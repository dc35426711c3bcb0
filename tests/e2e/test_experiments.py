"""Every YAML in experiments/ is valid, and every smoke experiment runs."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import undertow
from forked import Forked, command
from undertow.cli import main
from undertow.config.load import load_experiment
from undertow.studies.plan.load import is_study, load_study

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
def test_a_smoke_experiment_runs_and_is_recorded(path: Path, settled_home: Path) -> None:
    changes = ["train.max_steps=4", "train.val_every=2", "train.val_examples=32"]
    result = undertow.run(path, set=changes, home=settled_home, progress=False)
    assert result.steps == 4
    assert result.shipped
    assert "val/loss" in result.metrics
    assert "cost/parameters" in result.metrics


def test_the_readme_of_the_experiments_names_every_file() -> None:
    readme = (EXPERIMENTS / "README.md").read_text()
    for path in [*FILES, *EXPERIMENTS.glob("*.py")]:
        assert f"`{named(path)}`" in readme


DEMO = EXPERIMENTS / "demo.yaml"
TINY = ["train.max_steps=2", "train.val_every=1", "train.val_examples=16", "cell.hidden_size=4", "probes.0.every=2"]


def changed(*changes: str) -> list[str]:
    return [word for change in changes for word in ("--set", change)]


@pytest.mark.slow
def test_the_demo_ends_with_one_table_of_ten_rows_where_to_look_and_the_answer(
    home: Path, empty_store: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (home / "mlflow.db").write_bytes(empty_store.read_bytes())
    assert main(["study", "run", str(DEMO), *changed(*TINY, "study.seeds=1")]) == 0
    out, err = capfd.readouterr()
    cells = [("rnn", "–"), ("lstm", "false"), ("lstm", "true"), ("gru", "–"), ("orthogonal", "–")]
    rows = [tuple(line.split()[:3]) for line in out.splitlines() if line.split()[1:2] in (["–"], ["false"], ["true"])]
    assert set(rows) == {(*cell, length) for cell in cells for length in ("64", "128")}
    assert err.count("complete ") == 10
    question, state, *answer = out[out.index("How many steps back") :].splitlines()
    assert question.endswith("by cell and length?")
    assert state == "10 of 10 combinations complete."
    assert answer
    assert "Look with: undertow ui\n" in err
    assert "http://127.0.0.1:5000/#/experiments/" in err
    (report,) = home.glob("demo-*/report.html")
    assert f"Report: {report}\n" in err


@pytest.mark.slow
@pytest.mark.long
def test_ctrl_c_ends_the_demo_loses_nothing_and_the_same_command_goes_on(
    home: Path,
    empty_store: Path,
    until: Callable[..., Any],
    fork: Callable[..., Forked],
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Of two runs, one at a time: the first has ended and the second is training when Ctrl-C comes."""
    (home / "mlflow.db").write_bytes(empty_store.read_bytes())
    few = changed(
        "study.vary={cell.name: [rnn, lstm]}",
        "study.seeds=1",
        "study.workers=1",
        "train.threads=1",
        "train.max_steps=300",
        "train.val_every=300",
        "train.val_examples=16",
        "cell.hidden_size=4",
        "probes=[]",
    )
    words = ["study", "run", str(DEMO), *few]
    demo = fork(command(*words))

    def is_training() -> bool:
        assert demo.is_running(), demo.printed()
        return any('"train/loss"' in path.read_text() for path in home.glob("lstm-*/outbox.jsonl"))

    until(is_training, seconds=240)
    demo.send_signal(signal.SIGINT)
    demo.ended(1)
    err = demo.errors.read_text()
    assert "stopped by SIGINT with 1 of 2 combinations settled. The same command continues with the rest" in err
    assert "Traceback" not in err
    (folder,) = home.glob("lstm-*")
    assert (folder / "checkpoints" / "last.ckpt").exists()

    assert main([*words, "--json"]) == 0
    trials = json.loads(capfd.readouterr().out)["trials"]
    assert [(trial["run_name"], trial["state"], trial["attempts"], trial["steps"]) for trial in trials] == [
        ("rnn-T64-s0", "complete", 1, 300),
        ("lstm-T64-s0", "complete", 2, 300),
    ]
    assert [trial["folder"] for trial in trials if trial["attempts"] == 2] == [str(folder)]
