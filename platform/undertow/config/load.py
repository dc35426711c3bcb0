"""Read the configuration of an experiment: all of it, checked against what is installed, with where it came from.

    loaded = load_experiment("experiments/smoke/digits.yaml", overrides=["cell.name=gru"])
    loaded.config.cell.options        # {"gru": {...}}: every option of the chosen cell, defaults filled in
    loaded.origin["cell.name"]        # "--set"

It goes in two passes, since only the first says which plugins to load: the host's own schema, then names, lengths,
metrics and the plugins' options. All that a pass finds wrong is told at once.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from undertow._system.redact import redacted
from undertow.config.resolve import resolve, validate
from undertow.config.schema import ExperimentConfig
from undertow.config.source import Source, read_file, read_mapping
from undertow.config.yaml12 import Keys, write
from undertow.errors import RequestError
from undertow.plugins.host import load_plugins
from undertow.plugins.registry import Registry


@dataclass(frozen=True)
class LoadedExperiment:
    """A configuration that is ready to run.

    Attributes:
        config: Resolved: the length is filled in, options hold those of the chosen plugins with all defaults, paths
            are absolute.
        registry: The plugins it was checked against.
        origin: By dotted key (list entries by index, as for `--set`), where the value came from: ``x.yaml:7``,
            ``--set``, ``--plugin``, ``<mapping>`` or ``default``.
    """

    config: ExperimentConfig
    registry: Registry
    origin: dict[str, str] = field(default_factory=dict)


def load_experiment(
    path: str | Path, overrides: Iterable[str] = (), plugin_files: Iterable[str | Path] = ()
) -> LoadedExperiment:
    """Read a YAML file, apply overrides, load the plugins it permits and check everything against them.

    Args:
        path: The file.
        overrides: ``KEY=VALUE``, such as ``cell.hidden_size=64``; later ones win.
        plugin_files: Scratch plugins beside those of the file, relative to the working folder.

    Raises:
        RequestError: Something is wrong with the request; a line for each mistake.
    """
    path = Path(path)
    return _load(read_file(path), path.parent, overrides, plugin_files)


def load_mapping(
    mapping: Mapping[str, Any], overrides: Iterable[str] = (), plugin_files: Iterable[str | Path] = ()
) -> LoadedExperiment:
    """Do what `load_experiment` does, for a Python mapping in the place of a file; paths are relative to here.

    Raises:
        RequestError: Something is wrong with the request; a line for each mistake.
    """
    return _load(read_mapping(mapping), Path(), overrides, plugin_files)


def dump(config: ExperimentConfig) -> str:
    """Write a resolved configuration as YAML that loads back to an equal one."""
    return write(config.model_dump(mode="json"))


def without_password(config: ExperimentConfig) -> ExperimentConfig:
    """The same, with the password of its tracking URI redacted: what may be stored and shown."""
    uri = config.track.uri
    if uri is None or uri == redacted(uri):
        return config
    track = config.track.model_copy(update={"uri": redacted(uri)})
    return config.model_copy(update={"track": track})


def flatten(config: ExperimentConfig) -> dict[str, str]:
    """Every value that is set, under a dotted key, as text for a table of parameters.

    A probe stands under its name (``probes.saturation.every``), lists are joined.
    """
    data = config.model_dump(mode="json")
    data["probes"] = {probe.pop("name"): probe for probe in data["probes"]}
    flat = {".".join(map(str, way)): value for way, value in _leaves(data) if value not in (None, "", [])}
    return {key: _text(value) for key, value in flat.items()}


def schema_json() -> dict[str, Any]:
    """The JSON schema of a configuration file, for editors."""
    return ExperimentConfig.model_json_schema()


def default_at(way: Keys) -> Any:
    """What the schema holds at a place that was not written, so that an override can change a part of it."""
    value: Any = ExperimentConfig
    for step in way:
        if isinstance(value, type) and issubclass(value, BaseModel):
            field = value.model_fields.get(str(step))
            value = field.get_default(call_default_factory=True) if field and not field.is_required() else None
        else:
            value = getattr(value, str(step), None) if isinstance(value, BaseModel) else None
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_unset=True)
    if isinstance(value, list | tuple):
        return [
            each.model_dump(mode="json", exclude_unset=True) if isinstance(each, BaseModel) else each for each in value
        ]
    return None


def host_checked(source: Source) -> ExperimentConfig:
    """The first pass: what the host's own schema lets through.

    Raises:
        RequestError: A line for each mistake.
    """
    found = validate(ExperimentConfig, source.data, source, ())
    if isinstance(found, list):
        raise RequestError("\n".join(found))
    return found


def load_permitted(
    config: ExperimentConfig, source: Source, folder: Path, plugin_files: Iterable[str | Path] = ()
) -> tuple[ExperimentConfig, Registry]:
    """Load the plugins that a configuration permits, and the scratch files beside those it names.

    Args:
        config: From `host_checked`.
        source: Where it was written.
        folder: What the paths in it are relative to.
        plugin_files: More scratch plugins, relative to the working folder.

    Returns:
        The configuration with all scratch files as absolute paths, and what the plugins offer.

    Raises:
        RequestError: A file is not there, or a plugin failed that must not.
    """
    extra = [Path(file).resolve() for file in plugin_files]
    files = list(dict.fromkeys([*_own_files(config, source, folder), *extra]))
    permitted = config.plugins.model_copy(update={"files": files})
    registry = load_plugins(
        allow=permitted.allow, block=permitted.block, files=permitted.files, strict=permitted.strict
    )
    return config.model_copy(update={"plugins": permitted}), registry


def origins(config: ExperimentConfig, source: Source) -> dict[str, str]:
    """By dotted key, where each value of a resolved configuration came from."""
    return {".".join(map(str, way)): _origin(source, way, value) for way, value in _leaves(config.model_dump())}


def _load(
    source: Source, folder: Path, overrides: Iterable[str], plugin_files: Iterable[str | Path]
) -> LoadedExperiment:
    for text in overrides:
        source.override(text, default_at)
    if source.data.get("study") is not None:  # first of all: what it varies may be missing elsewhere
        raise RequestError(
            f"{source.place('study')}: study: this describes many runs; run them with `undertow study run`"
        )
    extra = list(plugin_files)
    permitted, registry = load_permitted(host_checked(source), source, folder, extra)
    config = resolve(permitted, source, registry)
    origin = origins(config, source)
    if extra:
        named = origin["plugins.files"]
        origin["plugins.files"] = "--plugin" if named == "default" else f"{named}, --plugin"
    return LoadedExperiment(config, registry, origin)


def _own_files(config: ExperimentConfig, source: Source, folder: Path) -> list[Path]:
    """The scratch plugins that the configuration itself names, as absolute paths."""
    files = [Path(folder, file) for file in config.plugins.files]
    absent = [
        f"{source.place('plugins', 'files', index)}: plugins.files.{index}: there is no file {file}."
        for index, file in enumerate(files)
        if not file.is_file()
    ]
    if absent:
        raise RequestError("\n".join(absent))
    return [file.resolve() for file in files]


def _leaves(data: Mapping[str, Any], way: Keys = ()) -> Iterator[tuple[Keys, Any]]:
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*way, key))
        elif isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
            for index, each in enumerate(value):
                yield from _leaves(each, (*way, key, index))
        else:
            yield (*way, key), value


def _origin(source: Source, way: Keys, resolved: Any) -> str:
    written: Any = source.data
    try:
        for step in way:
            written = written[step]
    except (KeyError, IndexError, TypeError):  # not written, or the section around it is empty
        return "default"
    return "default" if written is None and resolved is not None else source.place(*way).origin


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_text(each) for each in value)
    return str(value).lower() if isinstance(value, bool) else str(value)
