"""Cost of a study: the platform's, the bare loops of the same work, and the same study written by hand.

All three train the combinations of `study.yaml` in two processes with one thread each, on the CPU, and must come to the
same losses, combination by combination. They run in turns, and are timed as their user waits for them: from the command
to its end, start-up included. The platform trains the seeds of a combination in packs, as it does by itself; what a run
costs that is trained singly is measured with `study.pack: off`.
"""

import json
import os
import sqlite3
import sys
import tempfile
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from benchmarks.command import Spent, run
from benchmarks.grid import Combination, Grid, Outcome, Report
from benchmarks.row import Row

_FILE = Path(__file__).with_name("study.yaml")
_TESTS = Path(__file__).parents[1]
_UNDERTOW = str(Path(sys.executable).with_name("undertow"))
_BARE, _PLATFORM, _PEER = "bare_study", "undertow", "optuna_lightning_mlflow"
_LOSSES_AGREE = 1e-3  # relative; two orders of adding the same float32 numbers differ by far less, other work by more
_LIMIT = 300.0  # seconds for the peer with torch's own number of threads
_FEW, _MORE = (("study.pack=off", f"study.vary.seed={seeds}") for seeds in ("[0]", "[0, 1]"))
_TINY = (
    "cell.hidden_size=4",
    "train.max_steps=3",
    "train.val_every=3",
    "train.val_examples=8",
    "train.batch_size=4",
    "study.vary={cell.name: [rnn, lstm], task.length: [10], seed: [0, 1]}",
)


@dataclass(frozen=True)
class Round:
    """Time of each contestant in one round, by its name.

    Attributes:
        whole: On the whole grid.
        few: On the first seed alone, every run singly.
        more: On two seeds likewise; the difference is what a run costs, without any start-up.
        bare_loops: Seconds of the bare loops of the whole grid, without their start-up.
    """

    whole: dict[str, Spent]
    few: dict[str, Spent]
    more: dict[str, Spent]
    bare_loops: float


def measure(quick: bool) -> list[Row]:
    """Wall time and CPU time of the platform's study, over the bare loops' and the peer's."""
    tiny = _TINY if quick else ()
    grid, few, more = (Grid.read(_FILE, [*tiny, *part]) for part in ((), _FEW, _MORE))
    rounds = [_round(tiny, grid, few, more) for _ in range(1 if quick else 3)]
    count, added = len(grid.combinations()), len(more.combinations()) - len(few.combinations())
    sizes = (
        f"{count} combinations, {grid.workers} processes, T={'/'.join(map(str, grid.lengths))} H={grid.hidden_size} "
        f"B={grid.batch_size}, {grid.train_batches} training and {grid.val_batches} validation steps each"
    )
    wall = {name: [each.whole[name].wall for each in rounds] for name in (_BARE, _PLATFORM, _PEER)}
    loops = [each.bare_loops for each in rounds]
    cpu = {name: [(each.more[name].cpu - each.few[name].cpu) / added for each in rounds] for name in (_BARE, _PLATFORM)}
    return [
        Row(
            "study",
            "study / bare loops, wall time",
            "x",
            _ratios(wall[_PLATFORM], wall[_BARE]),
            at_most=0.75,
            detail=f"{_medians(wall[_PLATFORM], wall[_BARE])}, from command to end; {sizes}",
        ),
        Row(
            "study",
            "study / bare loops without start-up",
            "x",
            _ratios(wall[_PLATFORM], loops),
            detail=f"{_medians(wall[_PLATFORM], loops)}; the study's start-up counts, the bare loops' does not",
        ),
        Row(
            "study",
            "Optuna + Lightning + MLflow / bare loops, wall time",
            "x",
            _ratios(wall[_PEER], wall[_BARE]),
            detail=f"{_medians(wall[_PEER], wall[_BARE])}; by hand; logs every step; no saving, no report",
        ),
        Row(
            "study",
            "study / Optuna + Lightning + MLflow, trials a minute",
            "x",
            _ratios(wall[_PEER], wall[_PLATFORM]),
            at_least=2.5,
            detail=" / ".join(f"{60 * count / median(wall[name]):.3g}" for name in (_PLATFORM, _PEER)) + " a minute",
        ),
        _with_default_threads(grid, wall[_PLATFORM], quick),
        Row(
            "study",
            "CPU time of a single trial beyond its training",
            "s",
            [a - b for a, b in zip(cpu[_PLATFORM], cpu[_BARE], strict=True)],
            at_most=0.5,
            detail=f"{_medians(cpu[_PLATFORM], cpu[_BARE])} of all processes for one more trial, bare loops second; "
            f"study.pack: off; {2 * added} trials less {added}, so that start-up is in neither",
        ),
    ]


def _round(tiny: tuple[str, ...], grid: Grid, few: Grid, more: Grid) -> Round:
    """Each contestant once on the whole grid and, but for the peer, once on two parts of it, all in turns."""
    bare = _by_hand(_BARE, grid)
    platform = _by_platform(tiny)
    peer = _by_hand(_PEER, grid)
    bare_few = _by_hand(_BARE, few)
    platform_few = _by_platform((*tiny, *_FEW))
    bare_more = _by_hand(_BARE, more)
    platform_more = _by_platform((*tiny, *_MORE))
    _expect_equal_work(grid, bare[1].outcomes, {_PLATFORM: platform[1], _PEER: peer[1].outcomes})
    _expect_equal_work(few, bare_few[1].outcomes, {_PLATFORM: platform_few[1]})
    _expect_equal_work(more, bare_more[1].outcomes, {_PLATFORM: platform_more[1]})
    return Round(
        whole={_BARE: bare[0], _PLATFORM: platform[0], _PEER: peer[0]},
        few={_BARE: bare_few[0], _PLATFORM: platform_few[0]},
        more={_BARE: bare_more[0], _PLATFORM: platform_more[0]},
        bare_loops=bare[1].seconds,
    )


def _by_platform(overrides: tuple[str, ...]) -> tuple[Spent, dict[str, Outcome]]:
    """`undertow study run`, in a folder of its own."""
    command = [_UNDERTOW, "study", "run", str(_FILE), "--workers", "2", "--json"]
    for override in overrides:
        command += ["--set", override]
    with tempfile.TemporaryDirectory() as folder:
        spent = run(command, folder=Path(folder), environment=_environment(Path(folder)))
    outcomes = {}
    for trial in json.loads(spent.output)["trials"]:
        params, metrics = trial["params"], trial["metrics"]
        name = Combination(params["cell.name"], params["task.length"], params["seed"]).name
        outcomes[name] = Outcome(metrics["train/loss"], metrics["val/loss"])
    return spent, outcomes


def _by_hand(name: str, grid: Grid) -> tuple[Spent, Report]:
    """One of `peers`, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        spent = run(_command(name, grid), folder=Path(folder), environment=_environment(Path(folder)))
    return spent, Report.from_output(spent.output)


def _with_default_threads(grid: Grid, platform: list[float], quick: bool) -> Row:
    """The peer again, with torch's default number of threads."""
    name = "the same, the peer with torch's default threads"
    if quick:
        return Row("study", name, "x", skipped=f"it takes up to {_LIMIT:.0f} s")
    count = len(grid.combinations())
    with tempfile.TemporaryDirectory() as folder:
        command = _command(_PEER, replace(grid, threads=None))
        spent = run(command, folder=Path(folder), environment=_environment(Path(folder)), limit=_LIMIT)
        with closing(sqlite3.connect(Path(folder) / "optuna.db")) as database:
            (done,) = database.execute("SELECT COUNT(*) FROM trials WHERE state = 'COMPLETE'").fetchone()
    how_far = f"{done} of {count} trials in {spent.wall:.0f} s"
    if not done:
        return Row("study", name, "x", skipped=how_far)
    rate = done / spent.wall
    return Row("study", name, "x", [count / seconds / rate for seconds in platform], detail=how_far)


def _command(name: str, grid: Grid) -> list[str]:
    return [sys.executable, "-m", f"benchmarks.peers.{name}", grid.as_argument()]


def _environment(folder: Path) -> dict[str, str]:
    """The environment without variables that name a store or a number of threads."""
    chosen = ("MLFLOW_TRACKING_URI", "UNDERTOW_STUDY_URI", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    path = os.pathsep.join(each for each in (str(_TESTS), os.environ.get("PYTHONPATH")) if each)
    return {name: value for name, value in os.environ.items() if name not in chosen} | {
        "PYTHONPATH": path,
        "UNDERTOW_HOME": str(folder / "home"),
    }


def _expect_equal_work(grid: Grid, expected: dict[str, Outcome], by_name: dict[str, dict[str, Outcome]]) -> None:
    """Check that all trained and validated the same: otherwise the ratios are meaningless."""
    combinations = {each.name for each in grid.combinations()}
    for name, outcomes in {_BARE: expected, **by_name}.items():
        if outcomes.keys() != combinations:
            raise RuntimeError(f"{name} trained {sorted(outcomes)}, expected {sorted(combinations)}")
        for combination, outcome in outcomes.items():
            right = expected[combination]
            pairs = ((outcome.train_loss, right.train_loss), (outcome.val_loss, right.val_loss))
            if not all(abs(got - due) <= _LOSSES_AGREE * abs(due) for got, due in pairs):
                raise RuntimeError(f"{combination}: {name} ends at {outcome}, the bare loop at {right}")


def _ratios(seconds: list[float], reference: list[float]) -> list[float]:
    return [a / b for a, b in zip(seconds, reference, strict=True)]


def _medians(*seconds: list[float]) -> str:
    return " / ".join(f"{median(each):.3g}" for each in seconds) + " s"
