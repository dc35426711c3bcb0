"""Scratch plugins: a plugin that is one Python file, without a distribution.

plugin = describe(Path("my_cell.py"))
hooks = import_file(plugin, Path("my_cell.py"))    # the module `undertow_scratch_my_cell`
"""

import hashlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

from undertow.errors import RequestError, did_you_mean
from undertow.plugins.registry import Plugin, describe_error


def describe(path: Path) -> Plugin:
    """Describe a scratch file as the registry records it; its version is the start of its SHA-256.

    Raises:
        RequestError: It cannot be read, or its name does not end in ``.py``.
    """
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        near = did_you_mean(path.name, (each.name for each in path.parent.glob("*.py")))
        raise RequestError(f"{path}: the scratch plugin cannot be read: {error.strerror}.{near}") from error
    if path.suffix != ".py":
        raise RequestError(f"{path}: a scratch plugin is a Python file, with a name that ends in .py.")
    module = "undertow_scratch_" + re.sub(r"\W", "_", path.stem)
    return Plugin(str(path), str(path), f"sha256:{digest[:12]}", module, scratch=True)


def import_file(plugin: Plugin, path: Path) -> ModuleType:
    """Import the file; again only after a change, so that its classes stay the same objects.

    Raises:
        RequestError: Importing it failed; the message has the file and line.
    """
    loaded = sys.modules.get(plugin.module)
    if loaded is not None and vars(loaded).get("__undertow_scratch__") == plugin:
        return loaded
    source = importlib.util.spec_from_file_location(plugin.module, path)
    if source is None or source.loader is None:
        raise RequestError(f"{path}: Python cannot import this file.")
    module = sys.modules[plugin.module] = importlib.util.module_from_spec(source)
    try:
        source.loader.exec_module(module)
    except BaseException as error:  # it may raise anything, SystemExit too
        del sys.modules[plugin.module]
        if isinstance(error, KeyboardInterrupt):
            raise
        raise RequestError(
            f"{path}: the scratch plugin cannot be imported: {describe_error(error, within=path)}."
        ) from error
    vars(module)["__undertow_scratch__"] = plugin
    return module
