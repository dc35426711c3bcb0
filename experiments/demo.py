"""The demo: three cells, two lengths, six runs, one table.

    python experiments/demo.py

All six stand in one MLflow experiment, so that their gradients overlay in one chart: `undertow ui`. Ctrl-C stops it
after the current step; the runs that are done, and the beginning of the one that is not, are recorded.
"""

import sys
import time
from itertools import product
from pathlib import Path

import undertow
from undertow.cli.console import note
from undertow.cli.results import show

CELLS = ("rnn", "lstm", "gru")
LENGTHS = (64, 256)


def main() -> int:
    """Run all six; return the exit code."""
    config = Path(__file__).with_name("demo.yaml")
    started = time.monotonic()
    results = []
    stopped = ""
    for number, (length, cell) in enumerate(product(LENGTHS, CELLS), start=1):
        note(f"Run {number} of {len(CELLS) * len(LENGTHS)}: {cell}, {length} time steps")
        try:
            results.append(undertow.run(config, set=[f"cell.name={cell}", f"task.length={length}"]))
        except undertow.Interrupted as error:
            stopped = str(error)
            break
    if results:
        show(results)
    if stopped:
        note(stopped)
        return 130
    note(f"{time.monotonic() - started:.0f} s in all.")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except undertow.UndertowError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
