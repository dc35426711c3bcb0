"""A command imports only what it needs: CPU seconds and imports of real processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

MAIN = """
import sys
from undertow.cli import main
code = main(sys.argv[1:])
heavy = {"torch", "pytorch_lightning", "lightning_fabric", "torchmetrics", "mlflow", "optuna", "sklearn", "scipy"}
print("imported:", *sorted(heavy & set(sys.modules)), file=sys.stderr)
sys.exit(code)
"""


def cpu_seconds(*words: str) -> float:
    """Return the user and system time of one command, in a process of its own."""
    process = subprocess.Popen([sys.executable, "-m", "undertow.cli", *words], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_utime + usage.ru_stime


@pytest.mark.parametrize(("words", "limit"), [(("--help",), 0.4), (("list", "cells"), 0.6)])
def test_a_light_command_costs_little_cpu_time(words: tuple[str, ...], limit: float, slowness: float) -> None:
    assert min(cpu_seconds(*words) for _ in range(3)) <= limit * slowness


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--help",),
        ("--version",),
        ("run", "--help"),
        ("ui", "--help"),
        ("doctor", "--help"),
        ("list", "cells"),
        ("list", "tasks", "--json"),
        ("list", "cells", "lstm"),
        ("plugin", "list"),
        ("check", "experiments/smoke/digits.yaml"),
        ("check", "experiments/demo.yaml"),
        ("study", "run", "--help"),
        ("show", "experiments/smoke/digits.yaml"),
        ("show", "--schema"),
        ("lst",),
        ("run", "nowhere.yaml"),
        ("run", "experiments/smoke/digits.yaml", "--set", "cell.name=lstn"),
    ],
    ids=" ".join,
)
def test_a_light_command_imports_no_heavy_library(words: tuple[str, ...]) -> None:
    done = subprocess.run([sys.executable, "-c", MAIN, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 2), done.stderr
    assert done.stderr.splitlines()[-1] == "imported:"
