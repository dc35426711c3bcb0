"""`undertow check`: validate configurations without importing torch."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from undertow.cli.options import Json, PluginFiles, Sets
from undertow.cli.output.console import emit, err, out
from undertow.config.load import load_experiment
from undertow.errors import RequestError
from undertow.studies.plan.load import is_study, load_study


def check_command(
    *files: Annotated[Path, Parameter(help="The YAML files of experiments or studies.")],
    set: Sets = None,
    plugin: PluginFiles = None,
    json: Json = False,
) -> int:
    """Validate every file, and report every error in each of them."""
    if not files:
        raise RequestError("name at least one configuration file, as in `undertow check experiments/smoke/*.yaml`")
    reports = [_check(file, set or [], plugin or []) for file in files]
    code = 0 if all(report["ok"] for report in reports) else RequestError.exit_code
    if json:
        emit({"ok": code == 0, "files": reports})
        return code
    for report in reports:
        if report["ok"]:
            checked = report["run"] if "run" in report else f"{report['study']}: {report['runs']} runs"
            out().print(f"ok  {report['file']}  {checked}", soft_wrap=True)
        for problem in report["problems"]:
            err().print(f"error: {problem}", soft_wrap=True)
    return code


def _check(file: Path, overrides: list[str], plugins: list[Path]) -> dict[str, Any]:
    """Validate one file, and return the entry for it in the JSON object."""
    try:
        if is_study(file):
            study = load_study(file, overrides, plugins)
            runs = sum(1 for _ in study.space.combinations())
            return {"file": str(file), "ok": True, "study": study.name, "runs": runs, "problems": []}
        loaded = load_experiment(file, overrides, plugins)
    except RequestError as error:
        return {"file": str(file), "ok": False, "problems": str(error).splitlines()}
    return {"file": str(file), "ok": True, "run": loaded.config.run_name, "problems": []}
