"""Neighbours: the files beside a scratch plugin that it imports, as `import helper` means the `helper.py` beside it.

    neighbours(Path("my_cell.py"))         # {"helper": Path("helper.py"), "parts": Path("parts/__init__.py")}
    with_neighbours([Path("my_cell.py")])  # my_cell.py, helper.py, parts/__init__.py, parts/gates.py

They are found without importing anything: a file `NAME.py` or a package `NAME/__init__.py` in the folder of the plugin
is a neighbour if the plugin, or another neighbour, has an absolute import of NAME, also inside a function or
`if TYPE_CHECKING`. A class that a spec names, `factory="helper:Net"`, counts as an import. A package counts as a whole:
every `.py` file below its folder. Other files, such as data, are no neighbours, nor is what only `importlib` imports.
"""

import ast
import re
import sysconfig
import warnings
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from undertow.errors import RequestError

_FACTORY = re.compile(r"([^\W\d]\w*)(?:\.\w+)*:\w+")

_INSTALLED = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib")}
"""Folders of installed packages: a scratch plugin there has no neighbours."""


def neighbours(path: Path) -> dict[str, Path]:
    """The neighbours of a scratch plugin by the name under which they are imported; of a package its ``__init__.py``.

    Args:
        path: The scratch plugin. One that cannot be read, or is not valid Python, has none.
    """
    return reachable([path], path.parent)[1]


def reachable(files: Iterable[Path], folder: Path) -> tuple[set[str], dict[str, Path]]:
    """What files import, directly or through neighbours.

    Args:
        files: Where to begin.
        folder: Where the neighbours are.

    Returns:
        The first part of the name of everything that is imported, and those of them that are neighbours.
    """
    names: set[str] = set()
    found: dict[str, Path] = {}
    waiting = list(files)
    while waiting:
        for name in _imports(waiting.pop()) - names:
            names.add(name)
            if neighbour := _beside(folder, name):
                found[name] = neighbour
                waiting += files_of(neighbour)
    return names, dict(sorted(found.items()))


def files_of(neighbour: Path) -> list[Path]:
    """The file, or all files of the package whose ``__init__.py`` it is."""
    return sorted(neighbour.parent.rglob("*.py")) if neighbour.name == "__init__.py" else [neighbour]


def with_neighbours(plugins: Iterable[Path]) -> list[Path]:
    """Scratch plugins, and then all files of their neighbours, each once."""
    listed = list(plugins)
    beside = [file for path in listed for neighbour in neighbours(path).values() for file in files_of(neighbour)]
    return list(dict.fromkeys([*listed, *beside]))


def require_one_folder(plugins: Iterable[Path]) -> None:
    """Refuse scratch plugins that cannot be copied into one folder with their neighbours, as a run does.

    Raises:
        RequestError: Two different files have one name, or one would become the neighbour of a plugin that means
            another module by this name.
    """
    listed = list(dict.fromkeys(plugins))
    placed: dict[str, Path] = {}
    for path in listed:
        for name, file in {path.stem: path, **neighbours(path)}.items():
            if (other := placed.setdefault(name, file)) != file:
                raise RequestError(f"{other} and {file} have one name: rename one of them.")
    for path in listed:
        names, own = reachable([path], path.parent)
        for name in sorted(names & placed.keys() - own.keys()):
            raise RequestError(f"{path} imports another `{name}` than {placed[name]}: rename {placed[name]}.")


def _beside(folder: Path, name: str) -> Path | None:
    """The neighbour of this name, if there is one; like Python, the package comes first."""
    if name == "undertow" or folder.resolve() in _INSTALLED:
        return None
    choices = (folder / name / "__init__.py", folder / f"{name}.py")
    return next((path for path in choices if path.is_file()), None)


def _imports(file: Path) -> set[str]:
    """The first part of every name that a file imports, but not its own name, by which it means another module."""
    try:
        return set(_names(file.read_bytes()) - {file.stem})
    except OSError:  # whoever needs its content reports it
        return set()


@lru_cache(maxsize=256)
def _names(source: bytes) -> frozenset[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the source: shown when it is imported
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # shown when it is imported
        return frozenset()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
        elif isinstance(node, ast.Constant) and (factory := _FACTORY.fullmatch(str(node.value))):
            names.add(factory[1])
    return frozenset(names)
