"""`undertow check` and `undertow show`: configurations, without torch."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from undertow.cli.options import File, Json, PluginFiles, Sets
from undertow.cli.output.console import emit, err, out
from undertow.config.load import dump, load_experiment, schema_json, without_password
from undertow.errors import RequestError
from undertow.studies.plan.load import is_study, load_study


def check_command(
    *files: Annotated[Path, Parameter(help="YAML files.")],
    set: Sets = None,
    plugin: PluginFiles = None,
    json: Json = False,
) -> int:
    """Validate configurations: every file, and all that is wrong with each."""
    if not files:
        raise RequestError("name at least one configuration file, as in `undertow check experiments/smoke/*.yaml`")
    reports = [_check(file, set or [], plugin or []) for file in files]
    code = 0 if all(report["ok"] for report in reports) else RequestError.exit_code
    if json:
        emit({"ok": code == 0, "files": reports})
        return code
    for report in reports:
        if report["ok"]:
            what = report["run"] if "run" in report else f"{report['study']}: {report['runs']} runs"
            out().print(f"ok  {report['file']}  {what}", soft_wrap=True)
        for problem in report["problems"]:
            err().print(f"error: {problem}", soft_wrap=True)
    return code


def _check(file: Path, overrides: list[str], plugins: list[Path]) -> dict[str, Any]:
    try:
        if is_study(file):
            study = load_study(file, overrides, plugins)
            runs = sum(1 for _ in study.space.combinations())
            return {"file": str(file), "ok": True, "study": study.name, "runs": runs, "problems": []}
        loaded = load_experiment(file, overrides, plugins)
    except RequestError as error:
        return {"file": str(file), "ok": False, "problems": str(error).splitlines()}
    return {"file": str(file), "ok": True, "run": loaded.config.run_name, "problems": []}


def show_command(
    file: File = None,
    /,
    *,
    resolved: Annotated[bool, Parameter(help="As YAML, with every default and option, ready to run.")] = False,
    schema: Annotated[bool, Parameter(help="The JSON schema of a configuration, for editors; needs no FILE.")] = False,
    set: Sets = None,
    plugin: PluginFiles = None,
    json: Json = False,
) -> int:
    """Show a configuration: each key, its value and where that comes from."""
    if schema:
        if resolved:
            raise RequestError("--resolved and --schema exclude each other: keep one")
        emit(schema_json())
        return 0
    if file is None:
        raise RequestError("name a configuration file, as in `undertow show experiments/smoke/digits.yaml`")
    shown, yaml, origin = _loaded(file, set or [], plugin or [])
    if json:
        emit({"config": shown, "origin": origin})
    elif resolved:
        print(yaml, end="")
    else:
        from undertow.cli.output.tables import table

        rows = [[key, _text(_at(shown, key)), where] for key, where in origin.items()]
        out().print(table(["key", "value", "from"], rows))
    return 0


def _loaded(file: Path, overrides: list[str], plugins: list[Path]) -> tuple[dict[str, Any], str, dict[str, str]]:
    """A configuration as data and as YAML, and where each value came from; of a study, the first of its runs."""
    if is_study(file):
        study = load_study(file, overrides, plugins)
        return without_password(study.first).model_dump(mode="json"), study.yaml(), study.origins()
    loaded = load_experiment(file, overrides, plugins)
    config = without_password(loaded.config)
    return config.model_dump(mode="json"), dump(config), loaded.origin


def _at(data: Any, key: str) -> Any:
    """The value under a dotted key; entries of lists by index."""
    for step in key.split("."):
        data = data[int(step)] if isinstance(data, list) else data[step]
    return data


def _text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
