"""The options that several commands share, so that each means the same everywhere."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

File = Annotated[Path | None, Parameter(help="A YAML file.")]

Json = Annotated[bool, Parameter(name="--json", negative=(), help="Write one JSON object to standard output.")]

Sets = Annotated[
    list[str] | None,
    Parameter(name="--set", negative=(), help="Override one value, such as cell.hidden_size=64; may be repeated."),
]

PluginFiles = Annotated[
    list[Path] | None,
    Parameter(name="--plugin", negative=(), help="A Python file with a scratch plugin; may be repeated."),
]

Home = Annotated[
    Path | None,
    Parameter(
        name="--home", negative=(), help="Where run folders and the default store are; else UNDERTOW_HOME, or ./runs."
    ),
]
