"""A process of a run over several devices, and the process that started it."""

import os
from typing import Any

import pytest

from undertow._system.stopping import StopRequest
from undertow.runs import process


class Gone:
    def is_alive(self) -> bool:
        return False


def test_a_process_that_hangs_does_not_outlive_the_one_that_started_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[Any] = []
    waited: list[float] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    monkeypatch.setattr("time.sleep", waited.append)
    stop = StopRequest()
    process._stop_with_the_run(Gone(), stop)  # type: ignore[arg-type]
    assert stop.reason == "the end of the process that started it"
    assert waited == [30.0], "it is given time to save itself"
    assert ended == [1]
