"""A sample of the crash points that `make crash` visits: commands that die after the n-th change of their home.

How they are crashed, continued and compared: `run.py` beside this file. A failed point is printed with the arguments
that repeat it.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_RUN = Path(__file__).with_name("run.py")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the library for LD_PRELOAD needs Linux"),
    pytest.mark.skipif(not (shutil.which("cc") or shutil.which("gcc")), reason="no C compiler (`cc`): install gcc"),
]


def crash(*arguments: str) -> str:
    command = [sys.executable, _RUN, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=840)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(("scenario", "points"), [("run", 6), ("sync", 5), ("study", 4)])
def test_a_command_that_crashed_anywhere_continues_to_the_same_record(scenario: str, points: int) -> None:
    printed = crash(scenario, "--sample", str(points))
    for mode in ("kill", "torn", "cut", "names"):
        assert f"{scenario} {mode}: {points} of {points} points, 0 failed" in printed


def test_a_run_that_is_killed_at_its_start_or_its_end_has_its_whole_record() -> None:
    # A run without its parameters, without its plugins, or KILLED although its result said FINISHED.
    printed = crash("run", "--mode", "kill", "--match", r"(mkdir|rename) .*plugins|rename .*\.json|write .*outbox")
    assert "0 failed" in printed


def test_what_is_marked_as_done_before_it_is_flushed_fails_at_the_right_points() -> None:
    done = subprocess.run([sys.executable, _RUN, "lossy"], capture_output=True, text=True, check=False, timeout=840)
    assert done.returncode == 1, done.stdout + done.stderr
    failed = [line.partition(": ")[0] for line in done.stdout.splitlines() if line.startswith("FAILED")]
    points = {"cut": [5], "names": [3, 4, 5]}
    assert failed == [f"FAILED lossy --mode {mode} --at {point}" for mode in points for point in points[mode]]
