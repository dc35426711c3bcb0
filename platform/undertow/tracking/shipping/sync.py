"""Sync: ship what an unreachable server missed, in the foreground.

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
from undertow.tracking.shipping.wait import Patience

_ATTEMPTS = 4


@dataclass(frozen=True)
class SyncResult:
    """What came of one run that was not wholly shipped before.

    Attributes:
        folder: The run folder.
        shipped: Records that were shipped now.
        left: Records that still are not.
        rejected: Records that MLflow will never take; they are in the folder's `rejected.jsonl`.
        error: Why some are left; None if none are.
    """

    folder: Path
    shipped: int
    left: int
    rejected: int
    error: str | None


def sync(
    path: Path, progress: Callable[[Path, int, int], None] | None = None, *, timeout: float | None = None
) -> list[SyncResult]:
    """Ship all that is left in a home, or in one run folder; runs that died without a word become KILLED.

    Args:
        path: A home or a run folder.
        progress: Called with the run folder, the bytes stored and the bytes written, after each batch.
        timeout: Seconds without progress after which to give up on a shipper that is at work on this home;
            `patience.SECONDS` when absent.

    Returns:
        One result for each run that was not wholly shipped before; empty if there was none.

    Raises:
        RequestError: There is no such folder.
    """
    if not path.is_dir():
        raise RequestError(f"There is no folder {path} to ship from.")
    single = (path / "run.json").is_file()
    folders = [RunFolder.open(path)] if single else list(RunFolder.all(path))
    folders.sort(key=lambda folder: folder.identity.parent != "")  # a child asks the store for its parent
    home = (path.parent if single else path).absolute()
    with FileLock(shipper_lock(home)) as lock, Patience(home, timeout) as patience:
        while not lock.acquire(0.2):
            left = [folder for folder in folders if not folder.shipped]
            if not left or patience.ends(sum(Cursor.load(folder.cursor).offset for folder in left)):
                return [_result(folder, 0, "a shipper is at work here, and goes on trying") for folder in left]
        stores: dict[str, Store] = {}
        silent: dict[str, str] = {}
        results = []
        for folder in folders:
            uri = folder.identity.uri
            store = stores.setdefault(uri, Store(uri, home / "artifacts"))
            delivery = Delivery(folder, store, doubts=_ATTEMPTS, progress=_on(folder.path, progress))
            if not delivery.done:
                error = silent.get(uri) or _visit(delivery)
                if error and uri not in silent and not store.answers():
                    silent[uri] = error  # one long wait for a dead server is enough
                if error or delivery.sent:
                    results.append(_result(folder, delivery.sent, error))
        return results


def _visit(delivery: Delivery) -> str | None:
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

    try:
        Retrying(
            retry=retry_if_exception_type(Unreachable),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_exponential(multiplier=0.5, max=15),
            reraise=True,
        )(delivery.visit)
    except (Unreachable, RunBlocked, ParentMissing, OSError) as error:
        return str(error)
    return None


def _result(folder: RunFolder, shipped: int, error: str | None) -> SyncResult:
    progress = folder.progress()
    return SyncResult(folder.path, shipped, progress.left, progress.rejected, error)


def _on(path: Path, progress: Callable[[Path, int, int], None] | None) -> Callable[[int, int], None] | None:
    if progress is None:
        return None
    return lambda done, total: progress(path, done, total)
