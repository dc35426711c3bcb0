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
_POINTS = 3  # of each command in each mode; a change of the platform moves them

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the library for LD_PRELOAD needs Linux"),
    pytest.mark.skipif(not (shutil.which("cc") or shutil.which("gcc")), reason="no C compiler (`cc`): install gcc"),
]


def crash(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, _RUN, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=840)


@pytest.fixture(scope="module")
def sample() -> str:
    """What is printed for some points of every command, from one process: its imports take most of the time."""
    done = crash("run", "sync", "study", "lossy", "--sample", str(_POINTS))
    assert "lossy names: 3 of 3 points" in done.stdout, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("command", ["run", "sync", "study"])
def test_a_command_that_crashed_anywhere_continues_to_the_same_record(sample: str, command: str) -> None:
    for mode in ("kill", "torn", "cut", "names"):
        assert f"{command} {mode}: {_POINTS} of {_POINTS} points, 0 failed" in sample, sample


def test_what_is_marked_as_done_before_it_is_flushed_fails_at_the_right_points(sample: str) -> None:
    failed = [line.partition(": ")[0] for line in sample.splitlines() if line.startswith("FAILED lossy")]
    points = {"cut": [5], "names": [3, 5]}
    assert failed == [f"FAILED lossy --mode {mode} --at {point}" for mode in points for point in points[mode]]


@pytest.mark.long
def test_a_run_that_crashed_at_its_start_or_its_end_has_its_whole_record() -> None:
    # It was without parameters or plugins; its copy of a plugin was empty; it was KILLED although it had finished.
    points = r"rename .*(plugins/|run\.json|code\.json|result\.json)|write .*outbox"
    done = crash("run", "--mode", "kill", "--mode", "names", "--match", points, "--sample", "8")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "run names: 8 of 8 points, 0 failed" in done.stdout
