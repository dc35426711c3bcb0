"""`undertow plugin list`: the plugins, what each of them offers, and those that failed to load."""

from dataclasses import asdict
from typing import Annotated, Any

from cyclopts import Parameter

from undertow.cli.options import Json, Markdown, PluginFiles, Write
from undertow.cli.output.console import emit, out
from undertow.cli.output.describe import entries_of
from undertow.cli.output.markdown import markdown_table_of_plugins, output_markdown
from undertow.cli.output.tables import format_value, print_table
from undertow.plugins.host import load_plugins
from undertow.plugins.kinds import BY_PLURAL
from undertow.plugins.registry import Plugin, Registry


def plugin_list_command(
    *,
    failed: Annotated[bool, Parameter(help="Only the plugins that failed to load.")] = False,
    markdown: Markdown = False,
    write: Write = None,
    plugin: PluginFiles = None,
    json: Json = False,
) -> int:
    """List every plugin with all that it offers, and every failure with its remedy."""
    registry = load_plugins(files=plugin or ())
    plugins = [] if failed else [_describe(each, registry) for each in registry.plugins]
    if markdown or write:
        output_markdown("plugins", markdown_table_of_plugins(plugins), write, as_json=json)
        return 0
    failures = [asdict(failure) for failure in registry.failures]
    if json:
        emit({"failures": failures} if failed else {"plugins": plugins, "failures": failures})
        return 0
    console = out()
    if plugins:
        offered = [kind for kind in BY_PLURAL if any(each[kind] for each in plugins)]
        columns = ["distribution", "version", *offered]
        print_table(columns, [[format_value(each[column]) for column in columns] for each in plugins])
    for failure in registry.failures:
        console.print(
            f"{failure.plugin} {failure.version} failed ({failure.stage}): {failure.reason}\n  {failure.remedy}",
            soft_wrap=True,
        )
    if not failures:
        console.print("Nothing failed to load." if registry.plugins else "No plugin is installed.")
    return 0


def _describe(plugin: Plugin, registry: Registry) -> dict[str, Any]:
    """Return the JSON object of a plugin."""
    offered: dict[str, Any] = {
        kind: [name for name, entry in entries_of(registry, kind).items() if entry.plugin == plugin]
        for kind in BY_PLURAL
    }
    return {"name": plugin.name, "distribution": plugin.distribution, "version": plugin.version, **offered}
