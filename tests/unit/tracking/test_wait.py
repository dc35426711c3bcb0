"""How long a shipper is waited for: as long as something moves, or could not."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from undertow.tracking.shipping.wait import Patience

SHIPPER = """
import sys
from pathlib import Path
from undertow.tracking.folder import shipper_lock
from undertow._system.lock import FileLock
assert FileLock(shipper_lock(Path(sys.argv[1]))).acquire()
print("ready", flush=True)
while sys.argv[2] == "at work":
    pass
sys.stdin.read()
"""


def lasts(home: Path, seconds: float, limit: float, *stands: object) -> float:
    """For how long a patience of some seconds lasts while the stand goes through some, ten a second."""
    begun = time.monotonic()
    with Patience(home, seconds) as patience:
        while not patience.ends(stands[0]) and time.monotonic() < begun + limit:
            stands = stands[1:] or stands
            time.sleep(0.1)
    return time.monotonic() - begun


def test_patience_ends_when_nothing_has_moved_for_long_enough(tmp_path: Path) -> None:
    assert 0.5 <= lasts(tmp_path, 0.5, 20.0, 7) < 20.0


def test_patience_lasts_as_long_as_something_moves(tmp_path: Path) -> None:
    assert lasts(tmp_path, 0.5, 20.0, *range(15)) >= 1.9


@pytest.mark.parametrize(("doing", "lasting"), [("at work", True), ("asleep", False)])
def test_patience_lasts_as_long_as_the_shipper_is_at_work(tmp_path: Path, doing: str, lasting: bool) -> None:
    if not Path("/proc/self/schedstat").exists():
        pytest.skip("this system does not say how long a process was at work")
    command = [sys.executable, "-c", SHIPPER, str(tmp_path), doing]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as shipper:
        try:
            assert shipper.stdout is not None
            assert shipper.stdout.readline() == "ready\n"
            assert (lasts(tmp_path, 0.5, 3.0, 7) >= 3.0) == lasting
        finally:
            shipper.kill()
