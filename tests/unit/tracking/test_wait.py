"""How long a process waits for a shipper: a stored record or a heartbeat restarts the timer."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from undertow.tracking.folder import shipper_lock
from undertow.tracking.shipping import wait
from undertow.tracking.shipping.wait import Heartbeat, StallTimer


class Clock:
    """A clock that the test moves; heartbeats of the shipper carry its time."""

    def __init__(self, home: Path) -> None:
        self.now = 1000.0
        self.lock = shipper_lock(home)
        self.lock.touch()

    def __call__(self) -> float:
        return self.now

    def heartbeat(self) -> None:
        os.utime(self.lock, (self.now, self.now))


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock(tmp_path)
    monkeypatch.setattr(wait, "monotonic", made)
    return made


def test_the_timer_expires_when_nothing_changes(tmp_path: Path, clock: Clock) -> None:
    timer = StallTimer(tmp_path, 20.0)
    assert not timer.expired(7)
    clock.now += 19.9
    assert not timer.expired(7)
    clock.now += 0.2
    assert timer.expired(7)


def test_a_stored_record_restarts_the_timer(tmp_path: Path, clock: Clock) -> None:
    timer = StallTimer(tmp_path, 20.0)
    for offset in range(100):
        assert not timer.expired(offset)
        clock.now += 19.0
    clock.now += 2.0
    assert timer.expired(99)


def test_a_heartbeat_restarts_the_timer_until_nothing_was_stored_for_very_long(tmp_path: Path, clock: Clock) -> None:
    timer = StallTimer(tmp_path, 20.0)
    waited = 0.0
    while not timer.expired(7):
        clock.now += 5.0
        waited += 5.0
        clock.heartbeat()
    assert waited == 600.0


def test_a_home_without_a_shipper_expires_after_the_timeout(tmp_path: Path, clock: Clock) -> None:
    timer = StallTimer(tmp_path / "empty")
    assert not timer.expired(7)
    clock.now += wait.TIMEOUT
    assert timer.expired(7)


def test_only_long_work_sends_heartbeats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, until: Callable[..., object]
) -> None:
    lock = shipper_lock(tmp_path)
    lock.touch()

    def modified() -> float:
        return lock.stat().st_mtime

    os.utime(lock, (0, 0))
    heartbeat = Heartbeat(tmp_path)
    monkeypatch.setattr(wait, "_BEAT", 1000.0)
    with heartbeat.during_work():
        assert modified() == 0, "the work began less than one interval ago"
    monkeypatch.setattr(wait, "_BEAT", 0.01)
    heartbeat = Heartbeat(tmp_path)
    with heartbeat.during_work():
        until(lambda: modified() > 0)
        os.utime(lock, (0, 0))
        until(lambda: modified() > 0)
