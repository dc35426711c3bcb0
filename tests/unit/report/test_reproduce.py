"""The commands that repeat a study and its runs work, although no password is stored."""

import html
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from undertow.config.load import dump, load_experiment, load_mapping, without_password
from undertow.config.space import Space
from undertow.report.page import page
from undertow.report.results import StudyResults
from undertow.report.tables.runs_table import run_table
from undertow.studies.plan.load import load_study

Make = Callable[..., StudyResults]

TRACK = "postgresql://ada:s3cret@host/mlflow"
STORAGE = "postgresql+psycopg://ada:s3cret@host/optuna"

EXPERIMENT = {"task": {"name": "adding", "length": 16}, "cell": {"name": "rnn", "hidden_size": 4}}


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    """A study whose database and tracking server need a password."""
    path = tmp_path / "study.yaml"
    path.write_text(
        f"question: How far?\ntask: {{name: adding, length: 16}}\ntrack: {{uri: '{TRACK}'}}\n"
        f"study: {{name: far, storage: '{STORAGE}', vary: {{cell.name: [rnn, gru]}}}}\n"
    )
    return path


@pytest.fixture
def html_page(study_file: Path, make_study: Make) -> str:
    """Its report."""
    results = make_study(Space({"cell.name": ("rnn", "gru")}, {}), name="far")
    return page(replace(results, config_yaml=load_study(study_file).yaml()))


def test_the_command_of_a_run_loads_where_its_password_was_redacted(make_study: Make, tmp_path: Path) -> None:
    config = load_mapping({**EXPERIMENT, "track": {"uri": TRACK}}).config
    stored = dump(without_password(config))
    (tmp_path / "config.yaml").write_text(stored)
    results = make_study(Space({"cell.name": ("rnn",)}, {}))
    (run,) = results.combinations
    table = run_table(replace(results, config_yaml=stored, combinations=(replace(run, folder=str(tmp_path)),)))
    program, command, file, *options = shlex.split(table.rows[0][-1])
    assert (program, command) == ("undertow", "run")
    repeated = load_experiment(file, options[1:]).config
    assert repeated.track.uri is None
    assert options == ["--set", "track.uri=null"]
    assert repeated.model_dump(exclude={"track"}) == config.model_dump(exclude={"track"})


def test_the_configuration_in_the_report_has_no_address_without_its_password(html_page: str, tmp_path: Path) -> None:
    (block,) = [text for text in re.findall(r"<pre>(.*?)</pre>", html_page, re.DOTALL) if "question" in text]
    copied = tmp_path / "copied.yaml"
    copied.write_text(html.unescape(block))
    loaded = load_study(copied)
    assert loaded.config.storage is None
    assert loaded.first.track.uri is None
    assert list(loaded.config.vary["cell.name"]) == ["rnn", "gru"]


def test_the_report_names_the_variables_that_replace_the_addresses(html_page: str) -> None:
    (block,) = [text for text in re.findall(r"<pre>(.*?)</pre>", html_page, re.DOTALL) if "undertow study run" in text]
    assert html.unescape(block).splitlines() == [
        "export UNDERTOW_STUDY_URI=postgresql+psycopg://ada:PASSWORD@host/optuna",
        "export MLFLOW_TRACKING_URI=postgresql://ada:PASSWORD@host/mlflow",
        "undertow study run far.yaml",
        "undertow study report far.yaml",
        "undertow run RUN_FOLDER/config.yaml --set track.uri=null",
    ]
    assert "Passwords are not stored" in html_page


def test_a_configuration_without_passwords_is_shown_as_it_is_stored(whole: StudyResults) -> None:
    assert "PASSWORD" not in page(whole)
    assert all("--set" not in row[-1] for row in run_table(whole).rows)
