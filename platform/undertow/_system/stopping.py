"""A request to stop, by a signal; the work checks it between two steps, and saves before it ends.

stop = StopRequest()
with stop.listening():            # Ctrl-C, SIGTERM, SIGHUP, SIGUSR1
    while not stop.reason:
        ...

Schedulers send SIGTERM or SIGUSR1 before the time of a job is over, a terminal that is closed sends SIGHUP. Some send
them to every process of a job. The helper processes of a run, such as torchrun and data workers, must then live until
the run has saved its state: they are started in `signals_blocked`, or call `leave_signals_to_parent`.
"""

import errno
import os
import signal
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from undertow._system.stdout import real_stdout

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
"""Each requests a stop. SIGHUP does not where it was ignored when the process started: `nohup` keeps a run alive."""


class StopRequest:
    """Set by one of `SIGNALS`; the second Ctrl-C interrupts at once."""

    def __init__(self) -> None:
        self.reason: str | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle the signals inside the block; does nothing outside the main thread, which gets no signals."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in _handled()}
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self.take_over()
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            for number, handler in before.items():
                signal.signal(number, handler)

    def take_over(self) -> None:
        """Install the handlers; call it again after a fit has begun, since Lightning installs its own."""
        if threading.current_thread() is threading.main_thread():
            for number in _handled():
                signal.signal(number, self._on_signal)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.reason is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.reason = signal.Signals(number).name
        if number == signal.SIGHUP:
            leave_closed_terminal()


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Block the signals inside the block, in this thread. A process that is started in it gets none until it listens.

    This process still gets them by its other threads, if it has any: it must have handlers already.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_signals_to_parent(worker: int = 0) -> None:
    """Let this process, a data worker, live until its parent ends it, whatever signals it gets from others.

    Args:
        worker: Its number; unused.
    """
    if sys.platform == "darwin":  # which cannot tell who has sent a signal
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    else:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        threading.Thread(target=_end_by_parent, daemon=True).start()


def leave_closed_terminal() -> None:
    """Discard what is written to a terminal that was closed: the next line must not end the run before it has saved."""
    descriptors = [0, 1, 2]
    with suppress(OSError, ValueError, AttributeError):  # in memory, or closed
        descriptors.append(real_stdout().fileno())
    for descriptor in descriptors:
        try:
            termios.tcgetattr(descriptor)
        except termios.error as error:
            if error.args[0] == errno.EIO:  # other errors: it is no terminal
                nowhere = os.open(os.devnull, os.O_RDWR)
                os.dup2(nowhere, descriptor)
                os.close(nowhere)


def _handled() -> tuple[signal.Signals, ...]:
    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return tuple(number for number in SIGNALS if not (ignored and number == signal.SIGHUP))


def _end_by_parent() -> None:
    """Wait for the SIGTERM by which multiprocessing ends a process, and end."""
    if sys.platform != "darwin":
        while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
            pass
        os._exit(0)
