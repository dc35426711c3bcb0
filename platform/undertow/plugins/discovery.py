"""Which distributions hold plugins, and which of them may be loaded; nothing is imported to find out.

for name, version, distribution in installed():
    print(name, version, distribution.entry_points.select(group="undertow"))
"""

import os
import re
from collections.abc import Iterable, Sequence
from importlib import metadata

from undertow.api.hookspecs import PROJECT
from undertow.errors import RequestError, did_you_mean


def installed() -> list[tuple[str, str, metadata.Distribution]]:
    """Normalised name, version and distribution of all that have plugins, in the order in which they load.

    `metadata.entry_points` would parse the entry points of everything that is installed, and stop at the first
    malformed file, whosever it is.
    """
    group = re.compile(rf"^\s*\[\s*{PROJECT}\s*\]", re.MULTILINE)
    found: dict[str, tuple[str, str, metadata.Distribution]] = {}
    for distribution in metadata.distributions():
        if group.search(distribution.read_text("entry_points.txt") or ""):
            name, version = _label(distribution)
            found.setdefault(name, (name, version, distribution))  # the first on the path hides its namesakes
    return sorted(found.values(), key=lambda each: (not each[0].startswith("undertow-"), each[0]))


def _label(distribution: metadata.Distribution) -> tuple[str, str]:
    try:
        return _normal(distribution.metadata["Name"]), distribution.version
    except Exception:  # noqa: BLE001  # half-removed: what is raised differs between versions of Python
        return "unnamed", ""


def _normal(name: str) -> str:
    """A distribution's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def permitted(names: Sequence[str], allow: Iterable[str] | None, block: Iterable[str]) -> set[str]:
    """Which distributions the arguments and the environment let through, out of those installed.

    Args:
        names: Those installed, normalised.
        allow: Only these; all when None.
        block: Never these.

    Raises:
        RequestError: One that is allowed is not installed; the message has the nearest name.
    """
    left = set(names)
    by_environment = _listed("UNDERTOW_PLUGINS_ALLOW") or None
    for place, only in (("plugins.allow", allow), ("UNDERTOW_PLUGINS_ALLOW", by_environment)):
        if only is None:
            continue
        allowed = {_normal(name) for name in only}
        unknown = sorted(allowed.difference(names))
        if unknown:
            told = (f"{place}: no plugin `{name}` is installed.{did_you_mean(name, names)}" for name in unknown)
            raise RequestError("\n".join(told))
        left &= allowed
    return left - {_normal(name) for name in [*block, *_listed("UNDERTOW_PLUGINS_BLOCK")]}


def _listed(variable: str) -> list[str]:
    return [name for name in os.environ.get(variable, "").split(",") if name.strip()]
