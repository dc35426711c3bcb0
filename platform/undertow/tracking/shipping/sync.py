"""Sync: send in the foreground what the shipper could not send.

for result in sync(home):
    print(result.folder.name, result.shipped, "shipped", result.left, "left", result.error or "")
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from undertow._system.lock import FileLock
from undertow.errors import RequestError
from undertow.tracking.folder import RunFolder, shipper_lock
from undertow.tracking.mlflow.errors import ParentMissing, RunBlocked, Unreachable
from undertow.tracking.mlflow.store import Store
from undertow.tracking.shipping.cursor import Cursor
from undertow.tracking.shipping.delivery import Delivery
from undertow.tracking.shipping.wait import StallTimer

_ATTEMPTS = 4

ProgressCallback = Callable[[Path, int, int], None]


@dataclass(frozen=True)
class SyncResult:
    """The result for one run that was not completely shipped before.

    Attributes:
        folder: The run folder.
        shipped: Records that were shipped now.
        left: Records that are not shipped yet.
        rejected: Records that MLflow will never accept; they are in the folder's `rejected.jsonl`.
        error: Why some are left; None if none are.
    """

    folder: Path
    shipped: int
    left: int
    rejected: int
    error: str | None


def sync(path: Path, progress: ProgressCallback | None = None, *, timeout: float | None = None) -> list[SyncResult]:
    """Ship all records that are left in a home or in one run folder; runs that ended without a status become KILLED.

    Args:
        path: A home or a run folder.
        progress: Called with the run folder, the bytes stored and the bytes written, after each batch.
        timeout: Seconds to wait for a shipper of this home that makes no progress;
            `undertow.tracking.shipping.wait.TIMEOUT` when absent.

    Returns:
        One result for each run that was not completely shipped before.

    Raises:
        RequestError: There is no such folder.
    """
    if not path.is_dir():
        raise RequestError(f"There is no folder {path} to ship from.")
    single = (path / "run.json").is_file()
    folders = [RunFolder.open(path)] if single else list(RunFolder.all(path))
    folders.sort(key=lambda folder: folder.identity.parent != "")  # parents first: a child needs its parent's id
    home = (path.parent if single else path).absolute()
    lock, timer = FileLock(shipper_lock(home)), StallTimer(home, timeout)
    while not lock.acquire(0.2):
        left = [folder for folder in folders if not folder.shipped]
        if not left or timer.expired(sum(Cursor.load(folder.cursor).offset for folder in left)):
            return [_result(folder, 0, "a shipper is running in this home, and continues to try") for folder in left]
    try:
        return _ship_all(folders, home, progress)
    finally:
        lock.release()


def _ship_all(folders: list[RunFolder], home: Path, progress: ProgressCallback | None) -> list[SyncResult]:
    stores: dict[str, Store] = {}
    unreachable: dict[str, str] = {}
    results = []
    for folder in folders:
        uri = folder.identity.uri
        store = stores.setdefault(uri, Store(uri, home / "artifacts"))
        delivery = Delivery(folder, store, attempts=_ATTEMPTS, progress=_for_run(folder.path, progress))
        if not delivery.done:
            error = unreachable.get(uri) or _ship(delivery)
            if error and uri not in unreachable and not store.is_reachable():
                unreachable[uri] = error  # do not wait again for a server that is down
            if error or delivery.sent:
                results.append(_result(folder, delivery.sent, error))
    return results


def _ship(delivery: Delivery) -> str | None:
    """Ship one outbox, with retries; return the error if records are left."""
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

    try:
        Retrying(
            retry=retry_if_exception_type(Unreachable),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_exponential(multiplier=0.5, max=15),
            reraise=True,
        )(delivery.ship)
    except (Unreachable, RunBlocked, ParentMissing, OSError) as error:
        return str(error)
    return None


def _result(folder: RunFolder, shipped: int, error: str | None) -> SyncResult:
    progress = folder.progress()
    return SyncResult(folder.path, shipped, progress.left, progress.rejected, error)


def _for_run(path: Path, progress: ProgressCallback | None) -> Callable[[int, int], None] | None:
    if progress is None:
        return None
    return lambda stored, written: progress(path, stored, written)
