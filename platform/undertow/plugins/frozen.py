"""Frozen code: the plugins that a run or a study started with, and whether those of today are the same.

    copies = keep_copies(config.plugins.files, folder.path / "plugins")
    require_same_code(recorded, registry.versions(), "the run lstm-T256-s0")

A scratch plugin is copied when a run or a study starts, and the copy is what every later process imports: an edit of
the original changes nothing that is under way. Distributions are compared by version, scratch plugins by SHA-256.
"""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from undertow.errors import RequestError


def keep_copies(files: Iterable[Path], folder: Path) -> list[Path]:
    """Copy scratch plugins into a folder; a copy that is there already is kept as it is.

    Args:
        files: The scratch plugins; no two have the same name.
        folder: Where the copies go; made if there is something to copy.

    Returns:
        The copies, in the order of `files`.
    """
    copies = []
    for file in files:
        folder.mkdir(parents=True, exist_ok=True)
        copy = folder / file.name
        if not copy.exists():
            draft = folder / f".{file.name}.new"
            shutil.copy2(file, draft)
            draft.replace(copy)
        copies.append(copy)
    return copies


def changed_code(recorded: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What differs between the code at the start and today's, a line for each plugin.

    Args:
        recorded: Version by plugin, from `Registry.versions` at the start.
        now: The same of today; a plugin that is only here is no change.
    """
    return [
        f"{name}: {version} at the start, {now.get(name, 'not loaded')} now"
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
