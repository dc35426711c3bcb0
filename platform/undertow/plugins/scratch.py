"""Scratch plugins: a plugin that is one Python file, without a distribution.

plugin = describe(Path("my_cell.py"))
hooks = import_file(plugin, Path("my_cell.py"))    # the module `undertow_scratch_my_cell`

It may import the files and packages beside it, its `neighbours`: they belong to it, and `finder` imports them.
"""

import hashlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

from undertow.errors import RequestError, did_you_mean
from undertow.plugins.finder import FINDER, SourceLoader
from undertow.plugins.neighbours import with_neighbours
from undertow.plugins.registry import Plugin, describe_error


def describe(path: Path) -> Plugin:
    """Describe a scratch file as the registry records it.

    Its version is the start of its SHA-256; with neighbours, of one over it and all their files.

    Raises:
        RequestError: It or a neighbour cannot be read, or its name does not end in ``.py``.
    """
    digest = _sha256(path)
    if path.suffix != ".py":
        raise RequestError(f"{path}: a scratch plugin is a Python file, with a name that ends in .py.")
    beside = {file.relative_to(path.parent).as_posix(): _sha256(file) for file in with_neighbours([path])[1:]}
    if beside:
        lines = [digest, *(f"{each} {name}" for name, each in sorted(beside.items()))]
        digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    module = "undertow_scratch_" + re.sub(r"\W", "_", path.stem)
    versions = tuple((name, _version(each)) for name, each in sorted(beside.items()))
    return Plugin(str(path), str(path), _version(digest), module, scratch=True, neighbours=versions)


def import_file(plugin: Plugin, path: Path) -> ModuleType:
    """Import the file; again only after a change, of it or of a neighbour, so that its classes stay the same objects.

    Raises:
        RequestError: A neighbour has the name of another module, or the import failed; the message has the file and
            line.
    """
    unchanged = FINDER.offer(path)
    loaded = sys.modules.get(plugin.module)
    if unchanged and loaded is not None and vars(loaded).get("__undertow_scratch__") == plugin:
        return loaded
    loader = SourceLoader(plugin.module, str(path))
    source = importlib.util.spec_from_file_location(plugin.module, path, loader=loader)
    if source is None:
        raise RequestError(f"{path}: Python cannot import this file.")
    module = sys.modules[plugin.module] = importlib.util.module_from_spec(source)
    try:
        loader.exec_module(module)
    except BaseException as error:  # it may raise anything, SystemExit too
        del sys.modules[plugin.module]
        if isinstance(error, KeyboardInterrupt):
            raise
        raise RequestError(
            f"{path}: the scratch plugin cannot be imported: {describe_error(error, within=with_neighbours([path]))}."
        ) from error
    vars(module)["__undertow_scratch__"] = plugin
    return module


def _sha256(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        near = did_you_mean(file.name, (each.name for each in file.parent.glob("*.py")))
        raise RequestError(f"{file}: the scratch plugin cannot be read: {error.strerror}.{near}") from error


def _version(digest: str) -> str:
    return f"sha256:{digest[:12]}"
