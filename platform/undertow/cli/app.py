"""The commands by name. The module of a command is imported only when that command runs."""

from typing import Any

from cyclopts import App, Parameter

from undertow import __version__

COMMANDS = (
    ("run", "run:run_command", "Train one network and record the run in MLflow."),
    ("check", "check:check_command", "Validate configuration files and report every error."),
    ("show", "show:show_command", "Show a configuration and the origin of each value."),
    ("list", "list:list_command", "List the catalogue, such as all cells, or describe one."),
    ("sync", "sync:sync_command", "Send the records that the tracking store does not have yet."),
    ("ui", "ui:ui_command", "Start the MLflow UI and the Optuna dashboard."),
    ("doctor", "doctor:doctor_command", "Check devices, versions, plugins and the tracking store."),
)

PLUGIN_COMMANDS = (
    ("list", "plugin_list:plugin_list_command", "List the plugins, and those that failed to load."),
    ("new", "plugin_new:plugin_new_command", "Write a new plugin that passes its checks."),
    ("check", "plugin_check:plugin_check_command", "Validate a plugin against its contract."),
)

STUDY_COMMANDS = (
    ("run", "study_run:study_run_command", "Run the remaining combinations and write the report."),
    ("status", "study_status:study_status_command", "Show the state of a study, even while it runs."),
    ("stop", "study_stop:study_stop_command", "Save the running trials of a study and stop it."),
    ("compare", "study_compare:study_compare_command", "Compare two studies: what differs, and what moved."),
    ("report", "study_report:study_report_command", "Write the report of a study as one HTML file."),
)

_SHARED: dict[str, Any] = {
    "version": __version__,
    "help_format": "plaintext",
    "default_parameter": Parameter(negative=(), show_default=False),
    "print_error": False,
    "exit_on_error": False,
    "suppress_keyboard_interrupt": False,
}


def _add(app: App, commands: tuple[tuple[str, str, str], ...]) -> App:
    for position, (name, function, text) in enumerate(commands):
        app.command(f"undertow.cli.commands.{function}", name=name, help=text, sort_key=position)
    return app


app = _add(
    App(name="undertow", help="Measure how far back in time the gradient of a recurrent network reaches.", **_SHARED),
    COMMANDS,
)
app.command(_add(App(name="plugin", help="List, write and validate plugins.", sort_key=3, **_SHARED), PLUGIN_COMMANDS))
app.command(
    _add(App(name="study", help="Run a study: many runs of one experiment.", sort_key=1, **_SHARED), STUDY_COMMANDS)
)
