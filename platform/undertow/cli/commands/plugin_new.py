"""`undertow plugin new`: a distribution that passes its checks, in one second."""

import shlex
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from undertow.cli.options import Json
from undertow.cli.output.console import emit, out
from undertow.scaffold import Kind, plan_plugin


def plugin_new_command(
    kind: Annotated[Kind, Parameter(help="What it will offer.")],
    name: Annotated[str, Parameter(help="What it will be called: lower-case words joined by hyphens.")],
    /,
    *,
    into: Annotated[Path, Parameter(help="The folder that will hold it.")] = Path(),
    json: Json = False,
) -> int:
    """Write a small distribution with a cell, a task or a probe that already passes its checks."""
    plan = plan_plugin(kind, name, into=into)
    written = plan.write()
    then = [
        f"pip install -e {shlex.quote(str(plan.folder))}",
        f"undertow plugin check {name}",
        f"undertow run {shlex.quote(str(plan.folder / 'smoke.yaml'))}",
    ]
    if json:
        emit({"kind": kind, "name": name, "class": plan.names.class_name, "files": [*map(str, written)], "next": then})
        return 0
    console = out()
    console.print(f"{name}: a {kind} that passes its checks, yours to change", soft_wrap=True)
    for path in written:
        console.print(f"  {path}", soft_wrap=True)
    console.print("next:")
    for command in then:
        console.print(f"  {command}", soft_wrap=True)
    return 0
