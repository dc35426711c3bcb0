"""What `run.py` runs: each part is one command, its time limit, and how to read what it printed."""

import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TESTS = Path(__file__).parents[1]
_SMALL = str(Path(__file__).with_name("small.yaml"))
_UNDERTOW = str(Path(sys.executable).with_name("undertow"))
_TINY = ("task.length=10", "cell.hidden_size=4", "train.max_steps=3", "train.val_every=3", "train.val_examples=8")
_BENCH = "bench.json"


@dataclass(frozen=True)
class Reading:
    """What a part found.

    Attributes:
        summary: For the table.
        numbers: For the JSON; `rows` of the benchmarks are a table of their own.
    """

    summary: str
    numbers: dict[str, Any]


@dataclass(frozen=True)
class Part:
    """One command.

    Attributes:
        name: What `--only` selects.
        command: Program and arguments; it runs in a folder of its own.
        limit: Seconds it may take.
        read: What it found, from its standard output and its folder; also called if it failed or ran out of time.
    """

    name: str
    command: Sequence[str]
    limit: float
    read: Callable[[str, Path], Reading]


def all_parts(device: str, cards: int) -> list[Part]:
    """The parts, in the order in which they run: what matters most comes first.

    Args:
        device: `cuda`; `cpu` only in the test of this command, with tiny sizes.
        cards: How many devices DDP uses.
    """
    tiny = device == "cpu"
    sets = [f"train.accelerator={device}", *(_TINY if tiny else ())]
    cells, seeds = ("rnn, lstm", "0, 1") if tiny else ("rnn, lstm, gru, mgu, lem, minlstm", "0, 1")
    study = [f"study.vary={{cell.name: [{cells}], seed: [{seeds}]}}", "study.gpus_per_trial=0.25", "study.name=gpu"]
    ddp = [f"train.devices={cards}", "train.strategy=ddp", f"train.batch_size={64 * cards}"]
    quick = ["--quick"] if tiny else []
    return [
        Part("tests", _pytest(), 110, _read_tests),
        Part("run", _undertow("run", *sets, "train.devices=1"), 60, _read_run),
        Part("study", _undertow("study run", *sets, *study), 90, _read_study),
        Part("ddp", _undertow("run", *sets, *ddp), 60, _read_run),
        Part("bf16", _undertow("run", *sets, "train.devices=1", "train.precision=bf16-mixed"), 60, _read_run),
        Part("bench", _bench("device", *quick), 100, _read_bench),
        Part("packs", _bench("pack_device", *quick), 100, _read_bench),
        Part("bench-more", _bench("steps", "gradient", "cells", *quick), 300, _read_bench),
    ]


def _pytest() -> list[str]:
    """The tests in this folder."""
    return [
        *(sys.executable, "-m", "pytest", "-q", "-rN", "-p", "no:cacheprovider"),
        *("-c", str(_TESTS.parent / "pyproject.toml"), "--rootdir", str(_TESTS.parent)),
        *("--timeout", "60", str(_TESTS / "gpu")),
    ]


def _undertow(words: str, *overrides: str) -> list[str]:
    return [_UNDERTOW, *words.split(), _SMALL, "--json", "--quiet", *(w for each in overrides for w in ("--set", each))]


def _bench(*words: str) -> list[str]:
    return [sys.executable, str(_TESTS / "benchmarks" / "run.py"), "--json", _BENCH, "--only", *words]


def _read_tests(output: str, folder: Path) -> Reading:
    """The counts of pytest's last line."""
    counts = dict(re.findall(r"(\d+) (passed|failed|skipped|error)", output.rstrip().rpartition("\n")[2]))
    numbers = {name: int(count) for count, name in counts.items()}
    return Reading(", ".join(f"{count} {name}" for name, count in numbers.items()), numbers)


def _read_run(output: str, folder: Path) -> Reading:
    document = json.loads(output)
    metrics = document["metrics"]
    rate = metrics["cost/steps_per_second"]
    summary = f"{document['steps']} steps, {rate:.3g} steps/s, val/loss {metrics['val/loss']:.4g}"
    return Reading(summary, {"steps": document["steps"], "metrics": metrics})


def _read_study(output: str, folder: Path) -> Reading:
    trials = json.loads(output)["trials"]
    complete = [trial for trial in trials if trial["state"] == "complete"]
    kept = ("params", "state", "reason", "seconds", "metrics")
    numbers = {"trials": [{name: trial[name] for name in kept} for trial in trials]}
    return Reading(f"{len(complete)} of {len(trials)} trials complete, gpus_per_trial 0.25", numbers)


def _read_bench(output: str, folder: Path) -> Reading:
    file = folder / _BENCH
    rows = json.loads(file.read_text("utf-8"))["rows"] if file.exists() else []
    return Reading(f"{len(rows)} rows", {"rows": rows})
