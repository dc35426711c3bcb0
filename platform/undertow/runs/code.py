"""The code and the data that a run started with: ``code.json`` in its folder, compared when the run is resumed.

    copy_plugins(folder, loaded)                                             # at the start
    record_code(folder, loaded, dataset)
    require_recorded_code(folder, loaded, dataset, allow_changed=False)      # at a resume

A run executes the copies of its scratch plugins and their neighbours that are in its folder; its stored configuration
names the plugins. Scratch plugins are compared by SHA-256, distributions by version, and the data by the digest of its
first examples.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from undertow._system.atomic import write_atomically
from undertow.config.load import LoadedExperiment
from undertow.config.schema import ExperimentConfig
from undertow.errors import RequestError, UndertowError
from undertow.plugins.frozen import changed_code, keep_copies, require_same_code
from undertow.plugins.neighbours import with_neighbours
from undertow.plugins.scratch import describe
from undertow.tracking import RunFolder

CHANGED = "undertow.changed_code"
"""The tag of a run that was continued with other code or data than it was started with; its value says which."""

DATASET = "the data (undertow.dataset)"
"""The name under which a digest of the data is compared, beside the names of plugins."""


@dataclass(frozen=True)
class RecordedCode:
    """The content of ``code.json``.

    Attributes:
        plugins: Version by plugin, from `Registry.versions`.
        dataset: The digest of the data.
        originals: The path of each scratch plugin that was copied, by the file name of the copy.
        changed: What was different at a resume that allowed it, a line for each plugin.
    """

    plugins: Mapping[str, str]
    dataset: str
    originals: Mapping[str, str]
    changed: Sequence[str] = ()

    @property
    def versions(self) -> dict[str, str]:
        """Plugins and data in one mapping."""
        return {**self.plugins, DATASET: self.dataset}


def with_copies(config: ExperimentConfig) -> ExperimentConfig:
    """The same configuration with the copies of its scratch plugins, relative to the run folder."""
    files = [Path("plugins", file.name) for file in config.plugins.files]
    return config.model_copy(update={"plugins": config.plugins.model_copy(update={"files": files})})


def copy_plugins(folder: RunFolder, loaded: LoadedExperiment) -> None:
    """Copy the scratch plugins of a new run into its folder.

    Raises:
        UndertowError: A file has changed since it was imported, so that its copy is not the code of this run.
    """
    versions = loaded.registry.versions()
    for copy in keep_copies(loaded.config.plugins.files, folder.path / "plugins"):
        plugin = describe(copy)
        if versions.get(plugin.label) != plugin.version:
            raise UndertowError(f"{copy.name} has changed while the run was starting: start the run again")


def record_code(folder: RunFolder, loaded: LoadedExperiment, dataset: str) -> None:
    """Record the code and the data that a new run starts with.

    Args:
        folder: The run's folder.
        loaded: The experiment, whose registry has been loaded from the original files.
        dataset: The digest of the data.
    """
    originals = {file.name: str(file) for file in loaded.config.plugins.files}
    _write(folder, RecordedCode(loaded.registry.versions(), dataset, originals))


def require_recorded_code(
    folder: RunFolder,
    loaded: LoadedExperiment,
    dataset: str,
    *,
    allow_changed: bool,
    compare_plugins: bool = True,
) -> dict[str, str]:
    """Compare the code and the data of today with those at the start of a run.

    A run of a version of Undertow that recorded no code is accepted.

    Args:
        folder: The run's folder.
        loaded: The run's experiment, loaded now.
        dataset: The digest of the data now.
        allow_changed: Accept and record a difference.
        compare_plugins: False accepts and records a difference of the plugins, but not of the data.

    Returns:
        Tags for the run, if there is a difference.

    Raises:
        RequestError: There is a difference, and it is not allowed.
    """
    recorded = _read(folder)
    if recorded is None:
        return {}
    now = {**loaded.registry.versions(), DATASET: dataset}
    if not allow_changed:
        compared = recorded.versions if compare_plugins else {DATASET: recorded.dataset}
        require_same_code(compared, now, f"the run {folder.path.name}")
    changes = changed_code(recorded.versions, now)
    if not changes:
        return {}
    changed = list(dict.fromkeys([*recorded.changed, *changes]))
    _write(folder, RecordedCode(loaded.registry.versions(), dataset, recorded.originals, changed))
    return {CHANGED: "; ".join(changed)}


def note_changed_originals(folder: RunFolder) -> None:
    """Print a line to standard error for each scratch plugin or neighbour that differs from the run's copy."""
    recorded = _read(folder)
    pairs: dict[Path, Path] = {}
    for name, path in recorded.originals.items() if recorded else ():
        plugin = folder.path / "plugins" / name
        for copy in with_neighbours([plugin]):
            pairs[copy] = Path(path).parent / copy.relative_to(plugin.parent)
    for copy, original in pairs.items():
        if copy.is_file() and original.is_file() and copy.read_bytes() != original.read_bytes():
            print(f"{original} now differs from the copy of the run, which continues with {copy}", file=sys.stderr)


def _write(folder: RunFolder, code: RecordedCode) -> None:
    write_atomically(folder.path / "code.json", json.dumps(asdict(code), indent=2))


def _read(folder: RunFolder) -> RecordedCode | None:
    path = folder.path / "code.json"
    try:
        return RecordedCode(**json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise RequestError(f"{path} cannot be read: {error}") from error
