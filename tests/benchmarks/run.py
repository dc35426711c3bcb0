"""The benchmarks: ratios measured side by side, as a table and as JSON.

    .venv/bin/python tests/benchmarks/run.py                        # all but long_study: 40 minutes on two cores
    .venv/bin/python tests/benchmarks/run.py --only steps startup   # some of them
    .venv/bin/python tests/benchmarks/run.py --only long_study      # a study of 2,000 trials: a quarter of an hour
    .venv/bin/python tests/benchmarks/run.py --quick                # tiny sizes: does it run? The ratios mean nothing

A missed target is shown and not an error: how busy the machine is decides about that, too.
"""

import argparse
import json
import os
import platform
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1]))  # the measurements import each other as `benchmarks.<name>`

from benchmarks.row import Row, as_table
from undertow.train.runtime import keep_freed_memory, use_full_precision

_QUICK = ("startup", "device", "steps", "cells", "gradient", "packs", "pack_device", "loop")
_FULL = (*_QUICK, "study")  # even a tiny one has to start everything there is, many times
_MEASUREMENTS = (*_FULL, "long_study")


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="Measure how fast Undertow is, as ratios.")
    parser.add_argument("--json", type=Path, default=Path("bench.json"), metavar="FILE", help="where to write the rows")
    parser.add_argument("--only", nargs="+", choices=_MEASUREMENTS, metavar="NAME",
                        help=f"some of {', '.join(_MEASUREMENTS)}")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    arguments = parser.parse_args()
    chosen = arguments.only or (_QUICK if arguments.quick else _FULL)

    keep_freed_memory()  # as a run does
    use_full_precision()  # likewise
    torch.set_flush_denormal(True)  # as a run does by default; before the first kernel, or half the threads would not
    machine = _machine()
    progress = Console(stderr=True)
    rows: list[Row] = []
    for name in _MEASUREMENTS:
        if name in chosen:
            start = time.monotonic()
            progress.print(f"measuring {name} ...", end=" ")
            rows += import_module(f"benchmarks.{name}").measure(arguments.quick)
            progress.print(f"{time.monotonic() - start:.0f} s")
            document: dict[str, Any] = {
                "quick": arguments.quick,
                "machine": machine,
                "rows": [row.as_json() for row in rows],
            }
            arguments.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")  # also if it ends early
    console = Console()
    console.print(", ".join(f"{key} {value}" for key, value in machine.items()), highlight=False, soft_wrap=True)
    console.print(as_table(rows))
    for row in rows:
        console.print(f"[dim]{row.name}:[/] {row.skipped or row.detail}", highlight=False, soft_wrap=True)
    if arguments.quick:
        console.print("--quick: these ratios say nothing; it ran.")


def _machine() -> dict[str, str | int | float]:
    gpu = torch.cuda.is_available()
    facts: dict[str, str | int | float] = {
        "device": torch.cuda.get_device_name(0) if gpu else "cpu",
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "seed": 0,
    }
    if gpu:
        facts["cudnn"] = torch.backends.cudnn.version() or 0
    return facts


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
