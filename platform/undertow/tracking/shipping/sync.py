"""Sync: send in the foreground what the shipper could not send.

for result in sync(home):
    print(result.folder.name, result.shipped, "shipped", result.left, "left", result.error or "")

A run folder that is damaged is a result with an error; the other runs are shipped.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from undertow._system.lock import FileLock
from undertow._system.redact import redacted
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
        RequestError: There is no such folder, or it cannot be written.
    """
    if not path.is_dir():
        what = f"{path} is a file: name the folder" if path.exists() else f"There is no folder {path}"
        raise RequestError(f"{what} to ship from.")
    single = (path / "run.json").is_file()
    folders, damaged = ([RunFolder.open(path)], []) if single else _open_all(path)
    folders.sort(key=lambda folder: folder.identity.parent != "")  # parents first: a child needs its parent's id
    home = (path.parent if single else path).absolute()
    lock, timer = FileLock(shipper_lock(home)), StallTimer(home, timeout)
    try:
        while not lock.acquire(0.2):
            left = [folder for folder in folders if not folder.shipped]
            if not left or timer.expired(sum(Cursor.load(folder.cursor).offset for folder in left)):
                problem = "a shipper is running in this home, and continues to try"
                return [*damaged, *(_result(folder, 0, problem) for folder in left)]
    except OSError as error:
        raise RequestError(f"{home} cannot be shipped from: {error.strerror}: {error.filename}") from error
    try:
        return [*damaged, *_ship_all(folders, home, progress)]
    finally:
        lock.release()


def _open_all(home: Path) -> tuple[list[RunFolder], list[SyncResult]]:
    """Open every run folder of a home; for those that cannot be opened, return results with the reason."""
    folders, damaged = [], []
    for path in sorted(home.iterdir()):
        if (path / "run.json").is_file():
            try:
                folders.append(RunFolder.open(path))
            except RequestError as error:
                damaged.append(SyncResult(path, 0, 0, 0, str(error)))
    return folders, damaged


def _ship_all(folders: list[RunFolder], home: Path, progress: ProgressCallback | None) -> list[SyncResult]:
    stores: dict[str, Store] = {}
    unreachable: dict[str, str] = {}
    results = []
    for folder in folders:
        uri = folder.identity.uri
        store = stores.setdefault(uri, Store(uri, home / "artifacts"))
        try:
            delivery = Delivery(folder, store, attempts=_ATTEMPTS, progress=_for_run(folder.path, progress))
            if delivery.done:
                continue
            error = unreachable.get(uri) or _ship(delivery)
            if error and uri not in unreachable and not store.is_reachable():
                unreachable[uri] = error  # do not wait again for a server that is down
            if error or delivery.sent:
                results.append(_result(folder, delivery.sent, error))
        except Exception as error:  # noqa: BLE001  # damage in one run folder must not stop the others
            problem = f"{folder.path} cannot be shipped: {type(error).__name__}: {redacted(str(error))}"
            results.append(SyncResult(folder.path, 0, 0, 0, problem))
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
        return redacted(str(error))
    return None


def _result(folder: RunFolder, shipped: int, error: str | None) -> SyncResult:
    progress = folder.progress()
    return SyncResult(folder.path, shipped, progress.left, progress.rejected, error)


def _for_run(path: Path, progress: ProgressCallback | None) -> Callable[[int, int], None] | None:
    if progress is None:
        return None
    return lambda stored, written: progress(path, stored, written)
