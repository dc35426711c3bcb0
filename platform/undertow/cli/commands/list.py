"""`undertow list`: the cells, blocks, tasks, probes, optimizers and callbacks of all plugins.

Only the hooks of a plugin are imported. The options that build an object, such as ``--build`` and ``--width``, import
torch too.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from cyclopts import Parameter

from undertow.cli.options import Json, Markdown, PluginFiles, Write
from undertow.cli.output.console import emit, note, out
from undertow.cli.output.describe import describe, entries_of, print_description
from undertow.cli.output.listing import print_list, print_names
from undertow.cli.output.markdown import markdown_table, output_markdown
from undertow.errors import RequestError, did_you_mean
from undertow.plugins.host import load_plugins
from undertow.plugins.kinds import BY_PLURAL, Plural
from undertow.plugins.registry import Registry


def list_command(
    kind: Annotated[Plural, Parameter(show_choices=False, help=f"{', '.join(BY_PLURAL)}.")],
    name: Annotated[str | None, Parameter(help="Describe this one: equation, state, numbers, source, options.")] = None,
    /,
    *,
    source: Annotated[str | None, Parameter(name="--from", help="Only those of this distribution.")] = None,
    build: Annotated[bool, Parameter(help="Build each, to show its parameters or its trivial scores.")] = False,
    width: Annotated[int | None, Parameter(help="Build cells with this number of units. Default: 128.")] = None,
    inputs: Annotated[int | None, Parameter(help="Build cells for inputs of this width. Default: 1.")] = None,
    length: Annotated[int | None, Parameter(help="Time steps to build for. Default: 100, or the task's own.")] = None,
    names: Annotated[bool, Parameter(help="Print the names alone, a line each.")] = False,
    markdown: Markdown = False,
    write: Write = None,
    plugin: PluginFiles = None,
    json: Json = False,
) -> int:
    """List the cells, blocks, tasks, probes, optimizers or callbacks, or describe one."""
    if names and (json or markdown or write or name is not None or build):
        raise RequestError("--names is a list by itself: leave out NAME, --json, --markdown, --write and --build.")
    registry = load_plugins(files=plugin or ())
    sizes = {"width": width, "inputs": inputs, "length": length}
    given = {key: value for key, value in sizes.items() if value is not None}
    _validate_sizes(kind, given, build)
    documents = _documents(registry, kind, name, source, given if build or given else None)
    if markdown or write:
        output_markdown(kind, markdown_table(kind, documents), write, as_json=json)
    elif names:
        print_names(documents)
    elif json:
        emit(documents[0] if name is not None else {kind: documents, "failures": len(registry.failures)})
    elif name is not None:
        print_description(kind, documents[0])
    else:
        print_list(kind, documents)
        if registry.failures:
            out().print(f"{len(registry.failures)} failed to load: see `undertow plugin list --failed`.")
    return 0


def _validate_sizes(kind: Plural, given: Mapping[str, int], build: bool) -> None:
    """Refuse sizes that do not apply to this kind, before torch is imported.

    Raises:
        RequestError: A size does not apply to `kind`, or is less than 1.
    """
    allowed = {"cells": ("width", "inputs", "length"), "tasks": ("length",)}.get(kind, ())
    for key, value in given.items():
        if key not in allowed:
            applies = "cells or tasks" if key == "length" else "cells"
            raise RequestError(f"--{key} does not apply to {kind}, only to {applies}.")
        if value < 1:
            raise RequestError(f"--{key} is {value}; allowed: 1 or more")
    if build and not allowed:
        raise RequestError(f"--build does not apply to {kind}: building one shows nothing more.")


def _documents(
    registry: Registry, kind: Plural, name: str | None, source: str | None, sizes: Mapping[str, int] | None
) -> list[dict[str, Any]]:
    """Return the JSON object of each entry to show; the entries are built when `sizes` is not None."""
    entries = entries_of(registry, kind)
    if name is not None:
        entries = {name: registry.find(BY_PLURAL[kind].name, name)}
    if source is not None:
        known = {plugin.distribution for plugin in registry.plugins} | {e.plugin.distribution for e in entries.values()}
        if source not in known:
            raise RequestError(f"--from {source}: no plugin of this name is loaded.{did_you_mean(source, known)}")
        entries = {each: entry for each, entry in entries.items() if entry.plugin.distribution == source}
        if name is not None and not entries:
            raise RequestError(f"{name} is not from {source}: leave out `--from`.")
    documents = [describe(entry) for entry in entries.values()]
    if sizes is None:
        return documents
    from undertow.cli.output.inspect import Sizes, describe_built

    for document, entry in zip(documents, entries.values(), strict=True):
        try:
            document["built"] = describe_built(registry, entry.spec, Sizes(**sizes))
        except RequestError as error:
            if name is not None:
                raise
            note(f"not built: {error}")  # the other entries are still listed
            document["built"] = {"error": str(error)}
    return documents
