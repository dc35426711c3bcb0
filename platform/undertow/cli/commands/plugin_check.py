"""`undertow plugin check`: the conformance kit, without pytest; a line for each check, and a count that holds."""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from undertow.api.spec import Options, TaskSpec
from undertow.cli.options import Json, PluginFiles
from undertow.cli.output.console import emit, err, out
from undertow.config.resolve import validate
from undertow.config.source import read_mapping
from undertow.errors import RequestError, did_you_mean
from undertow.plugins.host import load_plugins
from undertow.plugins.registry import Entry, Registry

if TYPE_CHECKING:
    from rich.console import Console

    from undertow.testing import CheckResult, Conformance, Report, TaskConformance

Kind = Literal["cell", "task", "probe"]

_MARKS = {"passed": "passed", "failed": "FAILED", "skipped": "skipped", "failed as expected": "expected"}


def plugin_check_command(
    name: Annotated[str, Parameter(help="A cell, task or probe; or a distribution: all that it offers.")],
    /,
    *,
    kind: Annotated[Kind | None, Parameter(help="Which, where a cell and a task have one name.")] = None,
    plugin: PluginFiles = None,
    set: Annotated[
        list[str] | None,
        Parameter(name="--set", negative=(), help="One of the plugin's options, such as forget_bias=2.0; repeatable."),
    ] = None,
    length: Annotated[int | None, Parameter(help="Time steps of a task; else its default.")] = None,
    expect_failure: Annotated[
        list[str] | None,
        Parameter(
            name="--expect-failure",
            negative=(),
            help="CHECK=REASON: a check that fails, and why. If it passes, that is a failure. Repeatable.",
        ),
    ] = None,
    json: Json = False,
) -> int:
    """Hold a plugin to its contract, check by check."""
    registry = load_plugins(files=plugin or ())
    chosen = _chosen(registry, name, kind)
    alone = len(chosen) == 1
    if not alone and (set or length is not None or expect_failure):
        raise RequestError(
            f"`{name}` is {len(chosen)} plugins: --set, --length and --expect-failure are for one alone."
        )
    console = out()
    reports: list[Report] = []
    unchecked: dict[str, str] = {}
    with redirect_stdout(sys.stderr):  # standard output is for the results, whatever a plugin prints
        for each, entry in chosen:
            try:
                kit = _kit(each, entry, plugin or [], set or [], length, expect_failure or [])
            except RequestError as error:
                if alone:
                    raise
                unchecked[f"{each} {entry.spec.name}"] = str(error)
            else:
                reports.append(_report(kit, None if json else console, title=not alone))
    ok = all(report.ok for report in reports) and not unchecked
    if json:
        emit({"ok": ok, "plugins": [report.document() for report in reports], "not_checked": unchecked})
    elif not alone:
        console.print()
        for report in reports:
            console.print(report.summary, soft_wrap=True)
        for what, reason in unchecked.items():
            remedy = f"Check it alone: `undertow plugin check {what.partition(' ')[2]} --set …`."
            console.print(f"{what}: not checked. {reason}\n  {remedy}", soft_wrap=True)
    return 0 if ok else 1


def _chosen(registry: Registry, name: str, kind: Kind | None) -> list[tuple[Kind, Entry[Any]]]:
    """What the name stands for: one thing, or all that a distribution offers."""
    offered: list[tuple[Kind, Entry[Any]]] = [
        *(("cell", entry) for entry in registry.cells.values()),
        *(("task", entry) for entry in registry.tasks.values()),
        *(("probe", entry) for entry in registry.probes.values()),
    ]
    offered = [(each, entry) for each, entry in offered if kind in (None, each)]
    found = [(each, entry) for each, entry in offered if entry.spec.name == name]
    if len(found) > 1:
        kinds = " and ".join(f"a {each}" for each, _ in found)
        raise RequestError(f"{name!r} is {kinds}: say which with `--kind {found[0][0]}`.")
    failures = [failure for failure in registry.failures if name == failure.distribution]
    if failures and not found:
        listed = "\n".join(f"  {failure}" for failure in failures)
        raise RequestError(f"not all of {name} could be loaded:\n{listed}")
    found = found or [(each, entry) for each, entry in offered if entry.plugin.distribution == name]
    if not found:
        known = {entry.spec.name for _, entry in offered} | {entry.plugin.distribution for _, entry in offered}
        near = did_you_mean(name, known, f"undertow list {kind}s" if kind else "undertow plugin list")
        raise RequestError(f"there is no {kind or 'cell, task, probe or distribution'} {name!r}.{near}")
    return found


def _options(entry: Entry[Any], overrides: list[str]) -> Options:
    """The options under test, told in the words of a configuration if they are wrong."""
    source = read_mapping({})
    for text in overrides:
        source.override(text)
    made: Options | list[str] = validate(entry.spec.options, source.data, source, ())
    if isinstance(made, Options):
        return made
    raise RequestError("\n".join(line.removeprefix("<mapping>: ") for line in made))


def _kit(
    kind: Kind,
    entry: Entry[Any],
    files: list[Path],
    overrides: list[str],
    length: int | None,
    expected: list[str],
) -> "Conformance":
    """The kit for one plugin.

    Raises:
        RequestError: An option, a length or a check that it does not have, or a task that cannot be made with these.
    """
    options = _options(entry, overrides)
    if length is not None and not isinstance(entry.spec, TaskSpec):
        raise RequestError(f"--length is for tasks, and `{entry.spec.name}` is none.")
    if length is not None and length not in entry.spec.lengths:
        raise RequestError(f"task `{entry.spec.name}` cannot have {length} steps; allowed: {entry.spec.lengths}")
    from undertow import testing

    kits: dict[Kind, type[Conformance]] = {
        "cell": testing.CellConformance,
        "task": testing.TaskConformance,
        "probe": testing.ProbeConformance,
    }
    checks = kits[kind].checks()
    reasons: dict[str, str] = {}
    for text in expected:
        check, _, reason = text.partition("=")
        if check not in checks:
            raise RequestError(f"--expect-failure: a {kind} has no check {check!r}.{did_you_mean(check, checks)}")
        if not reason.strip():
            raise RequestError(f"--expect-failure {text}: write CHECK=REASON, for whoever reads the count.")
        reasons[check] = reason.strip()
    more = {} if length is None else {"length": length}
    kit = kits[kind].of(entry.spec.name, plugins=files, options=options, expected_failures=reasons, **more)
    if isinstance(kit, testing.TaskConformance):
        _need_no_more(kit)
    return kit


def _need_no_more(kit: "TaskConformance") -> None:
    """Whether the task can be made with these options: it may want files, or a longer sequence.

    Raises:
        RequestError: What the task says to that.
    """
    try:
        kit.registry.factory(kit.spec)
    except RequestError:  # its class cannot be imported, which every check will tell
        return
    try:
        kit.build()
    except RequestError:
        raise
    except Exception:  # noqa: BLE001  # no wish but a fault: the checks will tell it, each in its place
        return


def _report(kit: "Conformance", console: "Console | None", *, title: bool) -> "Report":
    """Run a kit; on a console a line for each check, on a terminal also which one is running."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from undertow.testing import run_checks

    terminal = err()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=terminal, transient=True, disable=not terminal.is_terminal) as progress:
        bar = progress.add_task("", total=len(kit.checks()))
        if console and title:
            console.print(f"\n{kit.kind} {kit.name}")

        def done(result: "CheckResult") -> None:
            progress.advance(bar)
            if console:
                _tell(console, kit, result)

        report = run_checks(kit, begin=lambda check: progress.update(bar, description=check), done=done)
    if console:
        console.print(report.summary, soft_wrap=True)
    return report


def _tell(console: "Console", kit: "Conformance", result: "CheckResult") -> None:
    said = f"  ({result.message})" if result.message and result.outcome != "failed" else ""
    console.print(f"{_MARKS[result.outcome]:8} {result.seconds:6.2f} s  {result.check}{said}", soft_wrap=True)
    if result.outcome == "failed":
        console.print(f"    {kit.question(result.check)}", soft_wrap=True)
        for line in result.message.splitlines():
            console.print(f"    {line}", soft_wrap=True)
