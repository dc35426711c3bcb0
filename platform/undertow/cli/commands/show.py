"""`undertow show`: print a configuration without importing torch."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from undertow.cli.options import Json, PluginFiles, Sets
from undertow.cli.output.console import emit, write
from undertow.cli.output.tables import format_value, print_table
from undertow.config.load import dump, load_experiment, schema_json, without_password
from undertow.errors import RequestError
from undertow.studies.plan.load import is_study, load_study


def show_command(
    file: Annotated[Path | None, Parameter(help="The YAML file of an experiment or a study.")] = None,
    /,
    *,
    resolved: Annotated[bool, Parameter(help="Print YAML with every default and option.")] = False,
    schema: Annotated[bool, Parameter(help="Print the JSON schema of a configuration; needs no FILE.")] = False,
    set: Sets = None,
    plugin: PluginFiles = None,
    json: Json = False,
) -> int:
    """Show each key of a configuration, its value and its origin."""
    if schema:
        if resolved:
            raise RequestError("--resolved and --schema exclude each other: keep one")
        emit(schema_json())
        return 0
    if file is None:
        raise RequestError("name a configuration file, as in `undertow show experiments/smoke/digits.yaml`")
    config, yaml, origin = _load(file, set or [], plugin or [])
    if json:
        emit({"config": config, "origin": origin})
    elif resolved:
        write(yaml)
    else:
        # without the folder, which was given in the command and would take the room of the values
        places = {key: where.replace(str(file), file.name, 1) for key, where in origin.items()}
        rows = [[key, format_value(_value_at(config, key)), where] for key, where in places.items()]
        print_table(["key", "value", "from"], rows)
    return 0


def _load(file: Path, overrides: list[str], plugins: list[Path]) -> tuple[dict[str, Any], str, dict[str, str]]:
    """Return a configuration as data and as YAML, and the origin of each value; for a study, those of its first run."""
    if is_study(file):
        study = load_study(file, overrides, plugins)
        return without_password(study.first).model_dump(mode="json"), study.yaml(), study.origins()
    loaded = load_experiment(file, overrides, plugins)
    config = without_password(loaded.config)
    return config.model_dump(mode="json"), dump(config), loaded.origin


def _value_at(data: Any, key: str) -> Any:
    """Return the value of a dotted key; an entry of a list is named by its index."""
    for step in key.split("."):
        data = data[int(step)] if isinstance(data, list) else data[step]
    return data
