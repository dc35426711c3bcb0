"""`undertow run`: one experiment, from its YAML to a table of what came of it."""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from undertow.cli.options import File, Home, Json, PluginFiles, Sets
from undertow.cli.output.console import emit, note
from undertow.errors import RequestError

if TYPE_CHECKING:
    from undertow.runs.experiment import RunResult
    from undertow.tracking.folder import RunFolder
    from undertow.train.devices import Devices


def run_command(
    file: File = None,
    /,
    *,
    set: Sets = None,
    plugin: PluginFiles = None,
    resume: Annotated[
        str | None, Parameter(help="Go on with a stopped run: its folder, its name, or its id in MLflow.")
    ] = None,
    allow_changed_code: Annotated[
        bool, Parameter(help="With --resume: continue even if plugins or data are not those of the start.")
    ] = False,
    home: Home = None,
    quiet: Annotated[bool, Parameter(help="Show no header and no progress.")] = False,
    json: Json = False,
) -> int:
    """Train one experiment, measure its gradient and record it."""
    if (file is None) == (resume is None):
        raise RequestError(
            "name a configuration file, as in `undertow run experiments/smoke/digits.yaml`, or a run to `--resume`"
            + (", not both" if file else "")
        )
    if allow_changed_code and resume is None:
        raise RequestError("--allow-changed-code belongs to --resume: name the run to continue")
    if resume is not None and (set or plugin):
        raise RequestError("--resume goes on with the configuration that the run has: leave --set and --plugin out")
    with redirect_stdout(sys.stderr):  # standard output is for the result, whatever a plugin prints
        result = _run(file, set or [], plugin or [], resume, home, quiet=quiet, allow_changed_code=allow_changed_code)
    if json:
        emit(_document(result))
    else:
        from undertow.cli.output.runs import show

        show([result])
    return 0


def _run(
    file: Path | None,
    overrides: list[str],
    plugins: list[Path],
    resume: str | None,
    home: Path | None,
    *,
    quiet: bool,
    allow_changed_code: bool,
) -> "RunResult":
    header = None if quiet else _header
    if file is None:
        from undertow.runs.experiment import resume as go_on

        assert resume is not None
        return go_on(resume, home=home, progress=not quiet, allow_changed_code=allow_changed_code, on_start=header)
    # Most requests that are wrong are found wrong here, before anything that takes seconds is imported.
    from undertow.config.load import load_experiment

    loaded = load_experiment(file, overrides, plugins)
    from undertow.runs.experiment import start
    from undertow.tracking.folder import home_folder

    return start(loaded, home=home.absolute() if home else home_folder(), progress=not quiet, on_start=header)


def _header(folder: "RunFolder", devices: "Devices") -> None:
    """What is about to be trained, and where."""
    from undertow.config.source import read_file

    config = read_file(folder.config).data
    cell, task = config["cell"], config["task"]
    layers = f" x {cell['layers']}" if cell["layers"] > 1 else ""
    number = f"{devices.count} x " if devices.count > 1 else ""
    note(
        f"{folder.identity.name}: {cell['name']} (width {cell['hidden_size']}{layers}) on {task['name']}, "
        f"{task['length']} time steps, {config['train']['max_steps']} training steps on {number}{devices.name}\n"
        f"{folder.path}"
    )


def _document(result: "RunResult") -> dict[str, Any]:
    return {
        "name": result.name,
        "folder": str(result.folder),
        "run_id": result.run_id,
        "status": "FINISHED",
        "shipped": result.shipped,
        "steps": result.steps,
        "metrics": dict(result.metrics),
        "curves": {name: {"steps": steps, "values": values} for name, (steps, values) in result.curves.items()},
    }
