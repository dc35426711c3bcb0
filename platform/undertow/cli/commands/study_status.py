"""`undertow study status`: the state of a study, also while drivers work on it."""

from undertow.cli.options import Home, Json, PluginFiles, Storage, Study, locate_study
from undertow.cli.output.console import emit
from undertow.cli.output.studies import print_status, status_document


def study_status_command(
    study: Study, /, *, plugin: PluginFiles = None, storage: Storage = None, home: Home = None, json: Json = False
) -> int:
    """Show how many combinations are in each state, what runs now, and what failed."""
    from undertow.studies.status import read_status

    location = locate_study(study, plugin, storage, home)
    status = read_status(location.storage_url, location.name)
    if json:
        emit(status_document(status))
    else:
        print_status(status)
    return 0
