"""The shipper: a process beside the training that sends its outbox to MLflow while the run continues.

    python -m undertow.tracking.shipping.shipper runs

It serves every run in the home, so that an SQLite store has a single writer. A second shipper of the same home waits
for the lock and takes over when the first one ends. Its standard input is a pipe from the training process: a byte
starts the next round, and the end of the pipe means that the process has ended. Then the shipper sends what is left,
marks runs that died without a final status as KILLED, and ends; if the store stays unreachable for the grace period,
`undertow sync` has to send the rest. It also ends when no run has been open for a while.

A request has a price, whatever is in it: sixteen runs that record at the same time would cost half a core if each was
sent once a second. So it rests after a round, and sends more at once: a twentieth of a core while the runs go on.
"""

import argparse
import os
import random
import select
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from undertow._system.gc import collect_rarely
from undertow._system.lock import FileLock
from undertow._system.redact import redacted
from undertow.errors import RequestError
from undertow.tracking.folder import RunFolder, shipper_lock
from undertow.tracking.mlflow.errors import ParentMissing, RunBlocked, Unreachable
from undertow.tracking.mlflow.quiet import quiet_mlflow
from undertow.tracking.mlflow.store import Store
from undertow.tracking.shipping.delivery import Delivery
from undertow.tracking.shipping.process import SHIPPED_AGAIN
from undertow.tracking.shipping.wait import Heartbeat

_SETTLE = 0.5  # seconds; a dying process closes its pipe and its locks one after the other
_REST = 19.0  # times the CPU seconds of a round: how long to wait for the next one, unless the parent asks for it
_LONGEST_REST = 10.0  # seconds
_BLOCKED_RETRY = 60.0  # seconds between two attempts to ship a run that needs a person


@dataclass
class Backoff:
    """When to retry: after 0.5 s, then after twice as long each time, up to 15 s.

    It does not sleep, since other runs and other stores do not have to wait.
    """

    failures: int = 0
    until: float = 0.0

    def fail(self) -> None:
        """Count a failure."""
        self.until = time.monotonic() + min(15.0, 0.5 * 2.0**self.failures) * random.uniform(0.8, 1.2)
        self.failures += 1

    @property
    def waiting(self) -> bool:
        """Whether it is too early to retry."""
        return time.monotonic() < self.until


class Shipper:
    """Serves one home.

    Args:
        home: The folder that holds the runs.
        parent: The reading end of a pipe from the process that it serves.
        poll: Seconds between two rounds over the outboxes, at least.
        grace: Seconds to continue after the parent has ended, if the store is unreachable.
        idle: Seconds without an open run after which it ends; its parent starts it again for the next one.
    """

    def __init__(self, home: Path, parent: int, *, poll: float = 1.0, grace: float = 10.0, idle: float = 30.0) -> None:
        self.home = home
        self._parent = parent
        self._poll = poll
        self._grace = grace
        self._idle = idle
        self._active_at = time.monotonic()
        self._rest = 0.0
        self._orphaned_at: float | None = None
        self._deliveries: dict[str, Delivery] = {}
        self._stores: dict[str, Store] = {}
        self._backoffs: dict[str, Backoff] = {}
        self._problems: dict[str, str] = {}
        self._blocked: set[str] = set()
        self._heartbeat = Heartbeat(home)

    def run(self) -> None:
        """Serve until the parent has ended and nothing is left that can be sent."""
        lock = FileLock(shipper_lock(self.home))
        while not lock.acquire():
            if self._grace_is_over():
                return
            self._sleep()
        try:
            self._active_at = time.monotonic()
            while self.home.is_dir():
                settled = self._orphaned_at is not None and time.monotonic() > self._orphaned_at + _SETTLE
                clean = self._round()
                idle = time.monotonic() > self._active_at + self._idle
                if (settled and clean) or (self._grace_is_over() and not clean) or idle:
                    return
                self._sleep()
        finally:
            lock.release()

    def _round(self) -> bool:
        """Ship every run once; return whether no run is left that a retry could ship."""
        clean = True
        started, stores = time.process_time(), len(self._stores)
        deliveries = self._open_deliveries()
        for delivery in deliveries:
            key, uri = delivery.folder.path.name, delivery.store.uri
            if self._backoff(key).waiting or self._backoff(uri).waiting:
                clean = clean and key in self._blocked
                continue
            try:
                self._ship(delivery)
                self._clear_problem(key)
                self._clear_problem(uri)
            except RunBlocked as error:
                self._blocked.add(key)
                self._log_problem(key, str(error))
                self._backoff(key).until = time.monotonic() + _BLOCKED_RETRY
            except ParentMissing:
                clean = False  # another delivery ships the parent, in this round or the next
            except FileNotFoundError:
                del self._deliveries[key]  # the run's folder was deleted
            except Unreachable as error:
                clean = False
                self._backoff(key).fail()
                self._log_problem(key, str(error))
                if not delivery.store.is_reachable():
                    self._backoff(uri).fail()
            except Exception as error:  # noqa: BLE001  # an error in one run's records must not stop the others
                clean = False
                self._backoff(key).fail()
                self._log_problem(key, repr(error))
        if deliveries:
            self._active_at = time.monotonic()  # read again: a round with a slow store may take longer than `idle`
        connected = len(self._stores) > stores  # the first round of a store imports MLflow and creates its tables
        self._rest = 0.0 if connected else min(_LONGEST_REST, _REST * (time.process_time() - started))
        return clean

    def _ship(self, delivery: Delivery) -> None:
        """Ship one run; with heartbeats, unless this is a retry: retries of a store that is down never end."""
        retry = self._backoff(delivery.folder.path.name).failures or self._backoff(delivery.store.uri).failures
        with nullcontext() if retry else self._heartbeat.during_work():
            delivery.ship()

    def _open_deliveries(self) -> list[Delivery]:
        with os.scandir(self.home) as entries:
            for entry in entries:
                if entry.name not in self._deliveries and (Path(entry.path) / "run.json").is_file():
                    try:
                        folder = RunFolder.open(Path(entry.path))
                        uri = folder.identity.uri
                        store = self._stores.setdefault(uri, Store(uri, self.home / "artifacts"))
                        self._deliveries[entry.name] = Delivery(folder, store)
                    except (RequestError, OSError) as error:  # damage in one run folder must not stop the others
                        self._log_problem(entry.name, str(error))
        return [delivery for delivery in self._deliveries.values() if not delivery.done]

    def _backoff(self, key: str) -> Backoff:
        return self._backoffs.setdefault(key, Backoff())

    def _log_problem(self, key: str, problem: str) -> None:
        if self._problems.get(key) != problem:
            self._problems[key] = problem
            _log(f"{key}: {redacted(' '.join(problem.split()))}")

    def _clear_problem(self, key: str) -> None:
        self._backoffs.pop(key, None)
        self._blocked.discard(key)
        if self._problems.pop(key, None):
            _log(f"{key}: {SHIPPED_AGAIN}")

    def _grace_is_over(self) -> bool:
        return self._orphaned_at is not None and time.monotonic() > self._orphaned_at + self._grace

    def _sleep(self) -> None:
        """Sleep until the next round, or until the parent sends a byte or ends."""
        if self._orphaned_at is not None:
            time.sleep(min(self._poll, _SETTLE))
            return
        ready, _, _ = select.select([self._parent], [], [], max(self._poll, self._rest))
        if ready and not os.read(self._parent, 4096):
            self._orphaned_at = time.monotonic()


def _log(line: str) -> None:
    sys.stderr.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")
    sys.stderr.flush()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a shipper as this process."""
    parser = argparse.ArgumentParser(
        prog="python -m undertow.tracking.shipping.shipper", description="Ship outboxes to MLflow."
    )
    parser.add_argument("home", type=Path, help="the folder that holds the runs")
    parser.add_argument("--poll", type=float, default=1.0, metavar="SECONDS", help="between two rounds")
    parser.add_argument(
        "--grace", type=float, default=10.0, metavar="SECONDS", help="to continue after the parent has ended"
    )
    parser.add_argument("--idle", type=float, default=30.0, metavar="SECONDS", help="to stay when no run is open")
    options = parser.parse_args(arguments)
    collect_rarely()
    # MLflow imports pandas for data sets, and does without where it is not installed: half a CPU second of two.
    sys.modules["pandas"] = None  # type: ignore[assignment]
    home, parent = options.home.absolute(), sys.stdin.fileno()
    with quiet_mlflow():
        Shipper(home, parent, poll=options.poll, grace=options.grace, idle=options.idle).run()


if __name__ == "__main__":
    main()
