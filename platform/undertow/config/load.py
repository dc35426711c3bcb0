"""Read the configuration of an experiment and validate it against the installed plugins.

    loaded = load_experiment("experiments/smoke/digits.yaml", overrides=["cell.name=gru"])
    loaded.config.cell.options        # {"gru": {...}}: every option of the chosen cell, defaults filled in
    loaded.origin["cell.name"]        # "--set"

Validation takes two passes, since only the first one knows which plugins to load: the host's own schema, then names,
lengths, metrics and the plugins' options. All errors of a pass are reported together.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from undertow._system.redact import redacted
from undertow.config.resolve import resolve, validate
from undertow.config.schema import ExperimentConfig
from undertow.config.source import LARGEST_FILE, Source, read_file, read_mapping
from undertow.config.yaml12 import Keys, write
from undertow.errors import RequestError
from undertow.plugins.discovery import file_refusal
from undertow.plugins.host import load_plugins
from undertow.plugins.registry import Registry

START = "checkpoints/start.ckpt"
"""The copy of the file of `train.start_from` in a run folder."""


@dataclass(frozen=True)
class LoadedExperiment:
    """A configuration that is ready to run.

    Attributes:
        config: Resolved: the length is filled in, options hold those of the chosen plugins with all defaults, paths
            are absolute.
        registry: The plugins that it was validated against.
        origin: By dotted key (list entries by index, as for `--set`), where the value came from: ``x.yaml:7``,
            ``--set``, ``--plugin``, ``<mapping>`` or ``default``.
    """

    config: ExperimentConfig
    registry: Registry
    origin: dict[str, str] = field(default_factory=dict)


def load_experiment(
    path: str | Path,
    overrides: Iterable[str] = (),
    plugin_files: Iterable[str | Path] = (),
    *,
    kept: Path | None = None,
) -> LoadedExperiment:
    """Read a YAML file, apply overrides, load the plugins that it permits and validate everything against them.

    Args:
        path: The file.
        overrides: ``KEY=VALUE``, such as ``cell.hidden_size=64``; later ones win.
        plugin_files: Scratch plugins beside those of the file, relative to the working folder.
        kept: As for `load_plugins`.

    Raises:
        RequestError: Something is wrong with the request; a line for each mistake.
    """
    path = Path(path)
    source = read_file(path, largest=LARGEST_FILE if kept is None else None)
    return _load(source, path.parent, overrides, plugin_files, kept)


def load_mapping(
    mapping: Mapping[str, Any], overrides: Iterable[str] = (), plugin_files: Iterable[str | Path] = ()
) -> LoadedExperiment:
    """Do what `load_experiment` does, for a Python mapping instead of a file.

    Args:
        mapping: What the file would hold; paths are relative to the working folder.
        overrides: As for `load_experiment`.
        plugin_files: As for `load_experiment`.

    Raises:
        RequestError: Something is wrong with the request; a line for each mistake.
    """
    return _load(read_mapping(mapping), Path(), overrides, plugin_files, None)


def dump(config: ExperimentConfig) -> str:
    """Write a resolved configuration as YAML that loads back to an equal one."""
    return write(config.model_dump(mode="json"))


def without_password(config: ExperimentConfig) -> ExperimentConfig:
    """Return the configuration with the password of its tracking URI redacted, to be stored and shown."""
    uri = config.track.uri
    if uri is None or uri == redacted(uri):
        return config
    track = config.track.model_copy(update={"uri": redacted(uri)})
    return config.model_copy(update={"track": track})


def flatten(config: ExperimentConfig) -> dict[str, str]:
    """Return every value that is set, by dotted key, as text for a table of parameters.

    Options of a probe or callback come under its name (``probes.saturation.every``); lists are joined.
    """
    data = config.model_dump(mode="json")
    for section in ("probes", "callbacks"):
        data[section] = {entry.pop("name"): entry for entry in data[section]}
    flat = {".".join(map(str, keys)): value for keys, value in _leaves(data) if value not in (None, "", [])}
    return {key: _text(value) for key, value in flat.items()}


def schema_json() -> dict[str, Any]:
    """Return the JSON schema of a configuration file, for editors."""
    return ExperimentConfig.model_json_schema()


def default_at(keys: Keys) -> Any:
    """Return the schema's default for a section or list that was not written, so that an override can change a part."""
    value: Any = ExperimentConfig
    for step in keys:
        if isinstance(value, type) and issubclass(value, BaseModel):
            info = value.model_fields.get(str(step))
            value = info.get_default(call_default_factory=True) if info and not info.is_required() else None
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
    """Validate against the host's own schema: the first pass.

    Raises:
        RequestError: A line for each mistake.
    """
    found = validate(ExperimentConfig, source.data, source, ())
    if isinstance(found, list):
        raise RequestError("\n".join(found))
    return found


def load_permitted(
    config: ExperimentConfig,
    source: Source,
    folder: Path,
    plugin_files: Iterable[str | Path] = (),
    kept: Path | None = None,
) -> tuple[ExperimentConfig, Registry]:
    """Load the plugins that a configuration permits, its scratch files and further ones.

    Args:
        config: From `host_checked`.
        source: Where it was written.
        folder: What the paths in it are relative to.
        plugin_files: Further scratch plugins, relative to the working folder.
        kept: As for `load_plugins`.

    Returns:
        The configuration with all scratch files as absolute paths, and what the plugins offer.

    Raises:
        RequestError: A file does not exist, the environment forbids it, it offers nothing, or a plugin failed to load
            and the configuration is strict.
    """
    extra = [Path(file).resolve() for file in plugin_files]
    files = list(dict.fromkeys([*_own_files(config, source, folder, kept), *extra]))
    permitted = config.plugins.model_copy(update={"files": files})
    registry = load_plugins(
        allow=permitted.allow, block=permitted.block, files=permitted.files, strict=permitted.strict, kept=kept
    )
    return config.model_copy(update={"plugins": permitted}), registry


def with_start_file(
    config: ExperimentConfig, source: Source, folder: Path, kept: Path | None = None
) -> ExperimentConfig:
    """The configuration with the absolute path of the file that `train.start_from` stands for.

    Args:
        config: The configuration.
        source: Where it was written.
        folder: What its paths are relative to; else they are relative to the working folder.
        kept: As for `load_plugins`: a run that is resumed has a copy of the file beside its checkpoints.

    Raises:
        RequestError: There is no such file, or the run has no checkpoint.
    """
    named = config.train.start_from
    if named is None:
        return config
    copies = [kept.parent / START] if kept else []
    for path in (*copies, folder / named, Path(named)):
        best = [path / "checkpoints" / name for name in ("best.ckpt", "last.ckpt")]
        for file in (path, *best):
            if file.is_file():
                train = config.train.model_copy(update={"start_from": file.resolve()})
                return config.model_copy(update={"train": train})
    raise RequestError(
        f"{source.place('train', 'start_from')}: train.start_from: there is neither a file {named} nor the folder of a "
        f"run with a checkpoint, in {folder.resolve()} or in {Path.cwd()}"
    )


def origins(config: ExperimentConfig, source: Source) -> dict[str, str]:
    """Return by dotted key where each value of a resolved configuration came from."""
    return {".".join(map(str, keys)): _origin(source, keys, value) for keys, value in _leaves(config.model_dump())}


def _load(
    source: Source,
    folder: Path,
    overrides: Iterable[str],
    plugin_files: Iterable[str | Path],
    kept: Path | None,
) -> LoadedExperiment:
    for text in overrides:
        source.override(text, default_at)
    if source.data.get("study") is not None:  # before validation: what the study varies may be missing elsewhere
        raise RequestError(
            f"{source.place('study')}: study: this describes many runs; run them with `undertow study run`"
        )
    extra = list(plugin_files)
    permitted, registry = load_permitted(host_checked(source), source, folder, extra, kept)
    config = resolve(with_start_file(permitted, source, folder, kept), source, registry)
    origin = origins(config, source)
    if extra:
        named = origin["plugins.files"]
        origin["plugins.files"] = "--plugin" if named == "default" else f"{named}, --plugin"
    return LoadedExperiment(config, registry, origin)


def _own_files(config: ExperimentConfig, source: Source, folder: Path, kept: Path | None) -> list[Path]:
    """The scratch plugins that the configuration itself names, as absolute paths."""
    files = []
    problems = []
    for index, file in enumerate(config.plugins.files):
        path = Path(folder, file)
        resolved = path.resolve()
        problem = file_refusal(resolved, kept) if path.is_file() else f"there is no file {path}."
        if problem:
            problems.append(f"{source.place('plugins', 'files', index)}: plugins.files.{index}: {problem}")
        files.append(resolved)
    if problems:
        raise RequestError("\n".join(problems))
    return files


def _leaves(data: Mapping[str, Any], keys: Keys = ()) -> Iterator[tuple[Keys, Any]]:
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*keys, key))
        elif isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
            for index, each in enumerate(value):
                yield from _leaves(each, (*keys, key, index))
        else:
            yield (*keys, key), value


def _origin(source: Source, keys: Keys, resolved: Any) -> str:
    written: Any = source.data
    try:
        for step in keys:
            written = written[step]
    except (KeyError, IndexError, TypeError):  # not written, or the section around it is empty
        return "default"
    return "default" if written is None and resolved is not None else source.place(*keys).origin


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_text(each) for each in value)
    return str(value).lower() if isinstance(value, bool) else str(value)
