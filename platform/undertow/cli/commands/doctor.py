"""`undertow doctor`: check whether everything that a run needs is there, and name a remedy for what is not."""

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from undertow import __version__
from undertow._system.redact import redacted
from undertow.cli.options import Home, Json, resolve_home
from undertow.cli.output.console import emit, out
from undertow.errors import UndertowError
from undertow.tracking.folder import RunFolder, tracking_uri
from undertow.tracking.mlflow.lookup import count_runs
from undertow.tracking.mlflow.quiet import quiet_mlflow

_LIBRARIES = ("torch", "pytorch-lightning", "torchmetrics", "mlflow", "optuna", "pluggy", "pydantic", "cyclopts")


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
        from undertow.cli.output.tables import table

        rows = [["attention" if each.remedy else "ok", each.subject, each.found] for each in findings]
        out().print(table(["", "what", "found"], rows))
        for problem in problems:
            out().print(f"{problem.subject}: {problem.remedy}", soft_wrap=True)
    return 1 if problems else 0


def _examine(home: Path) -> Iterator[Finding]:
    yield Finding("undertow", f"{__version__}, Python {platform.python_version()} on {platform.platform(terse=True)}")
    yield from _libraries()
    yield from _devices()
    yield from _plugins()
    yield from _store(home)
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

    registry = load_plugins()
    offered = f"{len(registry.cells)} cells, {len(registry.tasks)} tasks, {len(registry.probes)} probes"
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
    if uri.startswith("sqlite:///"):
        file = Path(uri.removeprefix("sqlite:///"))
        if not file.exists():
            yield Finding("tracking store", f"{file}: does not exist yet; the first run creates it")
            return
        try:
            yield Finding("tracking store", f"{file}: {count_runs(file)} runs")
        except UndertowError as error:
            yield Finding("tracking store", f"{file}: {error}", "move the file away: `undertow sync` fills a new one")
    else:  # by MLflow's own client, which knows all its ways to log in
        from undertow.tracking.mlflow.store import Store

        try:
            with quiet_mlflow():
                Store(uri, home / "artifacts").require_reachable()
            yield Finding("tracking store", f"{redacted(uri)} answers")
        except UndertowError as error:
            yield Finding("tracking store", f"{redacted(uri)}: {error}", remedy)


def _runs(home: Path) -> Iterator[Finding]:
    folders = list(RunFolder.all(home))
    not_shipped = [folder for folder in folders if not folder.shipped and not folder.is_alive()]
    running = sum(folder.is_alive() for folder in folders)
    found = f"{home}: {len(folders)}, {running} running, {len(not_shipped)} not shipped"
    yield Finding("run folders", found, f"undertow sync {home}" if not_shipped else "")
    rejected = [folder.path.name for folder in folders if folder.progress().rejected]
    if rejected:
        yield Finding("rejected records", ", ".join(rejected), "read rejected.jsonl in these run folders")
