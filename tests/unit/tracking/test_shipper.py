"""The shipper's process: how often it sends, and what it imports."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from undertow.tracking.shipping import shipper as module
from undertow.tracking.shipping.shipper import Shipper

_SHIP = """
import json, sys
from undertow.tracking.shipping import shipper
shipper.main([sys.argv[1], "--poll", "0.1"])
print(json.dumps(sorted(name for name, module in sys.modules.items() if module is not None)))
"""


@pytest.fixture
def rests(place, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """How long a shipper with two open runs waits after each of its rounds, which take half a CPU second."""
    spent, waits = [0.0], []
    monkeypatch.setattr(time, "process_time", lambda: spent[0])
    monkeypatch.setattr(module.select, "select", lambda *lists: (waits.append(lists[3]), ([], [], []))[1])
    monkeypatch.setattr(Shipper, "_ship", lambda self, delivery: spent.__setitem__(0, spent[0] + 0.25))
    folders = [place.new_run(name) for name in ("a", "b")]
    reading, writing = os.pipe()
    shipper = Shipper(place.path, reading, poll=1.0)
    for _ in range(3):
        shipper._round()
        shipper._sleep()
    yield waits
    for folder in folders:
        folder.release()
    os.close(reading)
    os.close(writing)


def test_it_rests_nineteen_times_as_long_as_it_worked_but_not_after_it_has_opened_the_store(rests: list[float]) -> None:
    assert rests == [1.0, 9.5, 9.5]


def test_it_ships_without_pandas(place) -> None:
    folder = place.new_run()
    place.write(folder, rows=20)
    folder.release()
    done = subprocess.run(
        [sys.executable, "-c", _SHIP, str(place.path)],
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    assert folder.shipped, done.stderr
    assert place.rows() == 20
    imported = json.loads(done.stdout)
    assert "mlflow" in imported
    assert "pandas" not in imported
