"""The names of a new plugin: in the catalogue, of its package and of its class; and why a name is refused.

names = Names("cell", "leaky-rnn")
names.package, names.class_name  # leaky_rnn, LeakyRNN
"""

import importlib.util
import keyword
import re
import sys
from dataclasses import dataclass
from importlib import metadata

import undertow
from undertow.errors import RequestError
from undertow.plugins.kinds import KINDS, KindName
from undertow.plugins.registry import Registry

_LEGAL = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_ACRONYMS = {"rnn", "lstm", "gru"}
_IMPORTED = {"Any", "Callable", "Callback", "Mapping", "Metric", "NDArray", "Optimizer", "Path", "Tensor"}
"""Names that the templates import, beside the public ones of undertow."""


@dataclass(frozen=True)
class Names:
    """The names of one plugin.

    Args:
        kind: What it offers.
        name: Its name in the catalogue, also of the distribution and its folder: lower-case words joined by hyphens.
    """

    kind: KindName
    name: str

    @property
    def package(self) -> str:
        """The package that Python imports: ``leaky_rnn``."""
        return self.name.replace("-", "_")

    @property
    def class_name(self) -> str:
        """The class: ``LeakyRNN``; its kind is added where undertow has a class of that name."""
        words = (word.upper() if word in _ACRONYMS else word.capitalize() for word in self.name.split("-"))
        joined = "".join(words)
        return joined + self.kind.capitalize() if joined in {*undertow.__all__, *_IMPORTED} else joined

    @property
    def requirement(self) -> str:
        """This undertow and every later one with the same contract: ``undertow>=0.1,<0.2``."""
        major, minor = map(int, undertow.__version__.split(".")[:2])
        return f"undertow>={major}.{minor},<{major}.{minor + 1}"

    def replacements(self) -> dict[str, str]:
        """The values of the placeholders in a template, by name."""
        return {
            "name": self.name,
            "package": self.package,
            "class_name": self.class_name,
            "requirement": self.requirement,
        }


def require_free(names: Names, registry: Registry) -> None:
    """Refuse a name that is not legal or is taken.

    Args:
        names: Of the new plugin.
        registry: What is installed.

    Raises:
        RequestError: The message names what has this name already, and what to write.
    """
    kind, name = names.kind, names.name
    if not _LEGAL.fullmatch(name):
        near = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        example = near if _LEGAL.fullmatch(near) else "leaky-rnn"
        raise RequestError(
            f"{name!r} is not a legal name: write lower-case words joined by hyphens, such as `{example}`."
        )
    entries = registry.entries(KINDS[kind])
    if name in entries:
        raise RequestError(f"the {kind} `{name}` exists already, from {entries[name].plugin}. Choose another name.")
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
    else:
        raise RequestError(
            f"a distribution {name} {version} is installed, and installing the new one would replace it. "
            "Choose another name."
        )
    owner = _owner_of(names.package)
    if owner:
        raise RequestError(f"a package `{names.package}` would hide {owner}. Choose another name.")


def _owner_of(package: str) -> str:
    """What has this name in Python already; empty if nothing has."""
    if keyword.iskeyword(package):
        return f"Python's keyword `{package}`"
    if package in sys.stdlib_module_names:
        return "the module of Python's standard library"
    found = importlib.util.find_spec(package)
    return f"the one in {found.origin}" if found and found.origin else ""  # no origin: just a folder of this name
