"""Cost of the commands that need no torch: CPU seconds, user and system, of the whole process."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.row import Row

_COMMANDS = {("--help",): 0.4, ("list", "cells"): 0.6}
_HEAVY = ("torch", "pytorch_lightning", "mlflow", "optuna", "sklearn")

_IMPORTS = f"""
import atexit, sys
atexit.register(lambda: sys.stderr.write("\\nheavy:" + ",".join(n for n in {_HEAVY!r} if n in sys.modules)))
sys.argv[0] = "undertow"
from undertow.cli import main
main()
"""


def measure(quick: bool) -> list[Row]:
    """CPU seconds of each command, and the heavy modules it imports."""
    undertow = str(Path(sys.executable).with_name("undertow"))
    rounds = 2 if quick else 7
    with tempfile.TemporaryDirectory() as home:
        environment = os.environ | {"UNDERTOW_HOME": home}
        seconds: dict[tuple[str, ...], list[float]] = {words: [] for words in [*_COMMANDS, ()]}
        for count in range(rounds + 1):
            for words in seconds:
                command = [undertow, *words] if words else [sys.executable, "-c", "pass"]
                spent = _cpu_seconds(command, environment)
                if count > 0:  # the first one may have to compile modules
                    seconds[words].append(spent)
        bare = sorted(seconds[()])[rounds // 2]
        rows = []
        for words, limit in _COMMANDS.items():
            name = "undertow " + " ".join(words)
            heavy = _heavy_imports(words, environment)
            detail = f"CPU time, user and system; {bare:.2f} s of it is Python's own start"
            rows.append(Row("startup", name, "s", seconds[words], at_most=limit, detail=detail))
            found = ", ".join(heavy) or f"none of {', '.join(_HEAVY)}"
            rows.append(Row("startup", f"{name}, heavy imports", "", [len(heavy)], at_most=0, detail=found))
    return rows


def _cpu_seconds(command: list[str], environment: dict[str, str]) -> float:
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with exit code {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def _heavy_imports(words: tuple[str, ...], environment: dict[str, str]) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", _IMPORTS, *words], env=environment, capture_output=True, text=True, check=True
    )
    return [name for name in done.stderr.rpartition("heavy:")[2].split(",") if name]
