"""A request to stop: which signals make it, and what a process has after it no longer listens."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from undertow._system.stopping import SIGNALS, StopRequest


@pytest.fixture(autouse=True)
def handlers_restored() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_each_signal_requests_a_stop_and_the_handler_from_before_is_restored(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    stop = StopRequest()
    with stop.listening():
        os.kill(os.getpid(), number)
        assert stop.reason == number.name
    assert signal.getsignal(number) is before


def test_sighup_that_was_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stop = StopRequest()
    with stop.listening():
        stop.take_over()
        os.kill(os.getpid(), signal.SIGHUP)
        assert stop.reason is None


LISTENER = """
import os, signal
from undertow._system.stopping import StopRequest, signals_blocked

stop = StopRequest()
with signals_blocked():
    os.kill(os.getpid(), signal.SIGTERM)
    with stop.listening():
        assert stop.reason == "SIGTERM", stop.reason
    assert signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, ())
assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
"""


def test_a_signal_that_came_before_a_process_listens_is_not_lost() -> None:
    """In a process with one thread: the mask is that of a thread, and a process gets a signal by any of them."""
    done = subprocess.run([sys.executable, "-c", LISTENER], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
