"""A sample of the crash points that `make crash` visits, evenly spread, and what each fault that they found looks like.

Commands are crashed after the n-th change of their home, and continued: see `run.py` beside this file.
"""

import os
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


def crash(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, _RUN, *arguments], capture_output=True, text=True, check=False, timeout=600, env=os.environ
    )


@pytest.mark.parametrize(("scenario", "points"), [("run", 9), ("sync", 9), ("study", 6)])
def test_a_command_that_crashed_anywhere_continues_to_the_same_record(scenario: str, points: int) -> None:
    done = crash(scenario, "--sample", str(points))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{scenario} names: {points} of {points} points, 0 failed" in done.stdout
