"""Training steps a second: the platform with everything on, a bare loop, and Lightning with MLflow's own logger.

All three train the same weights on the same batches, and end at the same loss. Each runs in a process of its own, in
turns; a round is one process each. The clock starts when step `first` is done and stops with step `last`. What the
platform does in between is timed with the rest: recording and shipping, gradient profiles, saving. Validation is not:
it would be the same work for all, so the platform's only one is due after the clock has stopped.
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from statistics import median

from benchmarks.row import Row
from benchmarks.setting import Outcome, Setting

_BARE, _PLATFORM, _PEER = "bare", "undertow_run", "lightning_mlflow"
_TESTS = Path(__file__).parents[1]
_LOSSES_AGREE = 1e-3  # relative; two orders of adding the same float32 numbers differ by far less, other work by more


def measure(quick: bool) -> list[Row]:
    """Steps a second of the platform and of its peer over those of the bare loop."""
    setting, rounds = Setting(), 3
    if quick:
        setting, rounds = Setting(32, 8, 16, first=20, last=60, profile_every=20, save_every=40), 1
    outcomes: dict[str, list[Outcome]] = {_BARE: [], _PLATFORM: [], _PEER: []}
    for _ in range(rounds):
        for name, results in outcomes.items():
            results.append(_run(name, setting))
    _expect_equal_work(outcomes)
    rates = {name: [o.steps_per_second for o in results] for name, results in outcomes.items()}
    whole = {name: [o.steps_per_second_from_start for o in results] for name, results in outcomes.items()}
    sizes = f"T={setting.length} B={setting.batch_size} H={setting.hidden_size}"
    return [
        Row(
            "loop",
            "platform / bare loop, steps/s",
            "x",
            _ratios(rates, _PLATFORM),
            at_least=0.9,
            detail=f"{_medians(rates, _PLATFORM)}; {sizes}; steps {setting.first} to {setting.last}, a profile every "
            f"{setting.profile_every}, a checkpoint every {setting.save_every}",
        ),
        Row(
            "loop",
            "platform / bare loop, from the start",
            "x",
            _ratios(whole, _PLATFORM),
            detail=f"{_medians(whole, _PLATFORM)}; steps {setting.early} to {setting.last}, beside the shipper's start",
        ),
        Row(
            "loop",
            "Lightning + MLFlowLogger / bare loop",
            "x",
            _ratios(rates, _PEER),
            detail=f"{_medians(rates, _PEER)}; logs every step to SQLite; no profiles, no saving",
        ),
    ]


def _run(name: str, setting: Setting) -> Outcome:
    """One contestant, in a process of its own, in a folder of its own."""
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"} | {"PYTHONPATH": str(_TESTS)}
    command = [sys.executable, "-m", f"benchmarks.peers.{name}", json.dumps(asdict(setting))]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with exit code {done.returncode}:\n{done.stdout}{done.stderr}")
    return Outcome(**json.loads(done.stdout.splitlines()[-1]))


def _expect_equal_work(outcomes: dict[str, list[Outcome]]) -> None:
    """Check that both trained the same: otherwise the ratio is meaningless."""
    expected = outcomes[_BARE][0].loss
    for name, results in outcomes.items():
        for outcome in results:
            if abs(outcome.loss - expected) > _LOSSES_AGREE * abs(expected):
                raise RuntimeError(f"{name} ends at a loss of {outcome.loss:.6g}, the bare loop at {expected:.6g}")


def _ratios(rates: dict[str, list[float]], name: str) -> list[float]:
    return [a / b for a, b in zip(rates[name], rates[_BARE], strict=True)]


def _medians(rates: dict[str, list[float]], name: str) -> str:
    return f"{median(rates[name]):.3g} / {median(rates[_BARE]):.3g} per s"
