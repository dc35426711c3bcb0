"""Options that several commands share, and the values that they resolve to.

Each option has one definition, so that it means the same in every command. A help text fits on one line of 80 columns.
"""

from pathlib import Path
from typing import Annotated, NamedTuple

from cyclopts import Parameter

from undertow.tracking.folder import home_folder

Json = Annotated[bool, Parameter(name="--json", help="Write one JSON object to standard output.")]

Sets = Annotated[list[str] | None, Parameter(name="--set", help="Override one value: cell.hidden_size=64. Repeatable.")]

PluginFiles = Annotated[
    list[Path] | None, Parameter(name="--plugin", help="A Python file with a scratch plugin. Repeatable.")
]

Home = Annotated[Path | None, Parameter(help="Folder of the runs. Default: UNDERTOW_HOME or ./runs.")]

Study = Annotated[str, Parameter(help="The name of a study, or its YAML file.")]

Storage = Annotated[str | None, Parameter(help="Optuna's database. Default: the one that `study run` uses.")]

Markdown = Annotated[bool, Parameter(help="Print a Markdown table.")]

Write = Annotated[Path | None, Parameter(help="Write the Markdown table between the markers in this file.")]


class StudyLocation(NamedTuple):
    """Where a study is recorded.

    Attributes:
        name: The name of the study.
        storage_url: The URL of its Optuna database.
        home: The folder of its runs.
    """

    name: str
    storage_url: str
    home: Path


def resolve_home(home: Path | None) -> Path:
    """Return the folder of ``--home`` as an absolute path, or the default one."""
    return home.absolute() if home else home_folder()


def locate_study(study: str, plugins: list[Path] | None, storage: str | None, home: Path | None) -> StudyLocation:
    """Find the database of a study.

    Args:
        study: The name of the study, or the path of its configuration file.
        plugins: The scratch plugins that the file needs.
        storage: The value of ``--storage``; it overrides the value in the file.
        home: The value of ``--home``.

    Raises:
        RequestError: The file is not a valid study.
    """
    from undertow.studies.store.storage import storage_url

    folder = resolve_home(home)
    if Path(study).suffix in (".yaml", ".yml"):
        from undertow.studies.plan.load import load_study

        loaded = load_study(Path(study), [], plugins or [])
        return StudyLocation(loaded.name, storage_url(folder, storage or loaded.config.storage), folder)
    return StudyLocation(study, storage_url(folder, storage), folder)
