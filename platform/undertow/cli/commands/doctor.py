"""`undertow doctor`: check whether everything that a run needs is there, and name a remedy for what is not."""

import os
import platform
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from undertow import __version__
from undertow._system.database import database_file, is_database_server, read_schema, require_driver
from undertow._system.redact import redacted
from undertow.cli.options import Home, Json, resolve_home
from undertow.cli.output.console import emit, out
from undertow.errors import UndertowError
from undertow.tracking.folder import RunFolder, tracking_uri
from undertow.tracking.mlflow.lookup import count_runs
from undertow.tracking.mlflow.quiet import quiet_mlflow
from undertow.tracking.mlflow.store import MLFLOW_REVISIONS, client_uri

_LIBRARIES = ("torch", "pytorch-lightning", "torchmetrics", "mlflow", "optuna", "pluggy", "pydantic", "cyclopts")
_OPTUNA_REVISIONS = "storages/_rdb/alembic/versions"


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        subject: What was checked.
        found: Its state.
        remedy: What to do about it; empty when nothing is wrong.
    """

    subject: str
    found: str
    remedy: str = ""


def doctor_command(*, home: Home = None, json: Json = False) -> int:
    """Check devices, versions, plugins and the tracking store; exit code 1 if something needs attention."""
    findings = list(_examine(resolve_home(home)))
    problems = [finding for finding in findings if finding.remedy]
    if json:
        emit(
            {
                "ok": not problems,
                "findings": [
                    {"what": each.subject, "found": each.found, "ok": not each.remedy, "remedy": each.remedy}
                    for each in findings
                ],
            }
        )
    else:
        from undertow.cli.output.tables import print_table

        rows = [["attention" if each.remedy else "ok", each.subject, each.found] for each in findings]
        print_table(["", "what", "found"], rows)
        for problem in problems:
            out().print(f"{problem.subject}: {problem.remedy}", soft_wrap=True)
    return 1 if problems else 0


def _examine(home: Path) -> Iterator[Finding]:
    yield Finding("undertow", f"{__version__}, Python {platform.python_version()} on {platform.platform(terse=True)}")
    yield from _libraries()
    yield from _devices()
    yield from _plugins()
    yield from _home(home)
    yield from _store(home)
    yield from _studies(home)
    yield from _runs(home)


def _libraries() -> Iterator[Finding]:
    for name in _LIBRARIES:
        try:
            yield Finding(name, metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Finding(name, "not installed", f"pip install {name}")


def _devices() -> Iterator[Finding]:
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: one of its shared libraries is missing
        yield Finding("devices", f"torch cannot be imported: {error}", "reinstall torch: pip install torch")
        return
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        gpus.append("mps")
    built_for = f"torch is built for CUDA {torch.version.cuda}" if torch.version.cuda else "torch is built without CUDA"
    yield Finding("GPUs", ", ".join(gpus) or f"none ({built_for})")
    yield Finding("CPU", f"{os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads")


def _plugins() -> Iterator[Finding]:
    from undertow.plugins.host import load_plugins
    from undertow.plugins.kinds import KINDS

    registry = load_plugins()
    offered = ", ".join(f"{len(registry.entries(kind))} {kind.plural}" for kind in KINDS.values())
    remedy = "" if registry.cells and registry.tasks else "install some: pip install undertow-cells undertow-tasks"
    yield Finding("plugins", offered, remedy)
    for failure in registry.failures:
        yield Finding(f"plugin {failure.plugin}", f"{failure.stage}: {failure.reason}", failure.remedy)


def _store(home: Path) -> Iterator[Finding]:
    try:
        uri = tracking_uri(home, None)
    except UndertowError as error:
        yield Finding("tracking store", str(error), "unset MLFLOW_TRACKING_URI, or name a database or a server")
        return
    remedy = "runs continue and keep their records; when it answers again: undertow sync"
    if file := database_file(uri):
        if not file.exists():
            yield Finding("tracking store", f"{file}: does not exist yet; the first run creates it")
            return
        try:
            yield Finding("tracking store", f"{file}: {count_runs(file)} runs")
            yield from _schema("tracking store", uri, "mlflow", MLFLOW_REVISIONS, "mlflow db upgrade {url}")
        except UndertowError as error:
            yield Finding("tracking store", f"{file}: {error}", "move the file away: `undertow sync` fills a new one")
    else:  # by MLflow's own client, which knows all its ways to log in
        from undertow.tracking.mlflow.store import SEVERAL_MACHINES, Store

        try:
            if is_database_server(uri):
                outdated = list(_schema("tracking store", uri, "mlflow", MLFLOW_REVISIONS, "mlflow db upgrade {url}"))
                if outdated:
                    yield from outdated
                    return
            store = Store(uri, home / "artifacts")
            with quiet_mlflow():
                store.require_reachable()
                elsewhere = store.artifacts_elsewhere() if is_database_server(uri) else []
            yield Finding("tracking store", f"{redacted(uri)} answers")
            if elsewhere:
                found = f"those of {', '.join(elsewhere)} are in a folder of another machine, or it was moved"
                yield Finding("artifacts", found, f"{SEVERAL_MACHINES}: mlflow server --serve-artifacts")
            elif is_database_server(uri):
                yield Finding("artifacts", f"are stored in {store.artifacts}, a folder of this machine")
        except UndertowError as error:
            yield Finding("tracking store", f"{redacted(uri)}: {error}", remedy)


def _home(home: Path) -> Iterator[Finding]:
    """Whether the folder of the runs can be written; nothing if it does not exist yet, but can be created."""
    existing = next(each for each in (home, *home.parents) if os.path.lexists(each))
    remedy = "name a folder that can be written with --home or UNDERTOW_HOME"
    if not existing.is_dir():
        yield Finding("home", f"{existing} is not a folder", remedy)
    elif not os.access(existing, os.W_OK | os.X_OK):
        yield Finding("home", f"{existing} cannot be written", remedy)


def _studies(home: Path) -> Iterator[Finding]:
    """The database of studies, if there is one; for a journal, also its folder."""
    from undertow.studies.store.journal import journal_file
    from undertow.studies.store.storage import open_storage, storage_file, storage_url

    url = storage_url(home, None)
    remedy = "name another with UNDERTOW_STUDY_URI, or start its server"
    try:
        file, journal = storage_file(url), journal_file(url)
        if journal and not os.access(journal.parent, os.W_OK | os.X_OK):
            remedy = "mount the shared folder with write access, or name another with UNDERTOW_STUDY_URI"
            yield Finding("study database", f"{journal.parent} cannot be written by this machine", remedy)
            return
        if file is not None and not file.exists():
            return
        if journal:
            studies = open_storage(url, create=False).get_all_studies()
            yield Finding("study database", f"{journal} is a journal, studies in it: {len(studies)}")
            return
        require_driver(url)
        outdated = list(
            _schema("study database", url, "optuna", _OPTUNA_REVISIONS, "optuna storage upgrade --storage {url}")
        )
        yield from outdated or [Finding("study database", f"{file or redacted(url)} answers")]
    except UndertowError as error:
        yield Finding("study database", str(error), remedy)


def _schema(subject: str, url: str, package: str, revisions: str, upgrade: str) -> Iterator[Finding]:
    """Find out whether a database has the tables that the installed library needs; nothing if it has.

    Raises:
        UndertowError: The database cannot be read.
    """
    from sqlalchemy.exc import SQLAlchemyError

    try:
        schema = read_schema(url, package, revisions)
    except SQLAlchemyError as error:
        raise UndertowError(f"{redacted(url)} cannot be read: {redacted(str(error).splitlines()[0])}") from error
    where = f"{database_file(url) or redacted(url)}: {package} {metadata.version(package)} needs"
    found = f"{where} schema {schema.needed}, but it has {schema.found}"
    if schema.outdated:
        command = upgrade.format(url=shlex.quote(redacted(client_uri(url))))
        yield Finding(subject, found, f"the schema is outdated: back the database up, then run: {command}")
    elif schema.newer:
        yield Finding(subject, found, f"the database was upgraded by a newer {package}: pip install -U {package}")


def _runs(home: Path) -> Iterator[Finding]:
    folders, damaged = [], []
    for path in sorted(home.iterdir()) if home.is_dir() else []:
        if (path / "run.json").is_file():
            try:
                folder = RunFolder.open(path)
                folder.progress()
                folders.append(folder)
            except (UndertowError, OSError) as error:
                damaged.append(str(error))
    not_shipped = [folder for folder in folders if not folder.shipped and not folder.is_alive()]
    running = sum(folder.is_alive() for folder in folders)
    found = f"{home}: {len(folders)}, {running} running, {len(not_shipped)} not shipped"
    yield Finding("run folders", found, f"undertow sync {home}" if not_shipped else "")
    for problem in damaged:
        yield Finding("damaged run folder", problem, "restore the file from a copy, or move the run folder away")
    rejected = [folder.path.name for folder in folders if folder.progress().rejected]
    if rejected:
        yield Finding("rejected records", ", ".join(rejected), "read rejected.jsonl in these run folders")
