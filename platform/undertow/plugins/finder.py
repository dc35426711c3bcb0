"""How neighbours are imported: a finder in `sys.meta_path` that knows their names, and nothing else of their folders.

    FINDER.offer(Path("my_cell.py"))      # from now on `import helper` imports the `helper.py` beside it

It stays there after the import of the plugin, for imports inside its functions. Modules have one name in a process, so
a name means the neighbour of the plugin that was loaded last: of two copies of a plugin, such as the original and the
one in a run folder, that one. A name that another module has is refused.
"""

import hashlib
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import FileFinder, ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from undertow.errors import RequestError
from undertow.plugins.neighbours import files_of, reachable


class SourceLoader(SourceFileLoader):
    """Compiles a file at each import, without ``__pycache__``.

    Python takes a compiled file for that of a source with the same size and time, in whole seconds: it may be older.
    """

    def get_code(self, fullname: str) -> CodeType:
        """Compile the file as it is now."""
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


class NeighbourFinder(MetaPathFinder):
    """Finds the neighbours of scratch plugins by their names; there is one, `FINDER`."""

    def __init__(self) -> None:
        self._offered: dict[str, tuple[Path, str]] = {}  # by name: the folder, and a digest of what will be imported

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a neighbour or, by the path of its package, a module below it."""
        name = fullname.partition(".")[0]
        if name not in self._offered:
            return None
        folders = [str(self._offered[name][0])] if path is None else path
        found = (FileFinder(folder, (SourceLoader, [".py"])).find_spec(fullname) for folder in folders)
        return next((spec for spec in found if spec is not None), None)

    def offer(self, plugin: Path) -> bool:
        """Let the neighbours of a scratch plugin be imported; those that have changed are imported again.

        A name that the plugin imports as that of another module no longer means the neighbour of an earlier plugin.

        Args:
            plugin: Absolute.

        Returns:
            Whether nothing has changed: what was imported of them before is what they are now.

        Raises:
            RequestError: A neighbour has the name of another module.
        """
        names, wanted = reachable([plugin], plugin.parent)
        for name, file in wanted.items():
            if other := next(self._others(name, plugin), None):
                mine = file if file.stem == name else file.parent
                raise RequestError(f"{plugin}: `import {name}` could mean {mine} or {other}: rename {mine}.")
        if wanted and self not in sys.meta_path:
            sys.meta_path.insert(0, self)
        offered = {name: (plugin.parent, _digest(file, plugin.parent)) for name, file in wanted.items()}
        changed = {name for name, each in offered.items() if self._offered.get(name) != each or _is_foreign(name)}
        changed |= names & self._offered.keys() - offered.keys()
        for module in [each for each in sys.modules if each.partition(".")[0] in changed]:
            del sys.modules[module]
        self._offered = {name: each for name, each in self._offered.items() if name not in changed} | offered
        return not changed

    def _others(self, name: str, plugin: Path) -> Iterator[str]:
        """Where other modules of this name are. One beside a file with the plugin's name is of a copy of the plugin."""
        if name in sys.stdlib_module_names:
            yield "the module of the standard library"
        places: list[str | None] = [getattr(sys.modules[name], "__file__", None)] if _is_foreign(name) else []
        for finder in sys.meta_path:
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec = find(name, None) if find else None
            if spec is not None:
                places += [spec.origin] if spec.origin else []  # without: any folder of this name in the module path
                break
        for place in places:
            folder = Path(place or "").parent
            if place is None:
                yield "a module that is loaded already and has no file"
            elif not (folder.parent if Path(place).name == "__init__.py" else folder).joinpath(plugin.name).is_file():
                yield place


FINDER = NeighbourFinder()
"""Where every scratch plugin's neighbours are offered."""


def _is_foreign(name: str) -> bool:
    """Whether a module of this name is loaded that was not found by `FINDER`."""
    loaded = sys.modules.get(name)
    spec = getattr(loaded, "__spec__", None)
    return loaded is not None and not isinstance(getattr(spec, "loader", None), SourceLoader)


def _digest(neighbour: Path, folder: Path) -> str:
    """A digest of all that importing a neighbour may execute: its own files, and those of the neighbours it imports."""
    own = files_of(neighbour)
    further = [file for each in reachable(own, folder)[1].values() for file in files_of(each)]
    sha = hashlib.sha256()
    for file in sorted({*own, *further}):
        sha.update(f"{file}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return sha.hexdigest()
