"""YAML 1.2, core schema, on top of PyYAML (which reads 1.1), with the position of every value.

    data, positions = parse("cell:\\n  lr: 1e-3\\n")     # {"cell": {"lr": 0.001}}
    positions["cell", "lr"]                            # (2, 3): line and column of the key

``1e-3`` is a number, ``no`` and ``on`` are text, and there are no dates and no numbers to the base of 60. A key that is
there twice is an error. The data are what JSON can hold.
"""

import re
from collections.abc import Mapping
from typing import Any

import yaml

Keys = tuple[str | int, ...]
"""The keys from the top to a value: keys of sections, indices of lists."""

Position = tuple[int, int]
"""Line and column, both counted from 1."""

_LARGEST = 100_000
"""Values in one text; aliases of aliases would otherwise make any number of them from a few lines."""

_CORE = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
)


class YamlError(ValueError):
    """The text is not YAML 1.2 as it is used here; the message describes what was found at `position`."""

    def __init__(self, message: str, position: Position) -> None:
        super().__init__(message)
        self.position = position


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # PyYAML's own interface; filled below


class _Dumper(yaml.SafeDumper):
    """Quotes text that YAML 1.1 or 1.2 would read as another type, so that every reader reads the same."""


for _type, _pattern, _first in _CORE:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_type}", re.compile(rf"(?:{_pattern})\Z"), _first)


def parse(text: str, *, block: bool = True) -> tuple[Any, dict[Keys, Position]]:
    """Read one document.

    Args:
        text: The document; an empty one is None.
        block: Whether a section or list may be written in block style, one entry a line.

    Returns:
        The plain data, and the position of every key and list entry.

    Raises:
        YamlError: It is not valid, a key occurs twice or is not text, or it has tags other than the core schema's.
    """
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None, {}
        if not block and isinstance(node, yaml.CollectionNode) and not node.flow_style:
            raise YamlError("text with `: ` in it, or that starts with `- `, needs quotes", _position(node))
        reader = _Reader(loader)
        data = reader.plain(node, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = " ".join(filter(None, (error.context, error.problem)))
        snippet = mark.get_snippet(indent=2, max_length=100) if mark else None
        where = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise YamlError(f"{message}\n{snippet}" if snippet else message, where) from error
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        where = (before.count("\n") + 1, error.position - (before.rfind("\n") + 1) + 1)
        raise YamlError(f"the character {text[error.position]!r} is not allowed", where) from error
    except RecursionError as error:
        raise YamlError("sections within sections, too deep to follow", (1, 1)) from error
    finally:
        if loader is not None:
            loader.dispose()
    return data, reader.positions


def write(data: Mapping[str, Any]) -> str:
    """Write plain data so that `parse` gives it back."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


class _Reader:
    """Converts nodes to plain data and records the position of each."""

    def __init__(self, loader: _Loader) -> None:
        self.positions: dict[Keys, Position] = {}
        self._loader = loader
        self._around: set[int] = set()
        self._count = 0

    def plain(self, node: yaml.Node, keys: Keys) -> Any:
        self.positions.setdefault(keys, _position(node))
        self._count += 1
        if id(node) in self._around or self._count > _LARGEST:
            raise YamlError("an alias that contains itself, or too many values", _position(node))
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        tag = "map" if isinstance(node, yaml.MappingNode) else "seq"
        if node.tag != f"tag:yaml.org,2002:{tag}":
            raise YamlError(f"the tag {node.tag!r} is not known here", _position(node))
        self._around.add(id(node))
        data = self._section(node, keys) if isinstance(node, yaml.MappingNode) else self._list(node, keys)
        self._around.remove(id(node))
        return data

    def _section(self, node: yaml.MappingNode, keys: Keys) -> dict[str, Any]:
        section: dict[str, Any] = {}
        for key_node, value in node.value:
            key = self._scalar(key_node) if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str):
                found = getattr(key_node, "value", None) if key is not None else "this"
                raise YamlError(f"{found} is not a key: keys are text, in quotes where needed", _position(key_node))
            if key in section:
                first = self.positions[(*keys, key)][0]
                raise YamlError(f"the key `{key}` is here twice, first in line {first}", _position(key_node))
            self.positions[(*keys, key)] = _position(key_node)
            section[key] = self.plain(value, (*keys, key))
        return section

    def _list(self, node: yaml.Node, keys: Keys) -> list[Any]:
        return [self.plain(inner, (*keys, index)) for index, inner in enumerate(node.value)]

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        text = node.value
        try:
            match node.tag.removeprefix("tag:yaml.org,2002:"):
                case "null":
                    return None
                case "bool":
                    return text.lower() == "true"
                case "int":
                    return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
                case "float":
                    return float(re.sub(r"\.(?=inf|nan)", "", text.lower()))
                case "str":
                    return text
        except ValueError as error:
            raise YamlError(f"{text[:40]!r} is not what its tag says, or too long", _position(node)) from error
        raise YamlError(f"the tag {node.tag!r} is not known here", _position(node))


def _position(node: yaml.Node) -> Position:
    return node.start_mark.line + 1, node.start_mark.column + 1
