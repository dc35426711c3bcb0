"""Studies and tracking on a PostgreSQL server: several machines, a server that crashes, passwords that are kept."""

import json
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from undertow._system.lock import FileLock
from undertow.cli.commands import doctor
from undertow.cli.output.links import where_to_look
from undertow.errors import RequestError
from undertow.report.results import StudyResults
from undertow.studies.plan.load import LoadedStudy
from undertow.studies.status import read_status
from undertow.studies.store.ledger import Ledger
from undertow.studies.store.results import read_results
from undertow.tracking import RunFolder
from undertow.tracking.mlflow.store import Store
from undertow.tracking.mlflow.views import chart_view, view_id
from undertow.tracking.records import ExperimentTag, Metric, items

Bombs = Callable[..., LoadedStudy]
NewDatabase = Callable[..., str]
Cli = Callable[..., Any]
Until = Callable[..., None]

pytestmark = [pytest.mark.slow, pytest.mark.postgresql]

FINE = ["--set", "study.vary={seed: [0, 1, 2, 3, 4, 5, 6, 7]}", "--set", "train.max_steps=4"]
GATED = ["--set", "study.vary={cell.options.bomb.mode: [wait], seed: [0, 1, 2]}"]
"""Trials that wait while the file `shut` exists: what is killed when must not depend on the load of the machine."""
RUN = """\
question: Is it all there?
task: {name: digits-by-pixel, length: 64}
cell: {name: rnn, hidden_size: 4}
train: {max_steps: 30, val_every: 10, val_examples: 32, batch_size: 8}
probes: [{name: gradient-profile, every: 10}]
"""
OTHER_MACHINE = """
import undertow.studies.work.driver, undertow.studies.store.heartbeat

undertow.studies.work.driver.machine = lambda: {machine!r}
undertow.studies.work.driver._HEARTBEAT_SECONDS = 0.5
undertow.studies.store.heartbeat.STALE_SECONDS = 4.0
"""
"""What drivers take for another machine, with shorter times between heartbeats."""


@pytest.fixture
def cli(bombs: Bombs, fork: Cli) -> Cli:
    """Start commands, each with a home of its own, as on a machine of its own."""
    bombs()  # writes the study's files

    def cli(*words: str, machine: str | None = None, **options: str) -> Any:
        return fork(*words, before=OTHER_MACHINE.format(machine=machine) if machine else "", **options)

    return cli


@pytest.fixture
def stores(new_database: NewDatabase, tracked: str) -> dict[str, str]:
    """The databases of a study and of its runs, as environment variables; the second has MLflow's tables."""
    return {"UNDERTOW_STUDY_URI": new_database(), "MLFLOW_TRACKING_URI": new_database(tracked)}


def trial_of(home: Path) -> int | None:
    """The process that trains in this home; only a trial that trains has saved its state."""
    saved = [path.parents[1] for path in home.glob("bomb-*/checkpoints/last.ckpt")]
    held = [FileLock(folder / "lock") for folder in saved if FileLock(folder / "lock").is_held()]
    return held[0].holder() if held else None


def results(stores: dict[str, str]) -> StudyResults:
    """The results of the study, with no connection left open."""
    ledger = Ledger.find(stores["UNDERTOW_STUDY_URI"], "bombs")
    try:
        return read_results(ledger)
    finally:
        ledger._storage._backend.scoped_session.remove()  # type: ignore[attr-defined]
        ledger._storage._backend.engine.dispose()  # type: ignore[attr-defined]


def runs(postgresql: Any, stores: dict[str, str], tag: str) -> Counter[str]:
    """The runs in MLflow that have a tag, by status, except deleted duplicates."""
    tagged = f"SELECT run_uuid FROM tags WHERE key = '{tag}'"
    query = f"SELECT status FROM runs WHERE lifecycle_stage = 'active' AND run_uuid IN ({tagged})"
    return Counter(status for (status,) in postgresql.ask(query, stores["MLFLOW_TRACKING_URI"]))


def stored(postgresql: Any, url: str) -> str:
    """Everything that is in a database."""
    tables = postgresql.ask("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", url)
    return "\n".join(str(postgresql.ask(f'SELECT * FROM "{table}"', url)) for (table,) in tables)


def test_four_drivers_share_one_grid_in_empty_databases_and_no_password_is_written(
    home: Path, cli: Cli, new_database: NewDatabase, postgresql: Any
) -> None:
    stores = {"UNDERTOW_STUDY_URI": new_database(), "MLFLOW_TRACKING_URI": new_database()}
    uri = f"track.uri={stores['MLFLOW_TRACKING_URI']}"
    storage = f"study.storage={stores['UNDERTOW_STUDY_URI']}"
    homes = ("one", "two", "three", "four")
    work = ["study", "run", "bombs.yaml", *FINE, "--set", uri, "--set", storage, "--workers", "1"]
    drivers = [cli(*work, at=at) for at in homes]
    written = "".join(driver.ended() for driver in drivers)
    assert [trial.attempts for trial in results(stores).combinations] == [1] * 8
    written += "".join(cli("sync", str(home / at)).ended() for at in homes)
    assert runs(postgresql, stores, "undertow.trial") == {"FINISHED": 8}
    assert runs(postgresql, stores, "undertow.kind") == {"FINISHED": 1}

    where = ["--storage", stores["UNDERTOW_STUDY_URI"]]
    document = json.loads(cli("study", "status", "bombs", *where, "--json").ended())
    report = cli("study", "report", "bombs", *where, "--output", "report.html", "--json").ended()
    assert (document["settled"], document["total"], document["drivers"]) == (8, 8, {})
    written += str(document) + report + (home / "report.html").read_text()
    written += "".join(stored(postgresql, url) for url in stores.values())
    private = {path for path in home.rglob("run.json") if path.stat().st_mode & 0o077 == 0}
    files = [path for path in home.rglob("*") if path.is_file() and path not in private]
    written += "".join(path.read_text("utf-8", errors="replace") for path in files)
    password = postgresql.url.password
    assert password
    assert ":***@" in written
    assert password not in written


@pytest.mark.parametrize(
    "machines",
    [
        pytest.param(("here", "here"), id="one machine", marks=pytest.mark.long),
        pytest.param(("there", "here"), id="two machines"),
    ],
)
def test_a_driver_and_the_trial_of_another_are_killed_and_the_study_completes(
    home: Path, cli: Cli, stores: dict[str, str], postgresql: Any, until: Until, machines: tuple[str, str]
) -> None:
    shut = home / "shut"
    shut.touch()
    work = ["study", "run", "bombs.yaml", *GATED, "--set", "study.retries=1", "--workers", "1"]
    one, other = [
        cli(*work, at=at, machine=machine, **stores) for at, machine in zip(("one", "other"), machines, strict=True)
    ]
    until(lambda: trial_of(home / "one") and trial_of(home / "other"), seconds=240)
    trial = trial_of(home / "other")
    assert trial
    one.kill()
    os.kill(trial, signal.SIGKILL)
    shut.unlink()
    other.ended()
    study = results(stores)
    assert [trial.state for trial in study.combinations] == ["complete"] * 3
    assert sorted(trial.attempts for trial in study.combinations) == [1, 2, 2]
    cli("sync", str(home / "one")).ended()
    cli("sync", str(home / "other")).ended()
    # The run of the dead driver stays in its home and ends there; the killed trial was resumed in its own run.
    assert runs(postgresql, stores, "undertow.trial") == {"FINISHED": 3, "KILLED": 1}


def test_a_study_is_stopped_by_its_address_and_outlives_a_crash_of_the_server(
    home: Path, cli: Cli, stores: dict[str, str], postgresql: Any, until: Until
) -> None:
    if not hasattr(postgresql, "stop"):
        pytest.skip("UNDERTOW_TEST_POSTGRESQL names a server that is not ours to stop")
    shut = home / "shut"
    shut.touch()
    where = ["--storage", stores["UNDERTOW_STUDY_URI"]]
    first = cli("study", "run", "bombs.yaml", *GATED, **stores)
    until(lambda: trial_of(home / "here"), seconds=240)
    document = json.loads(cli("study", "status", "bombs", *where, "--json").ended())
    assert [*document["drivers"].values()] == [[first.pid]]
    assert document["running"]
    cli("study", "stop", "bombs", *where).ended()
    time.sleep(4)  # until the driver has read the request
    shut.unlink()
    assert "stopped by `undertow study stop`" in first.ended(1)

    # Stopped combinations get another trial; the crash of the server must cost none.
    attempts = [max(1, trial.attempts + (trial.state == "stopped")) for trial in results(stores).combinations]
    shut.touch()
    second = cli("study", "run", "bombs.yaml", *GATED, **stores)
    until(lambda: trial_of(home / "here"), seconds=240)
    postgresql.stop("immediate")
    shut.unlink()  # so that runs end while the server is down
    time.sleep(4)
    assert second.is_running()
    postgresql.start()
    second.ended()
    assert [(trial.state, trial.attempts) for trial in results(stores).combinations] == [
        ("complete", n) for n in attempts
    ]
    cli("sync", str(home / "here")).ended()
    assert runs(postgresql, stores, "undertow.trial") == {"FINISHED": 3}


def test_a_run_is_in_the_database_with_every_row_once(
    home: Path, cli: Cli, stores: dict[str, str], postgresql: Any
) -> None:
    bare = stores["MLFLOW_TRACKING_URI"].replace("postgresql+psycopg", "postgresql")
    (home / "digits.yaml").write_text(RUN)
    cli("run", "digits.yaml", "--set", f"track.uri={bare}").ended()
    cli("sync", str(home / "here")).ended()
    [outbox] = (home / "here").glob("*/outbox.jsonl")
    rows = [
        (item.key, item.step, item.timestamp, item.value)
        for line in outbox.read_text().splitlines()
        for item in items(json.loads(line))
        if isinstance(item, Metric)
    ]
    assert len({key for key, *_ in rows if "by_lag" in key}) > 1
    found = postgresql.ask("SELECT key, step, timestamp, value FROM metrics", stores["MLFLOW_TRACKING_URI"])
    assert sorted(map(tuple, found)) == sorted(rows)
    assert runs(postgresql, stores, "undertow.run") == {"FINISHED": 1}


@pytest.mark.parametrize("look", [read_status, Ledger.find], ids=["status", "ledger"])
def test_an_unreachable_server_is_an_error_at_once_and_without_the_password(
    postgresql: Any, look: Callable[[str, str], object]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for wrong, reason in (({"port": port}, "refused"), ({"password": "sesame"}, "")):
        url = postgresql.url.set(**wrong).render_as_string(hide_password=False)
        began = time.monotonic()
        with pytest.raises(RequestError, match=rf"study\.storage: .*:\*\*\*@.* cannot be opened: .*{reason}") as error:
            look(url, "bombs")
        assert time.monotonic() - began < 30.0, "libpq alone tries for two minutes"
        assert str(wrong.get("password", postgresql.url.password)) not in str(error.value)


def test_looking_at_an_empty_database_leaves_it_empty(new_database: NewDatabase, postgresql: Any) -> None:
    url = new_database()
    for look in (read_status, Ledger.find):
        with pytest.raises(RequestError, match=r"there is no study database in .* yet"):
            look(url, "bombs")
    assert stored(postgresql, url) == ""


@pytest.mark.usefixtures("quiet")
def test_the_saved_view_and_the_place_of_the_artifacts_are_found_in_the_database(
    home: Path, stores: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = stores["MLFLOW_TRACKING_URI"]
    folder = RunFolder.create(home, "digits", experiment="tides", uri=uri, config_yaml="seed: 0\n")
    folder.release()
    assert "/#/experiments?workflowType=machine_learning" in where_to_look(folder.path)[1], "nothing is recorded yet"
    store = Store(uri, home / "artifacts")
    run_id = store.run_id(folder.identity, 1)
    [(key, value)] = chart_view("digits", group_by=None, metrics=["val/loss"]).items()
    store.experiment_tag(run_id, ExperimentTag(key, value))
    command, address = where_to_look(folder.path, view="digits")
    assert command.startswith("Look with: undertow ui --uri 'postgresql+psycopg://undertow:***@")
    assert "/#/experiments/1/runs?compareRunsMode=CHART" in address
    assert address.endswith(f"&viewStateShareKey={view_id('digits')}")
    assert "viewStateShareKey" not in where_to_look(folder.path, view="another")[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    here = {each.subject: each for each in doctor._store(home)}["artifacts"]
    assert (here.found, here.remedy) == (f"are stored in {home}/artifacts, a folder of this machine", "")
    (home / "artifacts" / "tides").rename(home / "moved")
    elsewhere = {each.subject: each for each in doctor._store(home)}["artifacts"]
    assert elsewhere.found == "those of tides are in a folder of another machine, or it was moved"
    assert elsewhere.remedy.endswith("as tracking URI: mlflow server --serve-artifacts")
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("quiet")
def test_an_unreachable_store_does_not_delay_the_others(postgresql: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    store = Store(postgresql.url.set(port=port).render_as_string(hide_password=False), Path("artifacts"))
    began = time.monotonic()
    assert not store.is_reachable()
    assert time.monotonic() - began < 30.0, "MLflow alone tries for two minutes"
