"""The plugin host: finds what is installed, loads each plugin in isolation, records what failed.

    registry = load_plugins(files=["my_cell.py"])
    print(*registry.cells, *registry.failures)

pluggy checks the hooks. Finding and calling them is done here, because pluggy's own entry-point loader drops the
second of two distributions that use one entry-point name, stops at the first broken plugin, and accepts a misspelled
hook. Here a failure at any stage costs only what is broken: the rest of the plugin, and every other plugin, is loaded.
Distributions load by name, those called `undertow-…` first, so that the same installation always gives the same
registry; where two plugins use one name, the first keeps it and the error names both.

`UNDERTOW_PLUGINS_ALLOW` and `UNDERTOW_PLUGINS_BLOCK` (see `discovery`) limit what may load, scratch files included.
"""

import reprlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import replace
from importlib import metadata
from inspect import getattr_static
from pathlib import Path
from typing import Any

import pluggy

from undertow.api import hookspecs
from undertow.api.spec import Spec
from undertow.errors import RequestError, did_you_mean
from undertow.plugins.builtin import BLOCKS, OPTIMIZERS
from undertow.plugins.discovery import file_refusal, installed, permitted
from undertow.plugins.kinds import KINDS, Kind
from undertow.plugins.neighbours import require_one_folder
from undertow.plugins.registry import Entry, Plugin, PluginFailure, Registry, Stage, describe_error
from undertow.plugins.scratch import describe, import_file
from undertow.plugins.validation import api_fault, spec_fault

HOOKS = {kind.hook: kind for kind in KINDS.values()}
"""The kind that each hook registers."""


def load_plugins(
    *,
    allow: Iterable[str] | None = None,
    block: Iterable[str] = (),
    files: Iterable[str | Path] = (),
    strict: bool = False,
    again: Iterable[Plugin] | None = None,
    kept: Path | None = None,
) -> Registry:
    """Load every plugin that is installed and permitted, then the scratch files.

    What is wrong with a part of a scratch file is written to standard error, for the file was named explicitly. What
    plugins print is too. That is done for `sys.stdout` alone: file descriptor 1 belongs to the whole process, such as a
    notebook with its threads. The command line, whose process is its own, redirects it too (`undertow._system.stdout`).

    Args:
        allow: Only these distributions; every installed one when None. Others are not even imported.
        block: Never these distributions.
        files: Scratch plugins: Python files, which may import their `neighbours`. `allow` and `block` do not concern
            them, the environment does.
        strict: Raise when anything fails to load, instead of recording it.
        again: Plugins of another registry, to be loaded instead of those that are installed and permitted now. The
            environment was applied when that registry was made, and is not applied again, nor to `files`.
        kept: A folder of copies that were permitted when a run or a study started (`frozen.keep_copies`); the
            environment is not applied to the files in it.

    Returns:
        What the plugins offer, and what failed.

    Raises:
        RequestError: `allow` names a distribution that is not installed, the environment forbids a scratch file, a
            scratch file cannot be imported or offers nothing, two of them or their neighbours have one name, or
            `strict` is set and something failed.
    """
    host = _Host()
    with redirect_stdout(sys.stderr):
        if again is None:
            found = installed()
            names = permitted([name for name, _, _ in found], allow, block)
            for name, version, distribution in found:
                if name in names:
                    host.add_distribution(name, version, distribution)
        else:
            for plugin in again:
                host.add_plugin(plugin)
        paths = dict.fromkeys(Path(file).resolve() for file in files)
        for path in paths:
            if again is None and (refusal := file_refusal(path, kept)):
                raise RequestError(refusal)
        require_one_folder(paths)
        for path in paths:
            host.add_file(path)
    registry = host.registry()
    if strict:
        registry.require_all_loaded()
    for failure in registry.scratch_failures():
        print(f"warning: {failure}", file=sys.stderr)
    return registry


class _Host:
    """Adds plugins one by one, and records what each offers and what failed."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._entries: dict[str, dict[str, Entry[Any]]] = {kind.plural: {} for kind in HOOKS.values()}
        self._entries["blocks"] |= BLOCKS
        self._entries["optimizers"] |= OPTIMIZERS
        self._plugins: list[Plugin] = []
        self._failures: list[PluginFailure] = []

    def registry(self) -> Registry:
        return Registry(**self._entries, plugins=tuple(self._plugins), failures=tuple(self._failures))

    def add_distribution(self, name: str, version: str, distribution: metadata.Distribution) -> None:
        try:
            points = sorted(distribution.entry_points.select(group=hookspecs.PROJECT), key=lambda point: point.name)
            plugins = [Plugin(f"{name}:{point.name}", name, version, point.module, point.value) for point in points]
        except Exception as error:  # noqa: BLE001  # a malformed file may raise anything in the standard library
            reason = f"its entry_points.txt cannot be read: {describe_error(error)}."
            self._fail(Plugin(name, name, version, ""), "discover", reason, "Repair it, and install it again.")
            return
        for plugin in plugins:
            self.add_plugin(plugin)

    def add_plugin(self, plugin: Plugin) -> None:
        try:
            hooks = metadata.EntryPoint(plugin.name, plugin.entry, hookspecs.PROJECT).load()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  # a plugin's module may raise anything, SystemExit too
            needs = "Install what it needs" if isinstance(error, ModuleNotFoundError) else "Repair or upgrade it"
            reason = f"`{plugin.entry}` cannot be imported: {describe_error(error)}."
            remedy = f"{needs}, or leave it out: `plugins: {{block: [{plugin.distribution}]}}`."
            self._fail(plugin, "import", reason, remedy)
        else:
            self._add(plugin, hooks)

    def add_file(self, path: Path) -> None:
        """Load a scratch file. It was named explicitly, so one that offers nothing ends the request."""
        before = len(self._failures)
        plugin = describe(path)
        clash = next((each for each in self._plugins if each.module == plugin.module), None)
        if clash:
            raise RequestError(f"{path} and {clash.name} would be one module, `{plugin.module}`: rename one of them.")
        self._add(plugin, import_file(plugin, path))
        if not any(entry.plugin == plugin for entries in self._entries.values() for entry in entries.values()):
            failures = "\n".join(str(failure) for failure in self._failures[before:])
            raise RequestError(failures or f"{path}: the scratch plugin offers nothing: its hooks return no spec.")

    def _fail(self, plugin: Plugin, stage: Stage, reason: str, remedy: str, kind: str = "", name: str = "") -> None:
        failure = PluginFailure(plugin.name, plugin.distribution, plugin.version, stage, reason, remedy, kind, name)
        self._failures.append(failure)

    def _add(self, plugin: Plugin, hooks: Any) -> None:
        if not self._register(plugin, hooks):
            return
        self._plugins.append(plugin)
        for hook, kind in HOOKS.items():
            for implementation in getattr(self._manager.hook, hook).get_hookimpls():
                if implementation.plugin is hooks:
                    for spec in self._call(plugin, hook, kind.spec, implementation.function):
                        self._add_spec(plugin, kind, spec)

    def _register(self, plugin: Plugin, hooks: Any) -> bool:
        try:
            self._manager.register(hooks, plugin.name)
        except Exception as error:  # noqa: BLE001  # pluggy looks at every attribute of the plugin's object
            if self._manager.has_plugin(plugin.name):  # pluggy 1.6 stops half-way
                self._manager.unregister(name=plugin.name)
            signatures = ", ".join(f"`{hook}()`" for hook in HOOKS)
            remedy = f"A hook takes no arguments: {signatures}; and a module is one plugin."
            self._fail(plugin, "register", f"pluggy refuses it: {' '.join(str(error).split())}.", remedy)
            return False
        fault = self._hook_fault(hooks)
        if fault:
            self._manager.unregister(hooks)
            self._fail(plugin, "register", *fault)
        return not fault

    def _hook_fault(self, hooks: Any) -> tuple[str, str] | None:
        """Find what pluggy accepts: an unknown hook, one without the mark, a wrapper, no hook at all."""
        callers = self._manager.get_hookcallers(hooks) or []
        try:
            self._manager.check_pending()
        except pluggy.PluginValidationError:
            unknown = next(caller.name for caller in callers if not caller.has_spec())
            return f"there is no hook `{unknown}`.{did_you_mean(unknown, HOOKS)}", "Rename the function."
        for caller in callers:
            if any(each.plugin is hooks and (each.wrapper or each.hookwrapper) for each in caller.get_hookimpls()):
                return (
                    f"`{caller.name}` is declared as a wrapper.",
                    "Mark it with plain `@undertow.hookimpl`.",
                )
        called = {caller.name for caller in callers}
        for hook in HOOKS:
            if hook not in called and getattr_static(hooks, hook, None) is not None:
                return f"`{hook}` is not marked as a hook.", "Mark it with `@undertow.hookimpl`."
        return None if called else ("it has no hooks.", f"Define one of {', '.join(HOOKS)}.")

    def _call(self, plugin: Plugin, hook: str, of: type[Spec], function: Callable[..., Any]) -> Iterator[Any]:
        try:
            returned = function()
            if not isinstance(returned, Iterable) or isinstance(returned, str | bytes | Mapping):
                reason = f"`{hook}` returned {_short(returned)}, not a list of {of.__name__}."
                self._fail(plugin, "hook", reason, "Return a list, even for one, or `yield` each.")
                return
            yield from returned
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001  # a plugin's function may raise anything, SystemExit too
            self._fail(plugin, "hook", f"`{hook}` raised {describe_error(error)}.", "Repair or upgrade it.")

    def _add_spec(self, plugin: Plugin, kind: Kind, spec: Any) -> None:
        """Enter one spec, or record why not; the plugin's other specs are not affected."""
        of = kind.spec
        if not isinstance(spec, of):
            reason = f"`{kind.hook}` gave {_short(spec)}, not a {of.__name__}."
            return self._fail(plugin, "spec", reason, f"Give a {of.__name__}; each type of spec has its own hook.")
        label = f"{of.__name__} {_short(spec.name)}:"
        api, fault = api_fault(spec), spec_fault(spec)
        if api or fault:
            reason, remedy = api or fault or ("", "")
            return self._fail(plugin, "api" if api else "spec", f"{label} {reason}", remedy)
        entries = self._entries[kind.plural]
        if spec.name in entries:
            first = entries[spec.name].plugin
            reason = f"{label} this name is already taken by {first}, which keeps it."
            block = (
                ""
                if first not in self._plugins or first.scratch
                else f", or leave one out: `plugins: {{block: [{first.distribution}]}}`"
            )
            return self._fail(plugin, "duplicate", reason, f"Rename one{block}.", kind.name, spec.name)
        if spec.factory.startswith(":"):
            spec = replace(spec, factory=plugin.module + spec.factory)
        entries[spec.name] = Entry(spec, plugin)
        return None


def _short(value: object) -> str:
    """Show a plugin's value in an error message; its own `repr` may raise, or never end."""
    return reprlib.repr(value)
