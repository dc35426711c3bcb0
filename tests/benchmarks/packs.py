"""Cost of a replicate in a pack against a single run, on one thread of a CPU: the whole training step, and memory.

A step is forward, backward, optimiser and the batch of its task, which is new at every step. A single network runs
each way that it has: as the platform runs it, by its steps, and with torch's own kernel; the fastest counts. A pack
runs the way that `Choice` decides from its first steps, as in a run.
S replicates, T time, B batch, H hidden.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.peers.network import Network
from benchmarks.row import Row
from benchmarks.timing import Seconds, interleaved, ratios_of_minima
from undertow import Batch, Task
from undertow.api.contract import Scans
from undertow.config.load import LoadedExperiment, load_mapping
from undertow.nn import build_model, build_task
from undertow.nn.model import SequenceModel
from undertow.nn.pack import Pack
from undertow.plugins.host import load_plugins
from undertow.train.optim import build_optimizer
from undertow.train.pack.choice import ROUNDS, Choice

_CELLS = {"rnn": 3.0, "gru": 2.0, "lstm": None}
"""Those that torch has kernels for, and their targets."""
_PACK = "pack"
_AT_ONCE = 5  # rounds, of which the fastest counts

_PEAK = """
import atexit, sys
from pathlib import Path
atexit.register(lambda: print([line.split()[1] for line in Path("/proc/self/status").read_text().splitlines()
                               if line.startswith("VmHWM:")][0], file=sys.stderr))
from undertow.cli import main
sys.exit(main(sys.argv[1:]))
"""

Ways = Mapping[str, Callable[[], object]]


def measure(quick: bool) -> list[Row]:
    """Time of single runs over that of a pack, and memory of a pack over that of single runs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [*_every_cell(quick), *_against_kernels(quick), *_memory(quick)]
    finally:
        torch.set_num_threads(threads)


def _every_cell(quick: bool) -> list[Row]:
    """A row for each cell of undertow-cells, and the median of those that only have steps."""
    S, T, B, H = (2, 10, 4, 4) if quick else (8, 100, 32, 32)
    rows, stepped = [], []
    for name in sorted(load_plugins(allow=["undertow-cells"], strict=True).cells):
        row = _row(name, S, T, B, H, quick)
        rows.append(row)
        if not isinstance(build_model(loaded := _loaded(name, T, H), build_task(loaded)).layers[0], Scans):
            stepped.append(row.samples)
    by_round = [median(each) for each in zip(*stepped, strict=True)]
    name = f"{S} single runs / pack, H={H}: median of the cells that only have steps"
    return [*rows, Row("packs", name, "x", by_round, at_least=2.5, detail=f"{len(stepped)} cells")]


def _against_kernels(quick: bool) -> list[Row]:
    """Those with kernels, wider, in a pack and as a pack of one."""
    S, T, B, H = (2, 10, 4, 8) if quick else (8, 100, 32, 64)
    packed = [_row(cell, S, T, B, H, quick, at_least) for cell, at_least in _CELLS.items()]
    return [*packed, *(_row(cell, 1, T, B, H, quick, 0.9) for cell in _CELLS)]


def _row(cell: str, S: int, T: int, B: int, H: int, quick: bool, at_least: float | None = None) -> Row:
    singles, pack = _single_steps(cell, T, B, H), PackSteps(cell, S, T, B, H)
    for _ in range(2 * ROUNDS):
        pack.step()
    ways = {name: _times(S, step) for name, step in singles.items()} | {_PACK: pack.step}
    at_once = 1 if quick else _AT_ONCE
    seconds = interleaved(ways, 2 if quick else 3 * at_once, time.process_time)
    fastest = min(singles, key=lambda name: min(seconds[name]))
    runs = f"{S} single runs" if S > 1 else "single run"
    return Row(
        "packs",
        f"{runs} / pack{'' if S > 1 else ' of one'}, H={H}: {cell}",
        "x",
        ratios_of_minima(seconds, fastest, _PACK, at_once),
        at_least=at_least,
        detail=f"{_minima(seconds, fastest, _PACK)}; single runs {fastest}, pack {pack.way}; {T=} {B=}; "
        "CPU seconds, one thread",
    )


def _times(S: int, step: Callable[[], object]) -> Callable[[], None]:
    """The step S times: one network's memory is as warm as that of a process that trains nothing else."""

    def steps() -> None:
        for _ in range(S):
            step()

    return steps


def _single_steps(cell: str, T: int, B: int, H: int) -> Ways:
    """A training step by each way that a single network has, by its name."""
    loaded = _loaded(cell, T, H)
    task = build_task(loaded)
    model = build_model(loaded, task)
    ways = {"as the platform runs them": _single_step(loaded, task, model, B)}
    if isinstance(model.layers[0], Scans):
        by_steps = build_model(loaded, task)
        step = _single_step(loaded, task, by_steps, B)

        def stepped() -> None:
            with by_steps.stepping():
                step()

        ways["by steps"] = stepped
    if cell in _CELLS:
        ways["by torch's kernel"] = _single_step(loaded, task, Network(H, cell), B)
    return ways


def _single_step(loaded: LoadedExperiment, task: Task, model: nn.Module, B: int) -> Callable[[], None]:
    optimizer = build_optimizer(loaded.config.optim, model.parameters(), loaded.registry)
    batches = _batches([task], B)

    def step() -> None:
        [batch] = next(batches)
        optimizer.zero_grad(set_to_none=True)
        _loss(model(batch.input), batch.target).backward()
        optimizer.step()

    return step


class PackSteps:
    """Training steps of a pack, each network on data of its own.

    Args:
        cell: Name of the cell.
        S: Networks.
        T: Time steps of the adding task.
        B: Examples of one batch for each.
        H: Width.
        device: Where.
        mixed: Forward in bfloat16, as `bf16-mixed` does.
    """

    def __init__(self, cell: str, S: int, T: int, B: int, H: int, device: str = "cpu", *, mixed: bool = False) -> None:
        loaded = [_loaded(cell, T, H, seed) for seed in range(S)]
        tasks = [build_task(each) for each in loaded]
        models: list[SequenceModel] = []
        for each, task in zip(loaded, tasks, strict=True):
            torch.manual_seed(each.config.seed)
            models.append(build_model(each, task))
        self._device = device
        self._mixed = mixed
        self._batches = _batches(tasks, B)
        self._pack = Pack(models).to(device)
        self._optimizer = build_optimizer(loaded[0].config.optim, self._pack.parameters(), loaded[0].registry)
        self._choice = Choice(self._pack, on_gpu=device == "cuda")

    @property
    def way(self) -> str:
        """How the networks are run."""
        return "side by side" if self._pack.together else "one by one"

    def step(self) -> None:
        """Train one step; the first ones find out how the networks are run."""
        self._choice.begin()
        batches = next(self._batches)
        input = torch.stack([batch.input for batch in batches]).to(self._device)
        target = torch.stack([batch.target for batch in batches]).to(self._device)
        self._optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self._device, torch.bfloat16, enabled=self._mixed):
            loss = len(batches) * _loss(self._pack(input), target)  # the sum of the replicates' means
        loss.backward()
        if not self._pack.together:
            self._pack.collect_gradients()
        self._optimizer.step()
        self._choice.end()


def _loss(output: Tensor, target: Tensor) -> Tensor:
    return (output - target).square().mean()


def _batches(tasks: Sequence[Task], B: int) -> Iterator[list[Batch]]:
    """Training batches without end, one of each task."""
    for number in count():
        yield [task.batch("train", np.arange(number * B, (number + 1) * B)) for task in tasks]


def _loaded(cell: str, T: int, H: int, seed: int = 0) -> LoadedExperiment:
    return load_mapping(
        {"task": {"name": "adding", "length": T}, "cell": {"name": cell, "hidden_size": H}, "seed": seed, "probes": []}
    )


def _minima(seconds: Seconds, *names: str) -> str:
    return " / ".join(f"{1e3 * min(seconds[name]):.3g}" for name in names) + " ms"


def _memory(quick: bool) -> list[Row]:
    """The most memory of a process that trains a pack, over that of S processes that train a network each."""
    S, T, B, H = (2, 10, 4, 4) if quick else (8, 100, 32, 64)
    rows = []
    for cell in ("lstm",) if quick else ("lstm", "mgu"):
        name = f"memory: pack / {S} single runs in processes of their own, {cell}"
        if sys.platform != "linux":
            rows.append(Row("packs", name, "x", skipped="the system does not tell the peak of a process"))
            continue
        single, pack = _peak(cell, T, B, H), _peak(cell, T, B, H, "--seeds", str(S))
        detail = f"{pack / 1024:.0f} MiB / {S} x {single / 1024:.0f} MiB, peak of resident memory; {T=} {B=} {H=}"
        rows.append(Row("packs", name, "x", [pack / (S * single)], at_most=0.5, detail=detail))
    return rows


def _peak(cell: str, T: int, B: int, H: int, *words: str) -> int:
    """KiB of `undertow run`, without the processes that it starts."""
    experiment = {
        "task": {"name": "adding", "length": T},
        "cell": {"name": cell, "hidden_size": H},
        "train": {"max_steps": 20, "batch_size": B, "val_every": 20, "accelerator": "cpu", "threads": 1},
    }
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "experiment.yaml").write_text(json.dumps(experiment), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-c", _PEAK, "run", "experiment.yaml", "--quiet", "--json", *words],
            cwd=folder,
            env=environment | {"UNDERTOW_HOME": str(Path(folder) / "home")},
            capture_output=True,
            text=True,
            check=True,
        )
    return int(done.stderr.split()[-1])
