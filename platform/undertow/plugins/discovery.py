"""Which distributions hold plugins, and what may be loaded; nothing is imported to find out.

    for name, version, distribution in installed():
        print(name, version, distribution.entry_points.select(group="undertow"))

`UNDERTOW_PLUGINS_ALLOW` and `UNDERTOW_PLUGINS_BLOCK` limit what any configuration can load, for a machine whose owner
does not write the configurations. Each is a list, separated by commas, of distributions by name and of scratch files
by absolute path. Where `UNDERTOW_PLUGINS_ALLOW` is set, what it does not list is refused, classes that a configuration
names by their import path included (see `imports`). A scratch file that is permitted may import its neighbours, which
are not listed: permit one in a folder where only trusted users can write. A file that `UNDERTOW_PLUGINS_BLOCK` lists is
refused as a neighbour too.
"""

import os
import re
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path

from undertow.api.hookspecs import PROJECT
from undertow.errors import RequestError, did_you_mean
from undertow.plugins.neighbours import with_neighbours

_ALLOW, _BLOCK = "UNDERTOW_PLUGINS_ALLOW", "UNDERTOW_PLUGINS_BLOCK"
_OWN = frozenset({"optuna", "optuna-integration", "pytorch-lightning"})
"""Distributions that the platform is built on, whose samplers, pruners and loggers are always allowed."""


def installed() -> list[tuple[str, str, metadata.Distribution]]:
    """Normalised name, version and distribution of all that have plugins, in the order in which they load.

    `metadata.entry_points` would parse the entry points of everything that is installed, and stop at the first
    malformed file, even of a distribution without plugins.
    """
    group = re.compile(rf"^\s*\[\s*{PROJECT}\s*\]", re.MULTILINE)
    found: dict[str, tuple[str, str, metadata.Distribution]] = {}
    for distribution in metadata.distributions():
        if group.search(distribution.read_text("entry_points.txt") or ""):
            name, version = _name_and_version(distribution)
            found.setdefault(name, (name, version, distribution))  # the first on the path hides others of its name
    return sorted(found.values(), key=lambda each: (not each[0].startswith("undertow-"), each[0]))


def permitted(names: Sequence[str], allow: Iterable[str] | None, block: Iterable[str]) -> set[str]:
    """The distributions that the arguments and the environment allow.

    Args:
        names: Those installed, normalised.
        allow: Only these; all when None.
        block: Never these.

    Raises:
        RequestError: One that is allowed is not installed (the message has the nearest name), or the environment lists
            a scratch file without its absolute path.
    """
    allowed = set(names)
    by_environment = [name for name in _listed(_ALLOW) if not _is_file(name, _ALLOW)] if _listed(_ALLOW) else None
    for place, only in (("plugins.allow", allow), (_ALLOW, by_environment)):
        if only is None:
            continue
        listed = {_normal(name): name for name in only}
        also = _has_no_plugins if place == _ALLOW else lambda name: False
        if unknown := [name for normal, name in sorted(listed.items()) if normal not in names and not also(name)]:
            lines = (f"{place}: {_not_installed(name, names)}" for name in unknown)
            raise RequestError("\n".join(lines))
        allowed &= set(listed)
    blocked = [name for name in _listed(_BLOCK) if not _is_file(name, _BLOCK)]
    for name in blocked:
        if name.endswith(".py") and _normal(name) not in names:  # probably meant as a scratch file: do not ignore it
            raise RequestError(f"{_BLOCK}: {_not_installed(name, names)}")
    return allowed - {_normal(name) for name in [*block, *blocked]}


def file_refusal(file: Path, kept: Path | None = None) -> str | None:
    """Why the environment forbids a scratch file; None where it does not.

    Args:
        file: Absolute, links resolved.
        kept: As for `undertow.plugins.host.load_plugins`.

    Raises:
        RequestError: The environment lists a scratch file without its absolute path.
    """
    if kept is not None and file.parent == kept.resolve():
        return None
    blocked = _files(_BLOCK)
    if file in blocked:
        return f"{file}: {_BLOCK} lists this scratch plugin. Leave the file out, or take it off that list."
    if blocked and (beside := blocked.intersection(each.resolve() for each in with_neighbours([file]))):
        return f"{file}: {_BLOCK} lists {min(beside)}, which this scratch plugin imports. Take it off that list."
    if _listed(_ALLOW) and file not in _files(_ALLOW):
        return f"{file}: {_ALLOW} does not list this scratch plugin. Leave the file out, or add this path to that list."
    return None


def module_refusal(package: str, distributions: Sequence[str]) -> str | None:
    """Why the environment forbids the import of a module that a configuration names; None where it does not.

    Args:
        package: The first part of its name.
        distributions: Those that have it, as `importlib.metadata.packages_distributions` names them.
    """
    names = {_normal(name) for name in distributions}
    if blocked := names & {_normal(name) for name in _listed(_BLOCK)}:
        return f"{_BLOCK} lists {', '.join(sorted(blocked))}."
    allowed = {_normal(name) for name in _listed(_ALLOW)} | _OWN
    if _listed(_ALLOW) and not names & allowed:
        return f"{_ALLOW} does not list the distribution of `{package}` ({', '.join(sorted(names)) or 'none'})."
    return None


def _not_installed(name: str, names: Sequence[str]) -> str:
    if name.endswith(".py"):
        return f"no plugin `{name}` is installed; a scratch file is listed by its absolute path."
    return f"no plugin `{_normal(name)}` is installed.{did_you_mean(_normal(name), names, 'undertow plugin list')}"


def _has_no_plugins(name: str) -> bool:
    """Whether a distribution is installed that has no plugins: its classes may be allowed, see `module_refusal`."""
    try:
        metadata.distribution(name)
    except (metadata.PackageNotFoundError, ValueError):
        return False
    return True


def _name_and_version(distribution: metadata.Distribution) -> tuple[str, str]:
    try:
        return _normal(distribution.metadata["Name"]), distribution.version
    except Exception:  # noqa: BLE001  # half removed: the exception differs between versions of Python
        return "unnamed", ""


def _normal(name: str) -> str:
    """A distribution's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def _listed(variable: str) -> list[str]:
    return [entry.strip() for entry in os.environ.get(variable, "").split(",") if entry.strip()]


def _files(variable: str) -> set[Path]:
    return {Path(entry).resolve() for entry in _listed(variable) if _is_file(entry, variable)}


def _is_file(entry: str, variable: str) -> bool:
    """Whether an entry is a scratch file's path, not the name of a distribution."""
    if "/" not in entry and os.sep not in entry:
        return False
    if not Path(entry).is_absolute():
        raise RequestError(f"{variable}: `{entry}` is not absolute; a scratch file is listed by its absolute path.")
    return True
