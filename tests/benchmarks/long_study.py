"""Cost of a study of thousands of trials: of a late trial against an early one, and of `status` and `report`.

Its trials train almost nothing, so that the time is that of everything around the training. It takes five minutes,
and runs only when asked for by `--only long_study`.
"""

import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.command import run
from benchmarks.row import Row

_UNDERTOW = str(Path(sys.executable).with_name("undertow"))
_NAME = "long"


def measure(quick: bool) -> list[Row]:
    """The cost of a late trial over that of an early one, and the seconds of `status` and `report` afterwards."""
    count, early, late = (12, (2, 7), (7, 12)) if quick else (2000, (10, 200), (1800, 2000))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = {k: v for k, v in os.environ.items() if k not in ("MLFLOW_TRACKING_URI", "UNDERTOW_STUDY_URI")}
        environment["UNDERTOW_HOME"] = str(folder / "home")

        def seconds(*words: str) -> float:
            return run([_UNDERTOW, "study", *words], folder=folder, environment=environment).wall

        (folder / "long.yaml").write_text(json.dumps(_experiment(count)), encoding="utf-8")
        command = [_UNDERTOW, "study", "run", "long.yaml", "--quiet", "--json"]
        spent = run(command, folder=folder, environment=environment)
        ends = _ends(json.loads(spent.output)["trials"])
        if len(ends) != count:
            raise RuntimeError(f"{len(ends)} of {count} trials left a result")
        status = [seconds("status", _NAME, "--json") for _ in range(3)]
        report = [seconds("report", _NAME) for _ in range(3)]
    each = {part: (ends[part[1] - 1] - ends[part[0] - 1]) / (part[1] - part[0]) for part in (early, late)}
    of = f"of a study of {count} trials"
    return [
        Row(
            "long_study",
            "cost of a late trial / an early one",
            "x",
            [each[late] / each[early]],
            at_most=1.25,
            detail=f"{1e3 * each[late]:.0f} / {1e3 * each[early]:.0f} ms from one end to the next, 2 at a time; "
            f"trials {_span(late)} and {_span(early)} {of}, {spent.wall:.0f} s in all",
        ),
        Row("long_study", f"undertow study status {of}", "s", status, at_most=1.5, detail="wall time"),
        Row("long_study", f"undertow study report {of}", "s", report, at_most=20.0, detail="wall time"),
    ]


def _experiment(count: int) -> Mapping[str, object]:
    """A configuration file: one step of one hidden unit, many times."""
    return {
        "task": {"name": "adding", "length": 2},
        "cell": {"name": "rnn", "hidden_size": 1},
        "train": {
            "max_steps": 1,
            "batch_size": 1,
            "val_every": 1,
            "val_examples": 1,
            "log_every": 1,
            "accelerator": "cpu",
            "threads": 1,
        },
        "probes": [],
        "study": {"name": _NAME, "vary": {"seed": list(range(count))}, "workers": 2},
    }


def _ends(trials: Sequence[Mapping[str, str]]) -> list[float]:
    """When each trial wrote its result, the earliest first."""
    files = [Path(trial["folder"]) / "result.json" for trial in trials if trial["state"] == "complete"]
    return sorted(file.stat().st_mtime for file in files)


def _span(part: tuple[int, int]) -> str:
    return f"{part[0]} to {part[1]}"
