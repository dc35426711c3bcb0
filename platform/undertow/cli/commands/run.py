"""`undertow run`: one experiment, from its YAML file to a table of results."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from undertow.cli.options import Home, Json, PluginFiles, Sets, resolve_home
from undertow.cli.output.console import emit, note, note_to_person, showing_results
from undertow.errors import RequestError

if TYPE_CHECKING:
    from undertow.runs.experiment import RunResult
    from undertow.tracking.folder import RunFolder
    from undertow.train.devices import Devices


def run_command(
    file: Annotated[Path | None, Parameter(help="The YAML file of an experiment.")] = None,
    /,
    *,
    set: Sets = None,
    plugin: PluginFiles = None,
    resume: Annotated[
        str | None,
        Parameter(help="Resume a run: its folder, name or MLflow id."),
    ] = None,
    seeds: Annotated[int | None, Parameter(help="Run so many replicates, side by side if possible.")] = None,
    allow_changed_code: Annotated[bool, Parameter(help="With --resume: accept changed plugins or data.")] = False,
    home: Home = None,
    quiet: Annotated[bool, Parameter(help="Do not show a header and progress.")] = False,
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
    if resume is not None and plugin:
        raise RequestError("--resume uses the plugins of the run: leave out --plugin")
    if seeds is not None:
        if file is None:
            raise RequestError("--seeds starts new runs: leave out --resume, which continues one")
        return _run_replicates(file, set or [], plugin or [], home, seeds, quiet=quiet, json=json)
    result = _run(file, set or [], plugin or [], resume, home, quiet=quiet, allow_changed_code=allow_changed_code)
    with showing_results("the run"):
        if json:
            emit(_document(result))
        else:
            from undertow.cli.output.runs import print_results

            print_results([result])
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
    header = None if quiet else _print_header
    if file is None:
        _note_imports(quiet)
        from undertow.runs.experiment import resume as resume_run

        assert resume is not None
        return resume_run(
            resume,
            set=overrides,
            home=home,
            progress=not quiet,
            allow_changed_code=allow_changed_code,
            on_start=header,
        )
    # Most wrong requests are refused here, before the imports that take seconds.
    from undertow.config.load import load_experiment

    loaded = load_experiment(file, overrides, plugins)
    _note_imports(quiet)
    from undertow.runs.experiment import start

    return start(loaded, home=resolve_home(home), progress=not quiet, on_start=header)


def _run_replicates(
    file: Path, overrides: list[str], plugins: list[Path], home: Path | None, seeds: int, *, quiet: bool, json: bool
) -> int:
    """Train replicates, and show what they have in common; returns 1 if one of them has failed."""
    from undertow.config.load import load_experiment

    loaded = load_experiment(file, overrides, plugins)
    _note_imports(quiet)
    from undertow.runs.replicates import run_replicates

    header = None if quiet else _print_header
    results, failures = run_replicates(
        loaded, seeds, home=resolve_home(home), progress=not quiet, on_start=header, note=note
    )
    for failure in failures:
        note(failure)
    with showing_results("the runs"):
        from undertow.cli.output.replicates import print_replicates, summary

        if json:
            runs = [_document(result) for result in results]
            emit({"runs": runs, "failures": failures, "summary": summary(results)})
        elif results:
            print_replicates(results)
    return 1 if failures else 0


def _note_imports(quiet: bool) -> None:
    """Say why nothing happens for some seconds."""
    if not quiet:
        note_to_person("importing torch and Lightning …")


def _print_header(folder: "RunFolder", devices: "Devices") -> None:
    """Print what is going to be trained, on which devices, and the run folder."""
    from undertow.config.source import read_file

    config = read_file(folder.config, largest=None).data
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
