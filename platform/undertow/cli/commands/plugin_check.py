"""`undertow plugin check`: the conformance kit without pytest. It prints a line for each check, and the counts."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from undertow.api.spec import Options, TaskSpec
from undertow.cli.options import Json, PluginFiles
from undertow.cli.output.console import emit, err, out
from undertow.config.resolve import validate
from undertow.config.source import read_mapping
from undertow.errors import RequestError, did_you_mean
from undertow.plugins.host import load_plugins
from undertow.plugins.kinds import KINDS, KindName
from undertow.plugins.registry import Entry, Registry

if TYPE_CHECKING:
    from rich.console import Console

    from undertow.testing import CheckResult, Conformance, Report, TaskConformance

_MARKS = {"passed": "passed", "failed": "FAILED", "skipped": "skipped", "failed as expected": "expected"}


def plugin_check_command(
    name: Annotated[str, Parameter(help="A cell, task, probe, …, or a whole distribution.")],
    /,
    *,
    kind: Annotated[
        KindName | None, Parameter(show_choices=False, help="Which kind, if several share the name.")
    ] = None,
    plugin: PluginFiles = None,
    set: Annotated[
        list[str] | None,
        Parameter(name="--set", help="Set an option: forget_bias=2.0. Repeatable."),
    ] = None,
    length: Annotated[int | None, Parameter(help="Time steps of a task. Default: its own.")] = None,
    expect_failure: Annotated[
        list[str] | None,
        Parameter(name="--expect-failure", help="CHECK=REASON: this check must fail. Repeatable."),
    ] = None,
    json: Json = False,
) -> int:
    """Validate a plugin against its contract, check by check."""
    registry = load_plugins(files=plugin or ())
    chosen = _find(registry, name, kind)
    single = len(chosen) == 1
    if not single and (set or length is not None or expect_failure):
        raise RequestError(
            f"`{name}` is {len(chosen)} plugins: --set, --length and --expect-failure apply to a single one."
        )
    console = out()
    reports: list[Report] = []
    not_checked: dict[str, str] = {}
    for each, entry in chosen:
        try:
            kit = _kit(each, entry, plugin or [], set or [], length, expect_failure or [])
        except RequestError as error:
            if single:
                raise
            not_checked[f"{each} {entry.spec.name}"] = str(error)
        else:
            reports.append(_report(kit, None if json else console, title=not single))
    ok = all(report.ok for report in reports) and not not_checked
    if json:
        emit({"ok": ok, "plugins": [report.document() for report in reports], "not_checked": not_checked})
    elif not single:
        console.print()
        for report in reports:
            console.print(report.summary, soft_wrap=True)
        for title, reason in not_checked.items():
            remedy = f"Check it alone: `undertow plugin check {title.partition(' ')[2]} --set …`."
            console.print(f"{title}: not checked. {reason}\n  {remedy}", soft_wrap=True)
    return 0 if ok else 1


def _find(registry: Registry, name: str, kind: KindName | None) -> list[tuple[KindName, Entry[Any]]]:
    """Return the entry of this name, or all entries of the distribution of this name."""
    offered = [
        (each.name, entry)
        for each in KINDS.values()
        if kind in (None, each.name)
        for entry in registry.entries(each).values()
    ]
    found = [(each, entry) for each, entry in offered if entry.spec.name == name]
    if len(found) > 1:
        kinds = " and ".join(KINDS[each].one for each, _ in found)
        raise RequestError(f"{name!r} is {kinds}: say which with `--kind {found[0][0]}`.")
    failures = [failure for failure in registry.failures if name == failure.distribution]
    if failures and not found:
        listed = "\n".join(f"  {failure}" for failure in failures)
        raise RequestError(f"not all of {name} could be loaded:\n{listed}")
    found = found or [(each, entry) for each, entry in offered if entry.plugin.distribution == name]
    if not found:
        known = {entry.spec.name for _, entry in offered} | {entry.plugin.distribution for _, entry in offered}
        near = did_you_mean(name, known, f"undertow list {kind}s" if kind else "undertow plugin list")
        what = kind or f"{', '.join(KINDS)} or distribution"
        raise RequestError(f"there is no {what} {name!r}.{near}")
    return found


def _options(entry: Entry[Any], overrides: list[str]) -> Options:
    """Return the options to check with; errors are reported as those of a configuration."""
    source = read_mapping({})
    for text in overrides:
        source.override(text)
    options: Options | list[str] = validate(entry.spec.options, source.data, source, ())
    if isinstance(options, Options):
        return options
    raise RequestError("\n".join(line.removeprefix("<mapping>: ") for line in options))


def _kit(
    kind: KindName,
    entry: Entry[Any],
    files: list[Path],
    overrides: list[str],
    length: int | None,
    expected: list[str],
) -> "Conformance":
    """Return the conformance kit for one plugin.

    Raises:
        RequestError: The plugin does not have such an option, length or check, or the task cannot be built with them.
    """
    options = _options(entry, overrides)
    if length is not None and not isinstance(entry.spec, TaskSpec):
        raise RequestError(f"--length applies to tasks, and `{entry.spec.name}` is not a task.")
    if length is not None and length not in entry.spec.lengths:
        raise RequestError(f"task `{entry.spec.name}` cannot have {length} steps; allowed: {entry.spec.lengths}")
    from undertow import testing

    checks = testing.KITS[kind].checks()
    reasons: dict[str, str] = {}
    for text in expected:
        check, _, reason = text.partition("=")
        if check not in checks:
            raise RequestError(
                f"--expect-failure: {KINDS[kind].one} has no check {check!r}.{did_you_mean(check, checks)}"
            )
        if not reason.strip():
            raise RequestError(f"--expect-failure {text}: write CHECK=REASON; the reason is printed with the counts.")
        reasons[check] = reason.strip()
    at_length = {} if length is None else {"length": length}
    kit = testing.KITS[kind].of(entry.spec.name, plugins=files, options=options, expected_failures=reasons, **at_length)
    if isinstance(kit, testing.TaskConformance):
        _require_buildable(kit)
    return kit


def _require_buildable(kit: "TaskConformance") -> None:
    """Return if the task accepts these options: it may need a file, or a longer sequence.

    Raises:
        RequestError: The task refuses them.
    """
    try:
        kit.registry.factory(kit.spec)
    except RequestError:  # its class cannot be imported: every check reports that
        return
    try:
        kit.build()
    except RequestError:
        raise
    except Exception:  # noqa: BLE001  # a fault of the task, not a refusal: the checks report it
        return


def _report(kit: "Conformance", console: "Console | None", *, title: bool) -> "Report":
    """Run a kit: print a line for each check on `console`, and show the running one on a terminal."""
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
                _print_result(console, kit, result)

        report = run_checks(kit, begin=lambda check: progress.update(bar, description=check), done=done)
    if console:
        console.print(report.summary, soft_wrap=True)
    return report


def _print_result(console: "Console", kit: "Conformance", result: "CheckResult") -> None:
    comment = f"  ({result.message})" if result.message and result.outcome != "failed" else ""
    console.print(f"{_MARKS[result.outcome]:8} {result.seconds:6.2f} s  {result.check}{comment}", soft_wrap=True)
    if result.outcome == "failed":
        console.print(f"    {kit.question(result.check)}", soft_wrap=True)
        for line in result.message.splitlines():
            console.print(f"    {line}", soft_wrap=True)
