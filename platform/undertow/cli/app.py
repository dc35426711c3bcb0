"""The commands by name. Nothing of a command is imported before it runs."""

from typing import Any

from cyclopts import App, Parameter

from undertow import __version__

_SHARED: dict[str, Any] = {
    "version": __version__,
    "help_format": "plaintext",
    "default_parameter": Parameter(negative=()),
    "print_error": False,
    "exit_on_error": False,
    "suppress_keyboard_interrupt": False,
}

app = App(
    name="undertow",
    help="How far back in time does the gradient of a recurrent network reach? Train one, and measure it.",
    **_SHARED,
)

for _position, (_name, _function, _help) in enumerate(
    (
        ("run", "run:run_command", "Train one experiment, measure its gradient and record it in MLflow."),
        ("check", "configuration:check_command", "Validate configurations, all of them and all that is wrong."),
        ("show", "configuration:show_command", "Show a configuration: its values and where each comes from."),
        ("list", "catalogue:list_command", "List the cells, tasks or probes there are; with NAME, all about one."),
        ("sync", "sync:sync_command", "Ship what an unreachable tracking server missed."),
        ("ui", "ui:ui_command", "Open the MLflow UI and the Optuna dashboard on what was recorded."),
        ("doctor", "doctor:doctor_command", "Look at devices, versions, the tracking store and plugin failures."),
    )
):
    app.command(f"undertow.cli.commands.{_function}", name=_name, help=_help, sort_key=_position)

plugin = App(name="plugin", help="Look after plugins.", sort_key=3, **_SHARED)
plugin.command(
    "undertow.cli.commands.catalogue:plugin_list_command", name="list", help="List every plugin, and what failed."
)
plugin.command(
    "undertow.cli.commands.plugin_new:plugin_new_command", name="new", help="Write a new plugin that passes its checks."
)
plugin.command(
    "undertow.cli.commands.plugin_check:plugin_check_command",
    name="check",
    help="Hold a plugin to its contract, check by check.",
)
app.command(plugin)

study = App(name="study", help="Run many experiments as one study, and see what they showed.", sort_key=1, **_SHARED)
for _name, _function, _help in (
    ("run", "study_run_command", "Run every combination that a study has left, and write its report."),
    ("status", "study_status_command", "Show how a study stands, also while it is at work."),
    ("stop", "study_stop_command", "Have a study save what is running and stop."),
    ("report", "study_report_command", "Write the report of a study: one HTML file."),
):
    study.command(f"undertow.cli.commands.study:{_function}", name=_name, help=_help)
app.command(study)
