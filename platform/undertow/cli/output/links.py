"""Where the charts of a run are, found without importing MLflow.

for line in where_to_look(result.folder):
    print(line)

The parent run of a study has a saved view too: `where_to_look(folder, view="vanishing-digits")`.
"""

import shlex
from pathlib import Path

from undertow._system.redact import redacted
from undertow.cli.output.console import note
from undertow.errors import UndertowError
from undertow.tracking.folder import RunFolder, home_folder, tracking_uri
from undertow.tracking.mlflow.addresses import HOST, PORT, address_of, chart_address, is_server, view_address
from undertow.tracking.mlflow.credentials import require_named_server
from undertow.tracking.mlflow.lookup import find_experiment, has_view
from undertow.tracking.mlflow.views import view_id

HINT = 'Type by_lag$ into its field "Search metric charts": this shows the gradients, one curve for each run.'


def where_to_look(folder: Path, view: str | None = None) -> list[str]:
    """Return the lines that say how to open the charts of a run.

    Args:
        folder: The run folder.
        view: The name of the saved view to open, if the store has it.

    Returns:
        The command that starts the UI, unless the store is an MLflow server, and the address of the experiment's
        charts; the address of all experiments, with a note on standard error, if the store cannot be read. A password
        in the command is replaced by ``***``.
    """
    run = RunFolder.open(folder)
    uri = run.identity.uri
    server = address_of(uri) if is_server(uri) else f"http://{HOST}:{PORT}"
    address, hint = chart_address(server, None), [HINT]
    try:
        require_named_server(uri)
        experiment_id = find_experiment(uri, run.identity.experiment)
        address = chart_address(server, experiment_id)
        if view is not None and experiment_id is not None and has_view(uri, experiment_id, view):
            address, hint = view_address(server, experiment_id, view_id(view)), []
    except (OSError, ValueError, UndertowError) as error:
        note(f"cannot look up the charts in {redacted(uri)}: {error}")
    if is_server(uri):
        return [f"Look at {address}", *hint]
    return [f"Look with: {_command(run.path.parent, uri)}", f"           {address}", *hint]


def _command(home: Path, uri: str) -> str:
    """The command that starts the UI of a store."""
    words = ["undertow", "ui"]
    if home != home_folder():
        words += ["--home", str(home)]
    try:
        default = tracking_uri(home, None)
    except UndertowError:  # MLFLOW_TRACKING_URI is wrong; the configuration of the run named another store
        default = ""
    if uri != default:
        words += ["--uri", redacted(uri)]
    return shlex.join(words)
