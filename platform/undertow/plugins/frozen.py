"""Frozen code: the plugins that a run or a study started with, and whether those of today are the same.

    copies = keep_copies(config.plugins.files, folder.path / "plugins")
    require_same_code(recorded, registry.versions(), "the run lstm-T256-s0")

A scratch plugin is copied with its neighbours when a run or a study starts, and every later process imports the copy:
an edit of the original changes nothing that has started. Distributions are compared by version, scratch plugins by
SHA-256.

The environment (`UNDERTOW_PLUGINS_ALLOW`) is applied to the originals at the start. A process that resumes passes the
folder of the copies as `kept` to `load_plugins` or `load_experiment`, since the list names originals.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from undertow._system.atomic import sync_folder, write_atomically
from undertow.errors import RequestError
from undertow.plugins.neighbours import require_one_folder, with_neighbours


def keep_copies(files: Iterable[Path], folder: Path) -> list[Path]:
    """Copy scratch plugins and their neighbours into a folder.

    A copy that exists is kept as it is, with its neighbours, whatever its original holds now.

    Args:
        files: The scratch plugins.
        folder: Where the copies go; made if there is something to copy.

    Returns:
        The copies, in the order of `files`.

    Raises:
        RequestError: Two different files have one name, or a file cannot be copied.
    """
    originals: dict[Path, Path] = {}
    copies = []
    for file in files:
        copy = folder / file.name
        if originals.setdefault(copy, file) != file:
            raise RequestError(f"{originals[copy]} and {file} have one name: rename one of them.")
        copies.append(copy)
    missing = {copy: file for copy, file in originals.items() if not copy.exists()}
    require_one_folder(missing.values())
    beside = {
        folder / each.relative_to(file.parent): each
        for file in missing.values()
        for each in with_neighbours([file])
        if each != file
    }
    for copy, file in beside.items():  # before the plugins: beside a plugin's copy are those of all its neighbours
        if not copy.exists():
            _copy(file, copy)
    inside = {parent for copy in beside for parent in copy.parents if parent.is_relative_to(folder)}
    for parent in sorted(inside, reverse=True):
        sync_folder(parent)
    for copy, file in missing.items():
        _copy(file, copy)
    if missing:
        sync_folder(folder)
    return copies


def changed_code(recorded: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """List the differences between the code at the start and today's, a line for each plugin.

    Args:
        recorded: Version by plugin, from `Registry.versions` at the start.
        now: The same of today; a plugin that is only here is no change.
    """
    return [
        f"{name}: {version or 'unknown'} at the start, {now.get(name, 'not loaded') or 'unknown'} now"
        for name, version in sorted(recorded.items())
        if now.get(name) != version
    ]


def require_same_code(recorded: Mapping[str, str], now: Mapping[str, str], what: str) -> None:
    """Refuse to continue with other code than at the start.

    Args:
        recorded: Version by plugin at the start.
        now: The same of today.
        what: What was started, such as ``the run lstm-T256-s0``.

    Raises:
        RequestError: It names each plugin with both versions, and the option that allows it.
    """
    if changes := changed_code(recorded, now):
        listed = "\n".join(f"  {change}" for change in changes)
        raise RequestError(
            f"{what} was started with other code than is here now:\n{listed}\n"
            "Restore that code, or continue with today's: --allow-changed-code"
        )


def _copy(file: Path, copy: Path) -> None:
    """Copy a file so that no process ever reads half of it, not even after a power cut."""
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(copy, file.read_bytes())
    except OSError as error:
        raise RequestError(f"{file}: the scratch plugin cannot be copied to {copy}: {error.strerror}.") from error
