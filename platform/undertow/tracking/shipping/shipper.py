"""The shipper: a process beside the training that sends its outbox to MLflow while the run goes on.

    python -m undertow.tracking.shipping.shipper runs

It serves every run in the home, so that an SQLite store has a single writer; a second shipper on the same home stands
by and takes over when the first one ends. It leaves the cores to the training, until somebody waits for it. Its
standard input is a pipe from the training process: a byte wakes it up, and the end of the pipe means that the process
is gone. It then sends what is left, says KILLED for runs that died without a word, and ends; if the store is out of
reach for longer than the grace, `undertow sync` does the rest. It also ends when no run has been open for a while.
"""

import argparse
import os
import random
import select
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from undertow._system.gc import skip_final_collection
from undertow._system.lock import FileLock
from undertow.errors import RequestError
from undertow.tracking.folder import RunFolder, shipper_lock
from undertow.tracking.mlflow.errors import ParentMissing, RunBlocked, Unreachable
from undertow.tracking.mlflow.store import Store
from undertow.tracking.shipping.delivery import Delivery
from undertow.tracking.shipping.niceness import send_ahead, step_back

_SETTLE = 0.5  # seconds; a dying process closes its pipe and its locks one after the other
_HELD = 60.0  # seconds between two looks at a run that waits for a person


@dataclass
class Backoff:
    """When to try again: after 0.5 s, then twice as long each time, up to 15 s.

    It only says when, and does not sleep, since other runs and other stores need not wait.
    """

    failures: int = 0
    until: float = 0.0

    def fail(self) -> None:
        """Count a failure."""
        self.until = time.monotonic() + min(15.0, 0.5 * 2.0**self.failures) * random.uniform(0.8, 1.2)
        self.failures += 1

    @property
    def waiting(self) -> bool:
        """Whether it is too early to try again."""
        return time.monotonic() < self.until


class Shipper:
    """Serves one home.

    Args:
        home: The folder that holds the runs.
        parent: The reading end of a pipe from the process it serves.
        poll: Seconds between two looks at the outboxes.
        grace: Seconds to go on trying when the parent is gone.
        idle: Seconds without an open run after which it ends; its parent starts it again for the next one.
    """

    def __init__(self, home: Path, parent: int, *, poll: float = 1.0, grace: float = 10.0, idle: float = 30.0) -> None:
        self.home = home
        self._parent = parent
        self._poll = poll
        self._grace = grace
        self._idle = idle
        self._busy_at = time.monotonic()
        self._orphaned_at: float | None = None
        self._deliveries: dict[str, Delivery] = {}
        self._stores: dict[str, Store] = {}
        self._backoffs: dict[str, Backoff] = {}
        self._problems: dict[str, str] = {}
        self._held: set[str] = set()

    def run(self) -> None:
        """Serve until the parent is gone and nothing is left that can be sent."""
        with FileLock(shipper_lock(self.home)) as lock:
            while not lock.acquire():
                if self._overdue():
                    return
                self._rest()
            if self._orphaned_at is None:
                step_back()
            self._busy_at = time.monotonic()
            while self.home.is_dir():
                settled = self._orphaned_at is not None and time.monotonic() > self._orphaned_at + _SETTLE
                clean = self._round()
                bored = time.monotonic() > self._busy_at + self._idle
                if (settled and clean) or (self._overdue() and not clean) or bored:
                    return
                self._rest()

    def _round(self) -> bool:
        """Visit every run once; return whether all that could ever be sent was sent."""
        clean = True
        deliveries = self._open_deliveries()
        for delivery in deliveries:
            key, uri = delivery.folder.path.name, delivery.store.uri
            if self._backoff(key).waiting or self._backoff(uri).waiting:
                clean = clean and key in self._held
                continue
            try:
                delivery.visit()
                self._recover(key)
                self._recover(uri)
            except RunBlocked as error:
                self._held.add(key)
                self._complain(key, str(error))
                self._backoff(key).until = time.monotonic() + _HELD
            except ParentMissing:
                clean = False  # its parent is another delivery's business, in this round or the next
            except FileNotFoundError:
                del self._deliveries[key]  # somebody deleted the run's folder
            except Unreachable as error:
                clean = False
                self._backoff(key).fail()
                self._complain(key, str(error))
                if not delivery.store.answers():
                    self._backoff(uri).fail()
            except Exception as error:  # noqa: BLE001  # a fault in one run's records must not stop the others
                clean = False
                self._backoff(key).fail()
                self._complain(key, repr(error))
        if deliveries:
            self._busy_at = time.monotonic()  # now: a visit to a slow store takes longer than idleness may
        return clean

    def _open_deliveries(self) -> list[Delivery]:
        with os.scandir(self.home) as entries:
            for entry in entries:
                if entry.name not in self._deliveries and (Path(entry.path) / "run.json").is_file():
                    try:
                        folder = RunFolder.open(Path(entry.path))
                    except RequestError as error:
                        self._complain(entry.name, str(error))
                        continue
                    uri = folder.identity.uri
                    store = self._stores.setdefault(uri, Store(uri, self.home / "artifacts"))
                    self._deliveries[entry.name] = Delivery(folder, store)
        return [delivery for delivery in self._deliveries.values() if not delivery.done]

    def _backoff(self, key: str) -> Backoff:
        return self._backoffs.setdefault(key, Backoff())

    def _complain(self, key: str, problem: str) -> None:
        if self._problems.get(key) != problem:
            self._problems[key] = problem
            _log(f"{key}: {problem}")

    def _recover(self, key: str) -> None:
        self._backoffs.pop(key, None)
        self._held.discard(key)
        if self._problems.pop(key, None):
            _log(f"{key}: shipped again")

    def _overdue(self) -> bool:
        return self._orphaned_at is not None and time.monotonic() > self._orphaned_at + self._grace

    def _rest(self) -> None:
        """Sleep until the next round, or until the parent sends a byte."""
        if self._orphaned_at is not None:
            time.sleep(min(self._poll, _SETTLE))
            return
        ready, _, _ = select.select([self._parent], [], [], self._poll)
        if ready and not os.read(self._parent, 4096):
            self._orphaned_at = time.monotonic()
            send_ahead(os.getpid())  # nothing is trained any longer that it would hold up


def _log(line: str) -> None:
    sys.stderr.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")
    sys.stderr.flush()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a shipper as this process."""
    parser = argparse.ArgumentParser(
        prog="python -m undertow.tracking.shipping.shipper", description="Ship outboxes to MLflow."
    )
    parser.add_argument("home", type=Path, help="the folder that holds the runs")
    parser.add_argument("--poll", type=float, default=1.0, metavar="SECONDS", help="between two looks")
    parser.add_argument("--grace", type=float, default=10.0, metavar="SECONDS", help="to go on when the parent is gone")
    parser.add_argument("--idle", type=float, default=30.0, metavar="SECONDS", help="to stay when no run is open")
    options = parser.parse_args(arguments)
    skip_final_collection()
    home, parent = options.home.absolute(), sys.stdin.fileno()
    Shipper(home, parent, poll=options.poll, grace=options.grace, idle=options.idle).run()


if __name__ == "__main__":
    main()
