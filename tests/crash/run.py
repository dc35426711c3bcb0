"""Every crash point: the command line of `make crash`, and what `make test` runs a sample of.

    .venv/bin/python tests/crash/run.py                         # every point of run, study and sync: an hour or two
    .venv/bin/python tests/crash/run.py run sync --mode kill    # some of it
    .venv/bin/python tests/crash/run.py study --from 200 --to 300
    .venv/bin/python tests/crash/run.py --sample 20             # twenty points of each, evenly spread
    .venv/bin/python tests/crash/run.py store --sample 20       # a `sync` that has to create the store

For each point a command runs up to its n-th change of the home and dies there; then it is continued as a user would
do it. The rows, parameters, statuses, artifacts and weights must be those of a command that was not disturbed.
"""

import argparse
import contextlib
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent))

from points import MODES, SHIM, Mode, Workshop

if TYPE_CHECKING:
    from scenarios import Scenario

_SHOWN = 8
_SHIM_SOURCE = Path(__file__).with_name("shim.c")


def main() -> None:
    """Crash, compare, print."""
    parser = argparse.ArgumentParser(description="Crash commands after each change of their home, and continue.")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="run, study, sync (these if none), store")
    parser.add_argument("--mode", choices=MODES, action="append", help="; ".join(f"{k}: {v}" for k, v in MODES.items()))
    parser.add_argument("--from", dest="first", type=int, default=1, metavar="N", help="the first point")
    parser.add_argument("--to", type=int, metavar="N", help="the last point")
    parser.add_argument("--sample", type=int, metavar="N", help="this many points of each, evenly spread")
    parser.add_argument(
        "--match", default="", metavar="REGEX", help="only operations like this, such as 'rename .*json'"
    )
    parser.add_argument("--at", type=int, nargs="*", metavar="N", help="these points alone")
    parser.add_argument("--list", action="store_true", help="print the operations and crash nothing")
    arguments = parser.parse_args()
    if SHIM not in os.environ:
        _start_with_shim()
    os.environ.pop("LD_PRELOAD", None)  # not for programs that are started from here, such as git
    folder = Path(
        tempfile.mkdtemp(prefix="undertow-crash-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    )
    try:
        sys.exit(_all(arguments, folder))
    finally:
        shutil.rmtree(folder)


def _start_with_shim() -> None:
    """Compile the library, and start this program again with it."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        sys.exit("no C compiler (`cc`): install gcc")
    with tempfile.TemporaryDirectory(prefix="undertow-shim-") as folder:
        library = f"{folder}/shim.so"
        subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, _SHIM_SOURCE, "-lpthread"], check=True)
        environment = {**os.environ, SHIM: library, "LD_PRELOAD": library, "OMP_NUM_THREADS": "1"}
        sys.exit(subprocess.run([sys.executable, *sys.argv], env=environment, check=False).returncode)


def _all(arguments: argparse.Namespace, folder: Path) -> int:
    import scenarios

    scenarios.prepare()
    names = arguments.scenarios or [name for name, each in scenarios.SCENARIOS.items() if each.always]
    failures = 0
    for name in names:
        scenario, workshop = scenarios.SCENARIOS[name], Workshop(folder)
        template = folder / "template"
        made = workshop.crash(None, scenario.template, 0, "kill")
        assert made.code == 0, made.output
        _import_what_was_used(workshop)
        scenarios.copy_of(workshop.home, template)
        whole = workshop.crash(template, scenario.command, 0, "kill")
        assert whole.code == 0, whole.output
        _import_what_was_used(workshop)
        expected = _ending(workshop, folder, scenario)
        assert not isinstance(expected, str), expected
        _import_what_was_used(workshop)
        total = len(whole.operations)
        print(f"{name}: {total} operations", flush=True)
        if arguments.list:
            print("\n".join(f"{number:5d} {each}" for number, each in enumerate(whole.operations, 1)))
            continue
        for mode in arguments.mode or MODES:
            failures += _crash_all(
                name, mode, workshop, template, expected, _points(arguments, whole.operations, mode), folder
            )
    return 1 if failures else 0


def _import_what_was_used(workshop: Workshop) -> None:
    """Import what the last command imported, so that the next ones find it: imports take most of the time of a case."""
    for name in workshop.modules.read_text().splitlines():
        if name not in sys.modules:
            with contextlib.suppress(Exception):  # some entries of sys.modules are no modules of a file
                importlib.import_module(name)


def _points(arguments: argparse.Namespace, operations: list[str], mode: Mode) -> list[int]:
    if arguments.at:
        return list(arguments.at)
    points = range(arguments.first, min(arguments.to or len(operations), len(operations)) + 1)
    torn = ("write", "pwrite")
    chosen = [
        number
        for number in points
        if re.search(arguments.match, (operation := operations[number - 1]))
        and (mode != "torn" or operation.split()[0] in torn)
    ]
    if arguments.sample and len(chosen) > arguments.sample:
        step = (len(chosen) - 1) / max(1, arguments.sample - 1)
        chosen = [chosen[round(k * step)] for k in range(arguments.sample)]
    return chosen


def _crash_all(
    name: str, mode: Mode, workshop: Workshop, template: Path, expected: object, points: list[int], folder: Path
) -> int:
    import scenarios

    scenario = scenarios.SCENARIOS[name]
    failures, started = 0, time.monotonic()
    for number, point in enumerate(points, 1):
        crash = workshop.crash(template, scenario.command, point, mode)
        where = f"{name} --mode {mode} --at {point}: {crash.operations[-1]}" if crash.reached else ""
        found = _ending(workshop, folder, scenario)
        if not crash.reached:
            print(f"  {name} --mode {mode} --at {point}: not reached, the command ended before")
        if found != expected:
            failures += 1
            print(f"FAILED {where}\n{_difference(expected, found)}", flush=True)
        if number % 10 == 0 or number == len(points):
            seconds = time.monotonic() - started
            print(f"  {name} {mode}: {number} of {len(points)} points, {failures} failed, {seconds:.0f} s", flush=True)
    return failures


def _ending(workshop: Workshop, folder: Path, scenario: "Scenario") -> object:
    """Continue after a crash, and describe what there is; text if that fails."""
    file = folder / "summary.json"
    file.unlink(missing_ok=True)

    def finish(home: Path) -> None:
        scenario.resume(home)
        file.write_text(json.dumps(scenario.describe(home)))

    code, output = workshop.call(finish)
    return json.loads(file.read_text()) if code == 0 else f"exit code {code}\n{output}"


def _difference(expected: object, found: object) -> str:
    if isinstance(found, str):
        return "\n".join(f"    {line}" for line in found.splitlines()[-12:])
    lines = _differences(expected, found, "")
    more = [f"and {len(lines) - _SHOWN} more differences"] if len(lines) > _SHOWN else []
    return "\n".join(f"    {line}" for line in [*lines[:_SHOWN], *more])


def _differences(expected: object, found: object, place: str) -> list[str]:
    if isinstance(expected, dict) and isinstance(found, dict):
        keys = sorted(expected.keys() | found.keys())
        return [line for key in keys for line in _differences(expected.get(key), found.get(key), f"{place}.{key}")]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = enumerate(zip(expected, found, strict=True))
        return [line for at, (one, other) in pairs for line in _differences(one, other, f"{place}[{at}]")]
    return [] if expected == found else [f"{place}: expected {_short(expected)}, found {_short(found)}"]


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) < 300 else f"{text[:300]}… ({len(text)} characters)"


if __name__ == "__main__":
    main()
