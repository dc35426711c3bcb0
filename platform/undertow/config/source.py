"""What was written, and where: a file and its overrides as plain data, with the place of every key.

source = read_file(Path("experiments/smoke/digits.yaml"))
source.override("cell.hidden_size=64")
source.data["cell"]["hidden_size"], str(source.place("cell", "hidden_size"))   # 64, "--set cell.hidden_size=64"
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from undertow.config.yaml12 import Keys, YamlError, parse
from undertow.errors import RequestError, did_you_mean


@dataclass(frozen=True)
class Place:
    """Where a value was written.

    Attributes:
        source: The file as it was named, or `--set`, or `<mapping>`.
        line: Counted from 1; None outside a file.
        column: Counted from 1; None outside a file.
        text: What followed `--set`.
    """

    source: str
    line: int | None = None
    column: int | None = None
    text: str = ""

    @property
    def origin(self) -> str:
        """The place without the text of `--set`."""
        return self.source if self.line is None else f"{self.source}:{self.line}"

    def __str__(self) -> str:
        """The place as it stands before an error message."""
        return f"{self.origin} {self.text}" if self.text else self.origin


@dataclass
class Source:
    """Plain data and where it was written.

    Attributes:
        data: Sections, lists and scalars.
        places: The place of each value, by the way to it; the empty way is the whole.
    """

    data: dict[str, Any]
    places: dict[Keys, Place]

    def place(self, *way: str | int) -> Place:
        """The place of a value, or of the innermost section around it that was written."""
        while way not in self.places:
            way = way[:-1]
        return self.places[way]

    def override(self, text: str, default: Callable[[Keys], Any] = lambda way: None) -> None:
        """Apply ``KEY=VALUE``, such as ``probes.0.every=50``; the value is YAML, and sections are made on the way.

        Args:
            text: Keys and list indices joined by dots, ``=``, the value.
            default: What a section or list that was not written stands for, by the way to it.

        Raises:
            RequestError: No ``=``, an empty key, no YAML, or a way that leads through a scalar or off a list.
        """
        place = Place("--set", text=text)
        name, equals, value = text.partition("=")
        keys = name.strip().split(".")
        if not equals or not all(keys):
            raise RequestError(f"{place}: write KEY=VALUE, keys joined by dots, such as cell.hidden_size=64.")
        try:
            plain, _ = parse(value, block=False)
        except YamlError as error:
            raise RequestError(f"{place}: the value is not valid YAML: {error}.") from error
        self.assign(keys, plain, place, default)

    def assign(
        self, keys: Sequence[str], value: Any, place: Place, default: Callable[[Keys], Any] = lambda way: None
    ) -> None:
        """Put a value in its place, making sections on the way.

        Args:
            keys: Keys and list indices.
            value: Plain data.
            place: Where it was written.
            default: As for `override`.

        Raises:
            RequestError: The way leads through a scalar or off a list.
        """
        inside: Any = self.data
        way: Keys = ()
        for key in keys[:-1]:
            step = _step(inside, key, way, place)
            way = (*way, step)
            if isinstance(inside, dict) and inside.get(key) is None:
                inside[key] = default(way) or {}
                self.places[way] = place
            inside = inside[step]
        step = _step(inside, keys[-1], way, place)
        way = (*way, step)
        inside[step] = value
        self.places = {old: at for old, at in self.places.items() if old[: len(way)] != way}
        self.places[way] = place


def read_file(path: Path) -> Source:
    """Read a YAML file.

    Raises:
        RequestError: It cannot be read, is not UTF-8 or not valid YAML, or does not start with keys.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        found = error.object[error.start]
        raise RequestError(f"{path}:{line}: this is not UTF-8 text: found byte 0x{found:02x}.") from error
    except OSError as error:
        raise RequestError(_unreadable(path, error)) from error
    try:
        data, positions = parse(text)
    except YamlError as error:
        line, column = error.position
        raise RequestError(f"{path}:{line}:{column}: not valid YAML: {error}") from error
    if data is None:
        raise RequestError(f"{path}: the file is empty; an experiment needs at least `task:` and `cell:`.")
    if not isinstance(data, dict):
        raise RequestError(f"{path}:1: found {shown(data)}; an experiment starts with keys, such as `task:`.")
    return Source(data, {way: Place(str(path), *position) for way, position in positions.items()})


def read_mapping(mapping: Mapping[str, Any]) -> Source:
    """Take a Python mapping for a file; tuples and paths count as lists and text.

    Raises:
        RequestError: A key is not text, or a value is something that YAML cannot hold.
    """
    return Source(_plain_section(mapping, ()), {(): Place("<mapping>")})


def shown(value: Any) -> str:
    """A value as people write it, cut to a short line."""
    if value is None or isinstance(value, bool):
        return {True: "true", False: "false", None: "null"}[value]
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:56]} ..."


def _step(inside: Any, key: str, way: Keys, place: Place) -> str | int:
    """The key itself in a section, the index in a list."""
    if isinstance(inside, dict):
        return key
    here = ".".join(map(str, way))
    if not isinstance(inside, list):
        raise RequestError(f"{place}: {here} is {shown(inside)}, which has no keys.")
    if not key.isdecimal() or int(key) >= len(inside):
        raise RequestError(f"{place}: {here} has {len(inside)} entries, counted from 0; there is none at {key!r}.")
    return int(key)


def _plain_section(section: Mapping[Any, Any], way: Sequence[str]) -> dict[str, Any]:
    for key in section:
        if not isinstance(key, str):
            raise RequestError(f"<mapping>: {'.'.join([*way, repr(key)])}: keys are text.")
    return {key: _plain(value, (*way, key)) for key, value in section.items()}


def _plain(value: Any, way: Sequence[str]) -> Any:
    if isinstance(value, Mapping):
        return _plain_section(value, way)
    if isinstance(value, list | tuple):
        return [_plain(inner, (*way, str(index))) for index, inner in enumerate(value)]
    if isinstance(value, Path):
        return str(value)
    if value is None or type(value) in (str, int, float, bool):
        return value
    kind = type(value).__name__
    raise RequestError(f"<mapping>: {'.'.join(way)}: {shown(value)} is of type {kind}, which YAML cannot hold.")


def _unreadable(path: Path, error: OSError) -> str:
    names = sorted(each.name for each in (path if path.is_dir() else path.parent).glob("*.y*ml"))
    if path.is_dir():
        return f"{path}: this is a folder; name a file in it.{did_you_mean('', names)}"
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        return f"{path}: it cannot be read: {error.strerror}."
    if not path.parent.is_dir():
        return f"{path}: no such file: there is no folder {path.parent}."
    return f"{path}: no such file.{did_you_mean(path.name, names)}"
