"""`undertow plugin new`: write a small distribution with a cell, a task, … that passes its checks."""

import shlex
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from undertow.cli.options import Json
from undertow.cli.output.console import emit, out
from undertow.plugins.kinds import KINDS, KindName
from undertow.scaffold import plan_plugin


def plugin_new_command(
    kind: Annotated[KindName, Parameter(show_choices=False, help=f"{', '.join(KINDS)}.")],
    name: Annotated[str, Parameter(help="Its name: lower-case words joined by hyphens.")],
    /,
    *,
    into: Annotated[Path, Parameter(help="The folder to write it into. Default: the current one.")] = Path(),
    json: Json = False,
) -> int:
    """Write a small distribution with a cell, a task, a probe, … that passes its checks."""
    plan = plan_plugin(kind, name, into=into)
    files = plan.write()
    next_commands = [
        f"pip install -e {shlex.quote(str(plan.folder))}",
        f"undertow plugin check {name}",
        f"undertow run {shlex.quote(str(plan.folder / 'smoke.yaml'))}",
    ]
    if json:
        names = {"kind": kind, "name": name, "class": plan.names.class_name}
        emit({**names, "files": [*map(str, files)], "next": next_commands})
        return 0
    console = out()
    console.print(f"{name}: {KINDS[kind].one} that passes its checks, yours to change", soft_wrap=True)
    for path in files:
        console.print(f"  {path}", soft_wrap=True)
    console.print("next:")
    for command in next_commands:
        console.print(f"  {command}", soft_wrap=True)
    return 0
