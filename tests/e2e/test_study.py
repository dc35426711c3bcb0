"""Studies from the outside: `undertow study` and `undertow.study`, from a YAML to MLflow's tree of runs and a report.

One small study is run by a real process for the whole file, and looked at by most of the tests. Those that only ask
what the ledger holds leave the shipper out: it takes seconds to start.
"""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

import undertow
from undertow.cli import main
from undertow.studies.driver import Driver
from undertow.studies.ledger import Claim, Ledger
from undertow.studies.results import StudyResults, TrialResult, read_results
from undertow.track import RunFolder, start_shipper, sync

UNDERTOW = [sys.executable, "-m", "undertow.cli"]

SMALL = """\
question: Does the gradient reach the first mark?
task: {name: adding, length: 16}
cell: {hidden_size: 4}
train: {max_steps: 4, val_every: 2, val_examples: 32, batch_size: 8, threads: 1}
probes: [{name: gradient-profile}]
track: {experiment: tides}
study:
  name: small
  vary:
    cell.name: [rnn, lstm]
    task.length: [16, 32]
    seed: [0, 1]
"""

NAMES = [f"{cell}-T{length}-s{seed}" for cell in ("rnn", "lstm") for length in (16, 32) for seed in (0, 1)]

Document = dict[str, Any]


@dataclass(frozen=True)
class Said:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Finished:
    """The study that was run, and what its command said."""

    home: Path
    file: Path
    said: Said

    @property
    def report(self) -> Path:
        (path,) = self.home.glob("small-*/report.html")
        return path


Call = Callable[..., Said]


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Call:
    """Run a command in this process, which has imported everything already."""

    def call(*words: object) -> Said:
        capfd.readouterr()
        code = main([str(word) for word in words])
        return Said(code, *capfd.readouterr())

    return call


@pytest.fixture(autouse=True)
def stores_in_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "UNDERTOW_STUDY_URI"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Finished:
    home = tmp_path_factory.mktemp("study")
    (home / "mlflow.db").write_bytes(empty_store.read_bytes())
    file = home / "small.yaml"
    file.write_text(SMALL)
    done = subprocess.run(
        [*UNDERTOW, "study", "run", str(file)],
        cwd=home,
        env={**os.environ, "UNDERTOW_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    return Finished(home, file, Said(done.returncode, done.stdout, done.stderr))


class Nobody:
    """Takes the place of the shipper."""

    def wait(self, *what: object) -> bool:
        return True


@pytest.fixture
def unshipped(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home from which nothing is shipped."""
    monkeypatch.setattr("undertow.studies.run.start_shipper", lambda home: Nobody())
    return home


def write(home: Path, study: str, **changes: Any) -> Path:
    """A file with the small experiment and this study."""
    mapping = {**yaml.safe_load(SMALL), "probes": [], **changes, "study": yaml.safe_load(study)}
    file = home / "mine.yaml"
    file.write_text(yaml.safe_dump(mapping))
    return file


def line_of(text: str) -> int:
    """The line of the small study in which this stands."""
    return SMALL[: SMALL.index(text)].count("\n") + 1


def read(home: Path, name: str) -> StudyResults:
    return read_results(Ledger.find(f"sqlite:///{home}/optuna.db", name))


def ask(home: Path, statement: str, *values: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"{(home / 'mlflow.db').as_uri()}?mode=ro", uri=True)) as store:
        return store.execute(statement, values).fetchall()


def tags(home: Path, name: str) -> dict[str, str]:
    """The tags of the one run of this name."""
    statement = "SELECT t.key, t.value FROM tags t JOIN runs r ON r.run_uuid = t.run_uuid WHERE r.name = ?"
    return dict(ask(home, statement, name))


def until(happened: Callable[[], Any], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def shipped(home: Path) -> bool:
    """Whether MLflow knows the end of every run."""
    return all(folder.shipped for folder in RunFolder.all(home))


def by(trials: Sequence[TrialResult], key: str) -> dict[Any, list[TrialResult]]:
    found: dict[Any, list[TrialResult]] = {}
    for trial in trials:
        found.setdefault(trial.params.get(key), []).append(trial)
    return found


# What one study leaves behind.


@pytest.mark.slow
def test_a_study_ends_with_a_table_its_report_and_its_charts(finished: Finished) -> None:
    said = finished.said
    assert said.code == 0, said.err
    rows = [line.split()[:2] for line in said.out.splitlines() if line.split()[:1] in (["rnn"], ["lstm"])]
    assert sorted(rows) == sorted([cell, length] for cell in ("rnn", "lstm") for length in ("16", "32"))
    assert "half-life of h" in said.out
    assert f"Report: {finished.report}\n" in said.err
    assert "Look with: undertow ui\n" in said.err
    (experiment,) = ask(finished.home, "SELECT experiment_id FROM experiments WHERE name = 'tides'")
    assert f"http://127.0.0.1:5000/#/experiments/{experiment[0]}/runs?compareRunsMode=CHART" in said.err
    assert "&viewStateShareKey=" in said.err
    assert "left" not in said.err.splitlines()[-1]


@pytest.mark.slow
def test_every_run_hangs_below_the_study_and_names_it(finished: Finished) -> None:
    home = finished.home
    until(lambda: shipped(home))
    runs = ask(home, "SELECT run_uuid, name, status, experiment_id FROM runs ORDER BY start_time")
    assert sorted(name for _, name, _, _ in runs) == sorted([*NAMES, "small"])
    assert {status for _, _, status, _ in runs} == {"FINISHED"}
    assert len({experiment for *_, experiment in runs}) == 1
    (parent,) = [each for each, name, _, _ in runs if name == "small"]
    for trial in read(home, "small").trials:
        said = tags(home, trial.run_name)
        assert said["mlflow.parentRunId"] == parent
        assert said["undertow.study"] == "small"
        assert said["undertow.trial"] == str(trial.number)
        assert said["undertow.run"] == trial.run
        assert said["undertow.factor.cell.name"] == trial.params["cell.name"]
        assert said["undertow.seed"] == str(trial.params["seed"])


@pytest.mark.slow
def test_the_study_s_own_run_holds_its_question_table_report_and_view(finished: Finished) -> None:
    until(lambda: shipped(finished.home))
    said = tags(finished.home, "small")
    assert said["undertow.kind"] == "study"
    assert said["undertow.study"] == "small"
    assert said["undertow.study.states"] == "8 complete"
    question, _, table = said["mlflow.note.content"].partition("\n\n")
    assert question == "Does the gradient reach the first mark?"
    assert [line.split("|")[1].strip() for line in table.splitlines() if line.count("|") > 2][2:] == [
        "rnn",
        "lstm",
        "rnn",
        "lstm",
    ]
    (where,) = ask(finished.home, "SELECT artifact_uri FROM runs WHERE name = 'small'")
    kept = Path(where[0].removeprefix("file://"))
    assert {path.name for path in kept.iterdir()} >= {"report.html", "config.yaml"}
    assert (kept / "report.html").read_bytes() == finished.report.read_bytes()
    keys = [key for (key,) in ask(finished.home, "SELECT key FROM experiment_tags")]
    assert any(key.startswith("mlflow.sharedViewState.") for key in keys)


@pytest.mark.slow
def test_the_same_command_again_does_nothing_more_and_says_the_same(
    finished: Finished, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNDERTOW_HOME", str(finished.home))
    before = sorted(path.name for path in finished.home.glob("*/run.json"))
    again = call("study", "run", finished.file)
    assert again.code == 0
    assert again.out == finished.said.out
    assert again.err.splitlines() == finished.said.err.splitlines()[-len(again.err.splitlines()) :]
    assert sorted(path.name for path in finished.home.glob("*/run.json")) == before
    assert [trial.attempts for trial in read(finished.home, "small").trials] == [1] * 8
    until(lambda: shipped(finished.home))
    assert ask(finished.home, "SELECT COUNT(*) FROM runs") == [(9,)]


@pytest.mark.slow
def test_a_narrow_terminal_gets_a_narrow_table_without_intervals(
    finished: Finished, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNDERTOW_HOME", str(finished.home))
    monkeypatch.setenv("COLUMNS", "84")
    narrow = call("study", "run", finished.file).out.splitlines()
    assert any("[" in line for line in finished.said.out.splitlines())
    assert not any("[" in line for line in narrow)
    assert max(map(len, narrow)) <= 84
    assert len(narrow) == 2 + 1 + 4


@pytest.mark.slow
def test_json_has_every_combination(finished: Finished, call: Call) -> None:
    said = call("study", "run", finished.file, "--home", finished.home, "--json", "--quiet")
    document: Document = json.loads(said.out)
    assert said.code == 0
    assert document["study"] == "small"
    assert document["report"] == str(finished.report)
    assert document["shipped"] is True
    assert [trial["run_name"] for trial in document["trials"]] == NAMES
    first = document["trials"][0]
    assert first["params"] == {"cell.name": "rnn", "task.length": 16, "seed": 0}
    assert (first["state"], first["steps"], first["attempts"]) == ("complete", 4, 1)
    assert first["values"] == [first["metrics"]["val/loss"]]
    assert (Path(first["folder"]) / "result.json").exists()


@pytest.mark.slow
def test_status_says_how_it_stands(finished: Finished, call: Call) -> None:
    best = min(read(finished.home, "small").trials, key=lambda trial: trial.values[0])
    text = call("study", "status", "small", "--home", finished.home)
    assert text.code == 0
    facts = dict(line.split(maxsplit=1) for line in text.out.splitlines())
    assert (facts["study"].strip(), facts["combinations"].strip()) == ("small", "8")
    assert facts["complete"].strip() == "8"
    assert best.run_name in facts["best"]
    by_file = call("study", "status", finished.file, "--home", finished.home, "--json")
    document: Document = json.loads(by_file.out)
    assert (document["total"], document["settled"], document["states"]) == (8, 8, {"complete": 8})
    assert document["best"] == {"value": best.values[0], "run": best.run_name}
    assert (document["running"], document["failed"], document["drivers"]) == ({}, {}, {})


@pytest.mark.slow
def test_the_report_is_written_where_it_is_asked_for(finished: Finished, call: Call, home: Path) -> None:
    written = call("study", "report", finished.file, "--home", finished.home)
    assert (written.code, written.out) == (0, f"{finished.report}\n")
    elsewhere = home / "there.html"
    said = call("study", "report", "small", "--home", finished.home, "--output", elsewhere, "--json")
    document: Document = json.loads(said.out)
    assert document["report"] == str(elsewhere)
    assert len(document["trials"]) == 8
    page = elsewhere.read_text()
    assert "Does the gradient reach the first mark?" in page
    assert all(name in page for name in NAMES)


@pytest.mark.slow
@pytest.mark.browser
def test_pictures_are_drawn_when_asked_for(finished: Finished, call: Call, home: Path) -> None:
    said = call(
        "study", "report", "small", "--home", finished.home, "--output", home / "a.html", "--pictures", home / "drawn"
    )
    report, *drawn = map(Path, said.out.splitlines())
    assert report == home / "a.html"
    assert set(drawn) == set((home / "drawn").iterdir())
    pictures = [path for path in drawn if path.suffix == ".png"]
    assert {"profile-h.png", "half-life-h.png", "val-loss.png"} <= {path.name for path in pictures}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)


@pytest.mark.slow
def test_stopping_what_is_not_at_work_says_so_and_stops_nothing_later(finished: Finished, call: Call) -> None:
    said = call("study", "stop", "small", "--home", finished.home)
    assert said.code == 0
    assert "nobody is at work on it" in said.err
    assert call("study", "run", finished.file, "--home", finished.home, "--quiet").code == 0


@pytest.mark.slow
@pytest.mark.parametrize("command", ["status", "stop", "report"])
def test_a_name_that_is_not_there_is_answered_with_the_nearest(finished: Finished, call: Call, command: str) -> None:
    said = call("study", command, "smal", "--home", finished.home)
    assert said.code == 2
    assert "there is no study `smal`" in said.err
    assert "Did you mean `small`?" in said.err


@pytest.mark.parametrize("command", ["status", "stop", "report"])
def test_without_a_database_a_command_says_how_to_get_one(call: Call, home: Path, command: str) -> None:
    said = call("study", command, "small")
    assert said.code == 2
    assert f"there is no study database {home / 'optuna.db'} yet: start one with `undertow study run FILE`" in said.err
    assert list(home.iterdir()) == []


# From Python.

SCRIPT = """\
import signal
import undertow

mapping = {
    "task": {"name": "adding", "length": 16},
    "cell": {"name": "rnn", "hidden_size": 4},
    "train": {"max_steps": 2, "val_every": 1, "val_examples": 16, "batch_size": 8},
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
def test_a_plain_script_gets_the_study_and_a_frame(home: Path, empty_store: Path) -> None:
    """Without `if __name__ == "__main__"`: the processes of its trials must not run it again."""
    (home / "mlflow.db").write_bytes(empty_store.read_bytes())
    (home / "script.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "Study scripted 4",
        "cell.name,seed,state,steps",
        *(f"{cell},{seed},complete,3" for cell in ("rnn", "gru") for seed in (0, 1)),
        "",
        "True",
    ]


def test_a_mapping_without_a_name_is_refused(unshipped: Path) -> None:
    mapping = yaml.safe_load(SMALL)
    del mapping["study"]["name"]
    with pytest.raises(undertow.RequestError, match=r"study\.name: required for a mapping"):
        undertow.study(mapping)
    assert list(unshipped.iterdir()) == []


# A search.

SEARCH = """\
name: search
vary: {cell.name: [rnn, lstm]}
search:
  optim.lr: {low: 1.0e-4, high: 1.0e-2, log: true}
  cell.options.lstm.forget_bias: {low: 0.0, high: 4.0}
  optim.name: {choices: [adam, sgd]}
  optim.momentum: {low: 0.0, high: 0.9, when: {optim.name: sgd}}
sampler: {name: tpe, options: {n_startup_trials: 2}}
trials: 3
"""


@pytest.mark.slow
def test_a_search_takes_its_samples_at_each_point_and_what_matters_there(unshipped: Path, call: Call) -> None:
    file = write(unshipped, SEARCH)
    assert call("study", "run", file, "--quiet").code == 0
    first = read(unshipped, "search").trials
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

    assert call("study", "run", file, "--quiet", "--set", "study.trials=4").code == 0
    more = read(unshipped, "search").trials
    assert [len(trials) for trials in by(more, "cell.name").values()] == [4, 4]
    assert {trial.number: trial.params for trial in first}.items() <= {t.number: t.params for t in more}.items()
    assert [trial.attempts for trial in more] == [1] * 8


@pytest.mark.slow
def test_two_objectives_make_a_front(unshipped: Path, call: Call) -> None:
    study = """\
        name: front
        search: {cell.hidden_size: {low: 2, high: 16}}
        trials: 4
        sampler: {name: nsgaii, options: {population_size: 2}}
        objectives: [{metric: val/loss}, {metric: cost/parameters}]
    """
    file = write(unshipped, study, cell={"name": "rnn"}, probes=[{"name": "cost"}])
    said = call("study", "run", file, "--json", "--quiet")
    document: Document = json.loads(said.out)
    assert said.code == 0
    assert [len(trial["values"]) for trial in document["trials"]] == [2] * 4
    assert "Pareto" in Path(document["report"]).read_text()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            "study.sampler.name=tpo",
            "--set study.sampler.name=tpo: study.sampler.name: there is no sampler 'tpo'. Did you mean `tpe`?",
        ),
        ("study.pruner.name=medain", "there is no pruner 'medain'. Did you mean `median`?"),
        ("study.sampler.options={n_startup_trails: 2}", "(`tpe`) takes no such argument. Did you mean `n_startup_tri"),
        (
            "study.pruner={name: median, options: {n_warmup: 2}}",
            "(`median`) takes no such argument. Did you mean `n_wa",
        ),
        ("study.pruner={name: threshold}", "study.pruner.options: ThresholdPruner: "),
        ("study.sampler.name=nothing", "There is: brute-force, cmaes"),
        ("study.vary={cell.nam: [rnn]}", "cell.nam: unknown key. Did you mean `name`?"),
        ("study.workers=0", "study.workers: 0 is not among the choices; allowed: auto or a whole number >= 1"),
    ],
)
@pytest.mark.usefixtures("unshipped")
def test_a_wrong_request_is_told_and_nothing_is_written(home: Path, call: Call, wrong: str, said: str) -> None:
    file = write(home, SEARCH)
    done = call("study", "run", file, "--set", wrong)
    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err
    assert sorted(path.name for path in home.iterdir()) == ["mine.yaml"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--workers", "0"], "--workers: 0 is too small; allowed: a whole number >= 1"),
        (["--trials", "0"], "--trials: 0 is too small; allowed: a whole number >= 1"),
        (["--trials", "many"], "many"),
    ],
)
def test_too_little_work_is_refused_by_the_option_it_was_asked_with(
    unshipped: Path, call: Call, options: list[str], said: str
) -> None:
    done = call("study", "run", write(unshipped, SEARCH), *options)
    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err
    assert not (unshipped / "optuna.db").exists()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("task.length: [16, 32]", "task.lenght: [16, 32]", "task.lenght: unknown key. Did you mean `length`?"),
        ("task.length: [16, 32]", "task.length: [16, 1]", "task.length: task `adding` cannot have 1 steps; allowed: "),
        ("task.length: [16, 32]", "train.batch_size: [8, 0]", "train.batch_size: 0 is too small"),
    ],
)
def test_what_is_varied_wrongly_is_told_with_its_line(
    unshipped: Path, call: Call, old: str, new: str, said: str
) -> None:
    file = unshipped / "mine.yaml"
    file.write_text(SMALL.replace(old, new))
    for command in (["study", "run"], ["check"]):
        done = call(*command, file)
        assert done.code == 2
        assert f"mine.yaml:{line_of(old)}: {said}" in done.err
    assert not (unshipped / "optuna.db").exists()


# What ends early, and what is tried again.


@pytest.mark.slow
def test_a_time_budget_starts_nothing_more_and_the_next_command_goes_on(
    unshipped: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = "{name: budget, vary: {seed: [0, 1, 2]}, time_budget: 3600, workers: 1}"
    file = write(unshipped, study, cell={"name": "rnn", "hidden_size": 4})
    launch = Driver._launch

    def an_hour_passes(driver: Driver, claim: Claim) -> None:
        launch(driver, claim)
        driver._started -= 3600

    with monkeypatch.context() as patch:
        patch.setattr(Driver, "_launch", an_hour_passes)
        said = call("study", "run", file, "--quiet")
    assert said.code == 0
    assert "2 of 3 combinations are left: the same command goes on with them." in said.err
    assert [trial.state for trial in read(unshipped, "budget").trials] == ["complete", "waiting", "waiting"]
    limited = call("study", "run", file, "--quiet", "--trials", "1")
    assert "1 of 3 combinations are left" in limited.err
    assert "left" not in call("study", "run", file, "--quiet").err
    trials = read(unshipped, "budget").trials
    assert [(trial.state, trial.attempts) for trial in trials] == [("complete", 1)] * 3


WEAK = """
import os
import torch
from undertow import Cell, CellSpec, hookimpl


class Weak(Cell):
    def initial_state(self, batch_size):
        return (torch.zeros(batch_size, self.hidden_size),)

    def __init__(self, input_size, hidden_size, options, length):
        super().__init__(input_size, hidden_size, options, length)
        self.input_map = torch.nn.Linear(input_size, hidden_size)

    def step(self, z, state):
        if self.training and not os.path.exists({cure!r}):
            raise ValueError("it is not well")
        return (torch.tanh(self.input_map(z)),)


@hookimpl
def undertow_register_cells():
    yield CellSpec(name="weak", summary="needs a cure", factory=":Weak", state=("h",))
"""


@pytest.mark.slow
def test_what_has_failed_for_good_is_tried_again_when_asked(unshipped: Path, call: Call) -> None:
    (unshipped / "weak.py").write_text(WEAK.format(cure=str(unshipped / "cure")))
    file = write(unshipped, "{name: weak, vary: {seed: [0, 1]}, retries: 0}", cell={"name": "weak", "hidden_size": 4})
    run = ["study", "run", file, "--plugin", "weak.py", "--quiet"]
    assert call(*run).code == 1
    assert [trial.state for trial in read(unshipped, "weak").trials] == ["failed", "failed"]
    status = call("study", "status", "weak")
    assert status.out.count("ValueError: it is not well") == 2
    assert call("study", "status", file, "--plugin", "weak.py").out == status.out, "by the file, whose cell it brings"
    (unshipped / "cure").touch()
    assert call(*run).code == 1
    assert [trial.attempts for trial in read(unshipped, "weak").trials] == [1, 1], "it was not asked to try again"
    assert call(*run, "--retry-failed").code == 0
    trials = read(unshipped, "weak").trials
    assert [(trial.state, trial.attempts) for trial in trials] == [("complete", 2)] * 2
    assert len(list(unshipped.glob("weak-T*/run.json"))) == 2, "an attempt goes on in the folder of the one before"


@pytest.mark.slow
def test_a_pruner_ends_runs_over_two_processes_each(home: Path, empty_store: Path, call: Call) -> None:
    (home / "mlflow.db").write_bytes(empty_store.read_bytes())
    study = """\
        name: pruned
        vary: {seed: [0]}
        pruner: {name: threshold, options: {upper: 1.0e-6}}
        workers: 1
    """
    train = {"max_steps": 100_000, "val_every": 5, "val_examples": 16, "batch_size": 8}
    file = write(
        home,
        study,
        cell={"name": "rnn", "hidden_size": 4},
        train={**train, "devices": 2, "strategy": "ddp", "accelerator": "cpu"},
    )
    said = call("study", "run", file, "--quiet")
    assert said.code == 1, "nothing is complete"
    (trial,) = read(home, "pruned").trials
    assert trial.state == "pruned"
    assert "threshold: val/loss is" in trial.reason
    assert trial.steps < 100_000
    until(lambda: shipped(home))
    assert dict(ask(home, "SELECT name, status FROM runs")) == {trial.run_name: "KILLED", "pruned": "FAILED"}
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
def test_a_study_whose_server_is_down_runs_to_its_end_and_is_shipped_later(
    home: Path, call: Call, monkeypatch: pytest.MonkeyPatch, empty_store: Path
) -> None:
    monkeypatch.setattr("undertow.studies.run._PATIENCE", 1.0)
    file = write(home, "{name: adrift, vary: {seed: [0, 1]}}", cell={"name": "rnn", "hidden_size": 4})
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    said = call("study", "run", file)
    assert said.code == 0, said.err
    assert "adrift has not wholly reached the tracking store yet; nothing is lost." in said.err
    assert f"undertow sync {home}" in said.err
    assert [trial.state for trial in read(home, "adrift").trials] == ["complete", "complete"]
    shipper = start_shipper(home)
    os.kill(shipper.pid, signal.SIGKILL)  # or it would go on trying, and hold the home
    shipper.close(10)

    # The server is back, under another name: what a run folder says of its store is all that sync goes by.
    (home / "mlflow.db").write_bytes(empty_store.read_bytes())
    for path in home.glob("*/run.json"):
        path.write_text(path.read_text().replace("http://127.0.0.1:9", f"sqlite:///{home}/mlflow.db"))
    assert not any(result.left or result.error for result in sync(home))
    runs = ask(home, "SELECT run_uuid, name, status FROM runs")
    assert {name: status for _, name, status in runs} == {
        "adrift": "FINISHED", "rnn-T16-s0": "FINISHED", "rnn-T16-s1": "FINISHED"
    }  # fmt: skip
    (parent,) = [each for each, name, _ in runs if name == "adrift"]
    assert {tags(home, f"rnn-T16-s{seed}")["mlflow.parentRunId"] for seed in (0, 1)} == {parent}


@pytest.mark.slow
def test_status_tells_of_a_study_at_work_and_stop_ends_it(home: Path, call: Call) -> None:
    file = write(
        home,
        "{name: long, vary: {seed: [0, 1]}, workers: 1}",
        cell={"name": "rnn", "hidden_size": 4},
        train={"max_steps": 100_000, "val_every": 1000, "val_examples": 16, "batch_size": 8},
        track={"uri": "http://127.0.0.1:9"},
    )
    driver = subprocess.Popen(
        [*UNDERTOW, "study", "run", str(file), "--quiet"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        until(lambda: (home / "optuna.db").exists() and call("study", "status", "long", "--json").out.count("-T16-s0"))
        document: Document = json.loads(call("study", "status", "long", "--json").out)
        assert (document["total"], document["settled"]) == (2, 0)
        assert document["states"]["running"] == 1
        assert list(document["running"]) == ["rnn-T16-s0"]
        assert list(document["drivers"].values()) == [[driver.pid]]
        assert "at work: rnn-T16-s0" in call("study", "status", "long").out
        until(lambda: any('"train/loss"' in path.read_text() for path in home.glob("rnn-*/outbox.jsonl")))
        assert "asked to stop" in call("study", "stop", "long").err
        _, err = driver.communicate(timeout=60)
        assert "stopped by `undertow study stop` with 0 of 2 combinations settled" in err
        assert driver.returncode == 1
    finally:
        driver.kill()
        driver.communicate()
    assert call("study", "status", "long", "--json").out.count('"drivers": {}') == 1


# Files of the other kind.


def test_one_run_and_many_are_not_taken_for_each_other(unshipped: Path, call: Call) -> None:
    file = unshipped / "small.yaml"
    file.write_text(SMALL)
    many = call("run", file)
    assert many.code == 2
    assert (
        f"{file}:{line_of('study:')}: study: this describes many runs; run them with `undertow study run`" in many.err
    )
    plain = unshipped / "plain.yaml"
    plain.write_text(SMALL.partition("study:")[0])
    one = call("study", "run", plain)
    assert one.code == 2
    assert f"study: there is none here, so this is a single run: undertow run {plain}" in one.err
    assert sorted(path.name for path in unshipped.iterdir()) == ["plain.yaml", "small.yaml"]


def test_check_and_show_read_a_study(unshipped: Path, call: Call) -> None:
    file = Path("small.yaml")  # short: a table breaks long cells
    file.write_text(SMALL)
    assert call("check", file).out == f"ok  {file}  small: 8 runs\n"
    shown = {line.split()[0]: line.split()[1:] for line in call("show", file).out.splitlines() if line}
    assert shown["cell.name"] == ["rnn", f"{file}:{line_of('cell.name')}", "(vary)"]
    assert shown["cell.hidden_size"] == ["4", f"{file}:3"]
    resolved = Path("resolved.yaml")
    resolved.write_text(call("show", file, "--resolved").out)
    assert call("check", resolved).out == f"ok  {resolved}  small: 8 runs\n"
