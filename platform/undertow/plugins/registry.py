"""What the loaded plugins offer, by name; a class is imported only when a run needs it.

    registry = load_plugins()
    spec = registry.cell("lstm")        # the error for an unknown name suggests the nearest one
    LSTM = registry.factory(spec)       # imports the plugin's class, and torch with it

A plugin that failed to load is recorded as a `PluginFailure`. The error for an unknown name mentions it, and
`require_all_loaded` raises.
"""

import importlib
import re
import shlex
import traceback
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from undertow.api.spec import BlockSpec, CallbackSpec, CellSpec, OptimizerSpec, ProbeSpec, Spec, TaskSpec
from undertow.errors import RequestError, did_you_mean
from undertow.plugins.kinds import KINDS, Kind, KindName, kind_of

S = TypeVar("S", bound=Spec)

Stage = Literal["discover", "import", "register", "hook", "spec", "api", "duplicate"]
"""Where loading stopped; the stages in their order."""

_ILLEGAL = re.compile(r"[^\w.\- ]")
_ILLEGAL_IN_PATH = re.compile(r"[^\w.\- /]")

_LOADERS = ("<frozen importlib", str(Path(importlib.__file__).parent), str(Path(__file__).parent))
"""Where the code that imports plugins lies; an error message never points there."""


@dataclass(frozen=True)
class Plugin:
    """A plugin that was loaded.

    Attributes:
        name: ``<distribution>:<entry point>``, or the path of a scratch file.
        distribution: The distribution it came with, or the path of a scratch file.
        version: Of the distribution; of a scratch file, the start of its SHA-256, with those of its neighbours.
        module: The module that holds its hooks.
        entry: What its entry point names; empty for a scratch file.
        scratch: Whether it is a file without a distribution.
        neighbours: The files beside a scratch file that belong to it, by their paths from its folder, and the version
            of each.
    """

    name: str
    distribution: str
    version: str
    module: str
    entry: str = ""
    scratch: bool = False
    neighbours: tuple[tuple[str, str], ...] = ()

    @property
    def label(self) -> str:
        """A short name that is legal in an MLflow tag: the distribution's, or that of the scratch file."""
        return _ILLEGAL.sub("_", Path(self.distribution).name) if self.scratch else self.distribution

    def __str__(self) -> str:
        """The distribution and its version."""
        return f"{self.distribution} {self.version}".strip()


@dataclass(frozen=True)
class PluginFailure:
    """A plugin, or one thing it offers, that was left out.

    Attributes:
        plugin: As `Plugin.name`.
        distribution: As `Plugin.distribution`.
        version: As `Plugin.version`.
        stage: Where loading stopped.
        reason: What is wrong, in a sentence or two.
        remedy: What to do about it.
        kind: For stage `duplicate`: the kind of the thing, such as ``cell``.
        name: For stage `duplicate`: the name that is taken.
    """

    plugin: str
    distribution: str
    version: str
    stage: Stage
    reason: str
    remedy: str
    kind: str = ""
    name: str = ""

    def __str__(self) -> str:
        """The whole error message."""
        return f"{self.plugin} ({self.version or 'no version'}), {self.stage}: {self.reason} {self.remedy}"


@dataclass(frozen=True)
class Entry(Generic[S]):
    """A spec and the plugin that it came from."""

    spec: S
    plugin: Plugin


@dataclass(frozen=True)
class Registry:
    """Everything that plugins offer by name, the plugins it came from, and what was left out."""

    cells: Mapping[str, Entry[CellSpec]] = field(default_factory=dict)
    blocks: Mapping[str, Entry[BlockSpec]] = field(default_factory=dict)
    tasks: Mapping[str, Entry[TaskSpec]] = field(default_factory=dict)
    probes: Mapping[str, Entry[ProbeSpec]] = field(default_factory=dict)
    optimizers: Mapping[str, Entry[OptimizerSpec]] = field(default_factory=dict)
    callbacks: Mapping[str, Entry[CallbackSpec]] = field(default_factory=dict)
    plugins: tuple[Plugin, ...] = ()
    failures: tuple[PluginFailure, ...] = ()

    def cell(self, name: str) -> CellSpec:
        """The cell of this name.

        Raises:
            RequestError: There is none; the message has the nearest name.
        """
        return self._find(KINDS["cell"], self.cells, name)

    def block(self, name: str) -> BlockSpec:
        """The block of this name.

        Raises:
            RequestError: There is none; the message has the nearest name.
        """
        return self._find(KINDS["block"], self.blocks, name)

    def task(self, name: str) -> TaskSpec:
        """The task of this name.

        Raises:
            RequestError: There is none; the message has the nearest name.
        """
        return self._find(KINDS["task"], self.tasks, name)

    def probe(self, name: str) -> ProbeSpec:
        """The probe of this name.

        Raises:
            RequestError: There is none; the message has the nearest name.
        """
        return self._find(KINDS["probe"], self.probes, name)

    def optimizer(self, name: str) -> OptimizerSpec:
        """The optimiser of this name.

        Raises:
            RequestError: There is none; the message has the nearest name.
        """
        return self._find(KINDS["optimizer"], self.optimizers, name)

    def callback(self, name: str) -> CallbackSpec:
        """The callback of this name.

        Raises:
            RequestError: There is none; the message has the nearest name.
        """
        return self._find(KINDS["callback"], self.callbacks, name)

    def entries(self, kind: Kind) -> Mapping[str, Entry[Any]]:
        """All of one kind, by name."""
        found: Mapping[str, Entry[Any]] = getattr(self, kind.plural)
        return found

    def find(self, kind: KindName, name: str) -> Entry[Any]:
        """The one of this kind and name, with the plugin that it came from.

        Raises:
            RequestError: There is none; the message has the nearest name.
        """
        entries = self.entries(KINDS[kind])
        return entries[self._find(KINDS[kind], entries, name).name]

    def factory(self, spec: Spec) -> type[Any]:
        """Import the class that a spec names.

        Args:
            spec: A spec of this registry.

        Returns:
            A subclass of the base class of its kind (`kinds.KINDS`).

        Raises:
            RequestError: It cannot be imported, or is not such a class.
        """
        kind = kind_of(spec)
        entry = self.entries(kind).get(spec.name)
        origin = str(entry.plugin) if entry else "no loaded plugin"
        where = f"{kind.name} `{spec.name}` of {origin}: its factory `{spec.factory}`"
        try:
            found = _imported(spec.factory)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plugin's module may raise anything, SystemExit too
            raise RequestError(f"{where} cannot be imported: {describe_error(error)}.") from error
        if not (isinstance(found, type) and issubclass(found, _imported(kind.base))):
            raise RequestError(f"{where} is {found!r}, not a subclass of `{kind.base_label}`.")
        return found

    def require_all_loaded(self) -> None:
        """Raise when anything was left out.

        Raises:
            RequestError: It lists every failure.
        """
        if self.failures:
            listed = "\n".join(f"  {failure}" for failure in self.failures)
            raise RequestError(f"not every plugin could be loaded, and strict mode requires it:\n{listed}")

    def scratch_failures(self) -> list[PluginFailure]:
        """What is wrong with parts of scratch files."""
        scratch = {plugin.name for plugin in self.plugins if plugin.scratch}
        return [failure for failure in self.failures if failure.plugin in scratch]

    def versions(self) -> dict[str, str]:
        """The version of every distribution and every scratch plugin that was loaded, by `Plugin.label`.

        Each neighbour of a scratch plugin has a line too, ``helper.py of my_cell.py``, by which a change is named.
        """
        versions = {plugin.label: plugin.version for plugin in self.plugins}
        for plugin in self.plugins:
            for name, version in plugin.neighbours:
                versions[f"{_ILLEGAL_IN_PATH.sub('_', name)} of {plugin.label}"] = version
        return versions

    def _find(self, kind: Kind, entries: Mapping[str, Entry[S]], name: str) -> S:
        if name in entries:
            for failure in self.scratch_failures():
                if (failure.kind, failure.name) == (kind.name, name):  # the scratch file was probably meant
                    raise RequestError(f"two plugins offer the {kind.name} {name!r}: {failure}")
            return entries[name].spec
        failed = dict.fromkeys(failure.distribution for failure in self.failures)
        files = "".join(f" --plugin {shlex.quote(each.plugin)}" for each in self.scratch_failures()[:1])
        lost = (
            f" Not loaded in full: {', '.join(failed)}; see `undertow plugin list --failed{files}`." if failed else ""
        )
        near = did_you_mean(name, entries, f"undertow list {kind.plural}")
        raise RequestError(f"there is no {kind.name} {name!r}.{near}{lost}")


def _imported(path: str) -> Any:
    """The object that ``"package.module:Name"`` names."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def describe_error(error: BaseException, within: Collection[Path] = ()) -> str:
    """Describe an exception in one line, with its place, such as ``ValueError: no (hooks.py:3)``.

    Args:
        error: What was caught.
        within: Name the last frame in these files, where there is one, instead of the last frame of all.
    """
    frames = [
        (frame.filename, frame.lineno)
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(_LOADERS)
    ]
    if isinstance(error, SyntaxError) and error.filename:
        frames.append((error.filename, error.lineno))
        message = error.msg
    else:
        message = next(iter(str(error).splitlines()), "")
    frames = [frame for frame in frames if Path(frame[0]) in within] or frames
    at = f" ({frames[-1][0]}:{frames[-1][1]})" if frames else ""
    return f"{type(error).__name__}{': ' if message else ''}{message}{at}"
