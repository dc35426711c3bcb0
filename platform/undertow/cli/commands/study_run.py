"""`undertow study run`: run the combinations of a study that are left, and write its report."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from undertow.cli.options import Home, Json, PluginFiles, Sets, resolve_home
from undertow.cli.output.console import emit, note, showing_results
from undertow.cli.output.studies import print_study, study_document
from undertow.errors import RequestError
from undertow.tracking.folder import RunFolder


def study_run_command(
    file: Annotated[Path | None, Parameter(help="A YAML file with a `study` section.")] = None,
    /,
    *,
    workers: Annotated[int | None, Parameter(help="Number of parallel runs. Default: study.workers.")] = None,
    trials: Annotated[int | None, Parameter(help="Stop after this many trials; a later call continues.")] = None,
    retry_failed: Annotated[bool, Parameter(help="Run failed combinations again.")] = False,
    allow_changed_code: Annotated[bool, Parameter(help="Continue with changed plugins or data.")] = False,
    ray: Annotated[
        list[str] | None,
        Parameter(
            help="Run on this Ray cluster. Default: this machine's.",
            consume_multiple=(0, 1),
            negative="",
        ),
    ] = None,
    set: Sets = None,
    plugin: PluginFiles = None,
    home: Home = None,
    quiet: Annotated[bool, Parameter(help="Do not show progress.")] = False,
    json: Json = False,
) -> int:
    """Run the combinations that are left, and write the report.

    The exit code is 1 if a combination has failed, or if none is complete.
    """
    from undertow.studies.plan.load import load_study

    if file is None and ray and ray[0].endswith((".yaml", ".yml")):
        raise RequestError(f"name the file first: `undertow study run {ray[0]} --ray [HOST:PORT]`")
    if file is None:
        raise RequestError("name a configuration file, as in `undertow study run experiments/vanishing/digits.yaml`")
    for option, number in (("--workers", workers), ("--trials", trials)):
        if number is not None and number < 1:
            raise RequestError(f"{option}: {number} is too small; allowed: a whole number >= 1")
    overrides = [*(set or []), *([f"study.workers={workers}"] if workers is not None else [])]
    loaded = load_study(file, overrides, plugin or [])
    folder = resolve_home(home)
    from undertow.studies.progress import TerminalView
    from undertow.studies.run import run_study

    with TerminalView(loaded, quiet=quiet) as view:
        results, report = run_study(
            loaded,
            home=folder,
            watch=view,
            limit=trials,
            retry_failed=retry_failed,
            allow_changed_code=allow_changed_code,
            note=view.note,
            ray=None if ray is None else (ray or ["auto"])[0],
        )
    with showing_results("the study"):
        if json:
            emit({**study_document(results), "report": str(report), "shipped": RunFolder.open(report.parent).shipped})
        else:
            print_study(results, report)
    states = [trial.state for trial in results.combinations]
    if failed := states.count("failed"):
        note(
            f"{failed} of {len(states)} combinations have failed: `undertow study status {results.name}` shows why; "
            "the same command with --retry-failed runs them again."
        )
    return 0 if "complete" in states and not failed else 1
