"""`undertow study stop`: every driver of a study saves its running trials and stops."""

from undertow.cli.options import Home, PluginFiles, Storage, Study, locate_study
from undertow.cli.output.console import note


def study_stop_command(
    study: Study, /, *, plugin: PluginFiles = None, storage: Storage = None, home: Home = None
) -> int:
    """Request every driver of a study to save its trials and stop; `undertow study run` resumes them."""
    from undertow.studies.status import read_status
    from undertow.studies.store.ledger import Ledger

    location = locate_study(study, plugin, storage, home)
    Ledger.find(location.storage_url, location.name).ask_to_stop()
    if read_status(location.storage_url, location.name).drivers:
        note(
            f"{location.name}: asked to stop. Running trials save a checkpoint first; "
            "`undertow study run` resumes the study."
        )
    else:
        note(f"{location.name}: no driver is running, so there is nothing to stop.")
    return 0
