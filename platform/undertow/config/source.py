"""A file and its overrides as plain data, with the place of every key.

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

LARGEST_FILE = 1_000_000
"""Bytes of a file that a user has written: PyYAML needs a second or two for so many."""


@dataclass(frozen=True)
class Place:
    """Where a value was written.

    Attributes:
        source: The file as the user named it, or `--set`, or `<mapping>`.
        line: Counted from 1; None outside a file.
        column: Counted from 1; None outside a file.
        text: The text after `--set`.
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
        """The place, as an error message starts with it."""
        return f"{self.origin} {self.text}" if self.text else self.origin


@dataclass
class Source:
    """Plain data, and where each value was written.

    Attributes:
        data: Sections, lists and scalars.
        places: The place of each value, by its keys from the top; no keys for the whole.
    """

    data: dict[str, Any]
    places: dict[Keys, Place]

    def place(self, *keys: str | int) -> Place:
        """The place of a value, or of the innermost section around it that was written."""
        while keys not in self.places:
            keys = keys[:-1]
        return self.places[keys]

    def override(self, text: str, default: Callable[[Keys], Any] = lambda keys: None) -> None:
        """Apply ``KEY=VALUE``, such as ``probes.0.every=50``; the value is YAML, and missing sections are made.

        Args:
            text: Keys and list indices joined by dots, ``=``, the value.
            default: The value of a section or list that was not written, by its keys.

        Raises:
            RequestError: No ``=``, an empty key, no YAML, or keys that lead through a scalar or past the end of a list.
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
        self, keys: Sequence[str], value: Any, place: Place, default: Callable[[Keys], Any] = lambda keys: None
    ) -> None:
        """Put a value in its place, and make the missing sections around it.

        Args:
            keys: Keys and list indices.
            value: Plain data.
            place: Where it was written.
            default: As for `override`.

        Raises:
            RequestError: The keys lead through a scalar or past the end of a list.
        """
        inside: Any = self.data
        steps: Keys = ()  # `keys` with list indices as numbers, as far as they were followed
        for key in keys[:-1]:
            step = _step(inside, key, steps, place)
            steps = (*steps, step)
            if isinstance(inside, dict) and inside.get(key) is None:
                inside[key] = default(steps) or {}
                self.places[steps] = place
            inside = inside[step]
        step = _step(inside, keys[-1], steps, place)
        steps = (*steps, step)
        inside[step] = value
        self.places = {old: at for old, at in self.places.items() if old[: len(steps)] != steps}
        self.places[steps] = place


def read_file(path: Path, *, largest: int | None = LARGEST_FILE) -> Source:
    """Read a YAML file.

    Args:
        path: The file.
        largest: Bytes that it may have; None for a file that this package has written.

    Raises:
        RequestError: It cannot be read, is too large, not UTF-8 or not valid YAML, or does not start with keys.
    """
    try:
        with path.open("rb") as file:
            content = file.read() if largest is None else file.read(largest + 1)
        if largest is not None and len(content) > largest:
            raise RequestError(_too_large(path, largest))
        text = content.decode("utf-8-sig")
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
    return Source(data, {keys: Place(str(path), *position) for keys, position in positions.items()})


def read_mapping(mapping: Mapping[str, Any]) -> Source:
    """Read a Python mapping like a file; tuples, paths and NumPy's scalars and arrays count as what YAML has for them.

    Raises:
        RequestError: A key is not text, or a value is something that YAML cannot hold.
    """
    return Source(_plain_section(mapping, ()), {(): Place("<mapping>")})


def shown(value: Any) -> str:
    """A value as YAML writes it, cut to a short line."""
    if value is None or isinstance(value, bool):
        return {True: "true", False: "false", None: "null"}[value]
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:56]} ..."


def _step(inside: Any, key: str, parents: Keys, place: Place) -> str | int:
    """The key itself in a section, the index in a list."""
    if isinstance(inside, dict):
        return key
    here = ".".join(map(str, parents))
    if not isinstance(inside, list):
        raise RequestError(f"{place}: {here} is {shown(inside)}, which has no keys.")
    if not key.isdecimal() or int(key) >= len(inside):
        raise RequestError(f"{place}: {here} has {len(inside)} entries, counted from 0; there is none at {key!r}.")
    return int(key)


def _plain_section(section: Mapping[Any, Any], parents: Sequence[str]) -> dict[str, Any]:
    for key in section:
        if not isinstance(key, str):
            raise RequestError(f"<mapping>: {'.'.join([*parents, repr(key)])}: keys are text.")
    return {key: _plain(value, (*parents, key)) for key, value in section.items()}


def _plain(value: Any, keys: Sequence[str]) -> Any:
    if isinstance(value, Mapping):
        return _plain_section(value, keys)
    if isinstance(value, list | tuple):
        return [_plain(inner, (*keys, str(index))) for index, inner in enumerate(value)]
    if isinstance(value, Path):
        return str(value)
    if value is None or type(value) in (str, int, float, bool):
        return value
    if type(value).__module__ == "numpy":
        plain = value.tolist()  # a scalar's, or an array's: the values that Python has for it
        if type(plain) is not type(value):
            return _plain(plain, keys)
    name = type(value).__name__
    raise RequestError(f"<mapping>: {'.'.join(keys)}: {shown(value)} is of type {name}, which YAML cannot hold.")


def _too_large(path: Path, largest: int) -> str:
    size = path.stat().st_size  # 0 for a pipe
    has = f"this file has {size / 1e6:.1f} MB" if size > largest else "there is more to read"
    return (
        f"{path}: {has}; a configuration has at most {largest / 1e6:g} MB. Is it the right file? Data belong into "
        "a file of their own, which a task reads."
    )


def _unreadable(path: Path, error: OSError) -> str:
    names = sorted(each.name for each in (path if path.is_dir() else path.parent).glob("*.y*ml"))
    if path.is_dir():
        return f"{path}: this is a folder; name a file in it.{did_you_mean('', names)}"
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        return f"{path}: it cannot be read: {error.strerror}."
    if not path.parent.is_dir():
        return f"{path}: no such file: there is no folder {path.parent}."
    return f"{path}: no such file.{did_you_mean(path.name, names)}"
