"""Which files of a new plugin are written where; everything is checked before the first one is written.

plan = plan_plugin("task", "first-sign", into=Path())
print(*plan.files, sep="\n")
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

from undertow.errors import RequestError
from undertow.plugins.host import load_plugins
from undertow.plugins.kinds import KindName
from undertow.scaffold.names import Names, require_free

_SUFFIX = ".template"


@dataclass(frozen=True)
class Plan:
    """A distribution to be written.

    Attributes:
        names: Of the distribution and its parts.
        folder: Where it will be written; absent or empty.
        files: The text of every file, by its path below the folder.
    """

    names: Names
    folder: Path
    files: Mapping[str, str]

    def write(self) -> list[Path]:
        """Write every file, and return their paths.

        Raises:
            RequestError: The folder cannot be written.
        """
        written = []
        try:
            for name, text in self.files.items():
                path = self.folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("x", encoding="utf-8", newline="\n") as file:  # x: never overwrite
                    file.write(text)
                written.append(path)
        except OSError as error:
            raise RequestError(f"{error.filename}: cannot be written: {error.strerror}.") from error
        return written


def plan_plugin(kind: KindName, name: str, *, into: Path) -> Plan:
    """Plan a distribution of one plugin.

    Args:
        kind: What it offers.
        name: Its name, as `undertow list` shows it.
        into: The folder that will hold the distribution's folder.

    Raises:
        RequestError: The name is not legal or is taken, or the folder holds something.
    """
    names = Names(kind, name)
    require_free(names, load_plugins())
    folder = into / name
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise RequestError(f"{folder} exists already, and nothing is overwritten: move it, or choose `--into DIR`.")
    given = names.replacements()
    rendered = {
        Template(path.removesuffix(_SUFFIX)).substitute(given): Template(text).substitute(given)
        for path, text in _templates(files(__package__) / "templates" / kind)
    }
    return Plan(names, folder, rendered)


def _templates(folder: Traversable, above: str = "") -> Iterator[tuple[str, str]]:
    """Path and text of every template below a folder, sorted by path."""
    for each in sorted(folder.iterdir(), key=lambda each: each.name):
        if each.is_dir():
            yield from _templates(each, f"{above}{each.name}/")
        elif each.name.endswith(_SUFFIX):
            yield above + each.name, each.read_text(encoding="utf-8")
