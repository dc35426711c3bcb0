"""The run folder: the identity of a run, its files, and whether its process is alive.

    folder = RunFolder.create(home_folder(), "lstm-T256-s0", experiment="vanishing", uri=None, config_yaml=text)
    ...
    folder.release()

    RunFolder.find(home_folder(), "lstm-T256-s0")      # by name, folder, or either id

A run is alive as long as its process holds the folder's lock. The kernel releases the lock when the process ends.

A home is portable: `run.json` has `home:` in the place of the URI of the home's own store, so that a home that was
moved or renamed continues with its store. Earlier versions recorded the path of the store (`_is_own`).
"""

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self
from uuid import uuid4

from undertow._system.atomic import sync_folder, write_atomically
from undertow._system.database import database_file, sqlite_url
from undertow._system.lock import FileLock
from undertow.errors import RequestError, did_you_mean
from undertow.tracking.mlflow.addresses import require_possible
from undertow.tracking.mlflow.credentials import remember_server
from undertow.tracking.mlflow.errors import Rejected, Unreachable
from undertow.tracking.outbox import flush
from undertow.tracking.shipping.cursor import Cursor

_LOCK_SECONDS = 2.0  # a shipper holds the lock for a moment when it marks a dead run as KILLED
_VERSION = 2  # of run.json; files of version 1 have no version, and the path of the home's own store
_OWN = "home:"


def home_folder(default: str | Path = "runs") -> Path:
    """The folder that holds the runs and the store: `UNDERTOW_HOME`, or `default`; absolute."""
    return Path(os.environ.get("UNDERTOW_HOME") or default).absolute()


def own_store(home: Path) -> Path:
    """The file of the home's own store."""
    return home.absolute() / "mlflow.db"


def tracking_uri(home: Path, configured: str | None) -> str:
    """The tracking URI of a run: as configured, else MLFLOW_TRACKING_URI, else an SQLite store in `home`.

    Raises:
        RequestError: No store can have this URI: its scheme or its port does not exist, it is a folder, which MLflow no
            longer supports, or a database whose driver is missing.
    """
    uri = configured or os.environ.get("MLFLOW_TRACKING_URI") or sqlite_url(own_store(home))
    require_possible(uri)
    if file := database_file(uri):  # absolute, since `undertow sync` may run in another folder
        return sqlite_url(file.absolute()) + "".join(uri.partition("?")[1:])
    return uri


def shipper_lock(home: Path) -> Path:
    """The file whose lock is held by the one process that ships the runs of this home."""
    return home / ".shipper.lock"


@dataclass(frozen=True)
class Identity:
    """The identity of a run, fixed when its folder is created.

    Attributes:
        uuid: Globally unique; the MLflow run has it as the tag `undertow.run`.
        name: The run's name, such as ``lstm-T256-s0``; not unique.
        experiment: The MLflow experiment.
        uri: The MLflow tracking URI.
        parent: The uuid of its parent run in the same experiment; empty if it has none.
    """

    uuid: str
    name: str
    experiment: str
    uri: str
    parent: str = ""


@dataclass(frozen=True)
class Progress:
    """How much of an outbox MLflow has stored.

    Attributes:
        done: Bytes stored.
        total: Bytes written.
        left: Records not stored yet.
        rejected: Records that MLflow rejected; they are in `rejected.jsonl`.
        run_id: The run's id in MLflow; None while it has none.
    """

    done: int
    total: int
    left: int
    rejected: int
    run_id: str | None


class RunFolder:
    """The folder of one run; use `create`, `open` or `find`."""

    def __init__(self, path: Path, identity: Identity) -> None:
        self.path = path
        self.identity = identity
        self.lock = FileLock(path / "lock")

    @property
    def outbox(self) -> Path:
        """Every record of the run."""
        return self.path / "outbox.jsonl"

    @property
    def cursor(self) -> Path:
        """How much of the outbox MLflow has stored."""
        return self.path / "cursor.json"

    @property
    def rejected(self) -> Path:
        """The records that MLflow rejected, each with the reason."""
        return self.path / "rejected.jsonl"

    @property
    def checkpoints(self) -> Path:
        """The run's checkpoints."""
        return self.path / "checkpoints"

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def result(self) -> Path:
        """The run's result; written by the run at its end."""
        return self.path / "result.json"

    @classmethod
    def place(cls, home: Path, name: str, uuid: str) -> Path:
        """The path of a run's folder."""
        slug = re.sub(r"[^\w.\-]+", "-", name).strip(".-") or "run"
        return home.absolute() / f"{slug[:100]}-{uuid[:6]}"

    @classmethod
    def create(
        cls,
        home: Path,
        name: str,
        *,
        experiment: str,
        uri: str | None,
        config_yaml: str,
        uuid: str | None = None,
        parent: str = "",
        prepare: Callable[[Self], None] = lambda folder: None,
    ) -> Self:
        """Create a new folder below `home`, and hold its lock until `release` or the end of this process.

        A process that is killed in here leaves a folder that is no run and is ignored, or a complete one. When the call
        returns, the run has reached the disk.

        Args:
            home: From `home_folder`; created if it does not exist.
            name: The run's name; the folder's name has six more letters, to be unique.
            experiment: The MLflow experiment.
            uri: As configured; see `tracking_uri`.
            config_yaml: The resolved configuration.
            uuid: Globally unique; a new one when absent. Writers on several machines may use the same uuid, each in its
                own home: MLflow then has one run.
            parent: The uuid of the parent run in the same experiment.
            prepare: Called with the folder before it counts as a run: writes what every run must have, such as the
                beginning of its record.

        Raises:
            RequestError: The run has a folder here already, no store can have the URI, or `home` or the user's list of
                servers cannot be written.
        """
        identity = Identity(uuid or uuid4().hex, name, experiment, tracking_uri(home, uri), parent)
        remember_server(identity.uri)
        path = cls.place(home, name, identity.uuid)
        folder = cls(path, identity)
        try:
            path.mkdir(parents=True, exist_ok=True)  # a process that was killed in here leaves it without run.json
            folder.acquire()
        except OSError as error:
            raise RequestError(
                f"No run can be written below {home.absolute()}: {error.strerror}: {error.filename}\n"
                "Name a folder that can be written with --home or UNDERTOW_HOME."
            ) from error
        if (path / "run.json").exists():
            folder.release()
            raise RequestError(f"The run {path.name} has a folder already: {path}")
        try:
            folder.checkpoints.mkdir(exist_ok=True)
            write_atomically(folder.config, config_yaml)
            folder.outbox.unlink(missing_ok=True)  # of a process that was killed in here
            prepare(folder)
            if folder.outbox.exists():
                flush(folder.outbox)
            # Last, since a folder without run.json is ignored. Private: a URI may contain a password.
            uri = _OWN if identity.uri == sqlite_url(own_store(home)) else identity.uri
            recorded = {"version": _VERSION, **asdict(replace(identity, uri=uri))}
            write_atomically(path / "run.json", json.dumps(recorded, indent=2), private=True)
            sync_folder(path)
            sync_folder(path.parent)
        except BaseException:  # re-raised: a folder that was not completed must not stay held by this process
            folder.release()
            raise
        return folder

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the folder of an earlier run.

        Raises:
            RequestError: It is not the folder of a run.
        """
        file = path.absolute() / "run.json"
        try:
            recorded = json.loads(file.read_text("utf-8"))
            version = recorded.pop("version", 1)
            identity = Identity(**recorded)
        except (FileNotFoundError, NotADirectoryError):
            raise RequestError(f"{path} is not the folder of a run: it has no run.json.") from None
        except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise RequestError(f"{file} cannot be read: {error}") from error
        if not all(isinstance(value, str) for value in recorded.values()):
            raise RequestError(f"{file} cannot be read: all its values but the version must be text")
        if version not in range(1, _VERSION + 1):
            raise RequestError(
                f"{file} cannot be read: its version is {version!r}; this is a newer Undertow's, or damage"
            )
        if identity.uri == _OWN or (version == 1 and _is_own(identity.uri, file.parent)):
            identity = replace(identity, uri=sqlite_url(own_store(file.parent.parent)))
        return cls(file.parent, identity)

    @classmethod
    def find(cls, home: Path, ref: str) -> Self:
        """Find a run by the path of its folder, or below `home` by folder name, run name, uuid or MLflow run id.

        Raises:
            RequestError: There is no such run, or there are several; the message lists them.
        """
        if (Path(ref) / "run.json").is_file():
            return cls.open(Path(ref))
        folders = list(cls.all(home))
        for folder in folders:
            if ref in (folder.path.name, folder.identity.uuid, Cursor.load(folder.cursor).run_id):
                return folder
        named = [folder for folder in folders if folder.identity.name == ref]
        if len(named) == 1:
            return named[0]
        if named:
            choices = "\n".join(f"  {folder.path.name}" for folder in named)
            raise RequestError(f"{len(named)} runs are named `{ref}`. Name one of their folders:\n{choices}")
        known = {folder.path.name for folder in folders} | {folder.identity.name for folder in folders}
        raise RequestError(f"There is no run `{ref}` in {home}.{did_you_mean(ref, known)}")

    @classmethod
    def all(cls, home: Path) -> Iterator[Self]:
        """Every run folder below `home`, sorted by name; unreadable ones are skipped."""
        for path in sorted(home.iterdir()) if home.is_dir() else []:
            if (path / "run.json").is_file():
                try:
                    yield cls.open(path)
                except RequestError:
                    continue

    def acquire(self) -> None:
        """Hold the lock again, to resume the run.

        Raises:
            RequestError: Its process is still running.
        """
        if not self.lock.acquire(_LOCK_SECONDS):
            raise RequestError(f"The run {self.path.name} is still running: wait for it, or stop it first.")

    def release(self) -> None:
        """Release the lock, after the last record of this process."""
        self.lock.release()

    def is_alive(self) -> bool:
        """Whether a process holds the run's lock."""
        return self.lock.is_held()

    def artifact(self, recorded: str) -> Path:
        """The file or folder of an artifact's record, whose path is relative to the run folder.

        Raises:
            Rejected: It must not be uploaded: it is outside the run folder, directly or by a symbolic link, or it is
                neither a file nor a folder. A folder is refused for each such thing inside.
        """
        whole = self.path / recorded
        try:
            root = self.path.resolve()
            _require_inside(whole, root)
            if whole.is_dir():
                for folder, folders, files in os.walk(whole):
                    for path in (Path(folder, name) for name in (*folders, *files)):
                        _require_inside(path, root)
                        if path.is_symlink() and path.is_dir():  # it may lead back to where it is
                            raise Rejected(f"{path} is a link to a folder, and is not uploaded")
        except (
            ValueError,
            OSError,
            RuntimeError,
        ) as error:  # a NUL in its name, a loop of links, a name that is too long
            raise Rejected(f"{whole} cannot be an artifact: {error}") from error
        return whole

    def progress(self) -> Progress:
        """How much of the outbox MLflow has stored."""
        cursor = Cursor.load(self.cursor, self.outbox)
        try:
            with self.outbox.open("rb") as file:
                file.seek(cursor.offset)
                left = sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
                total = file.tell()
        except FileNotFoundError:
            total = left = 0
        return Progress(cursor.offset, max(total, cursor.offset), left, cursor.rejected, cursor.run_id)

    @property
    def shipped(self) -> bool:
        """Whether MLflow has stored the whole outbox."""
        try:
            return Cursor.load(self.cursor, self.outbox).offset >= self.outbox.stat().st_size
        except FileNotFoundError:
            return True

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"


def _require_inside(path: Path, root: Path) -> None:
    """Return if a path and what its symbolic links mean are inside `root`, and can be uploaded or do not exist."""
    if not path.resolve().is_relative_to(root):
        raise Rejected(f"{path} is outside the run folder, and is not uploaded")
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise Rejected(f"{path} is neither a file nor a folder, and is not uploaded")


def _is_own(uri: str, folder: Path) -> bool:
    """Whether the URI in a `run.json` of version 1 named the home's own store; the home may have moved since.

    Args:
        uri: SQLite stores were recorded with an absolute path, in which nothing was quoted.
        folder: The run folder, at its present place.
    """
    store = Path(uri.removeprefix("sqlite:///"))
    own = own_store(folder.parent)
    if not uri.startswith("sqlite:////") or store.name != own.name:
        return False
    if store == own:
        return True
    if (store.parent / folder.name / "run.json").exists():  # this home is a copy
        return False
    return not store.parent.exists() or _has_run(own, Cursor.load(folder / "cursor.json").run_id)


def _has_run(store: Path, run_id: str | None) -> bool:
    """Whether a run is in an SQLite store."""
    from undertow.tracking.mlflow.lookup import query

    try:
        return run_id is not None and query(store, "SELECT 1 FROM runs WHERE run_uuid = ?", run_id) != []
    except Unreachable:
        return False
