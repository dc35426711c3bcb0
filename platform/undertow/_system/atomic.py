"""Atomic writes of files: a reader or a crash gets either the complete old content or the complete new content.

    write_atomically(path, "text")
    replace_durably(path, content, keep=path.with_name("previous.ckpt"))    # and it has reached the disk on return

The new content is written beside the target, because a rename is atomic only within one file system.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from undertow.errors import DiskFull

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


def write_atomically(path: Path, content: str | bytes, *, private: bool = False) -> None:
    """Write `content` to `path`, atomically; after a power cut the file has the old content or the new one.

    Args:
        path: The file, in a folder that exists.
        content: Its content.
        private: Only its owner can read it.

    Raises:
        DiskFull: There is no space; the old content is unchanged.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with _draft(draft, path, 0o600 if private else 0o644) as file:
        file.write(content.encode() if isinstance(content, str) else content)
    draft.replace(path)


def write_once(path: Path, content: str) -> str:
    """Write a file that does not exist yet, atomically; of several writers the first one wins.

    Returns:
        What is in the file: `content`, or what another one has written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        draft = path.with_name(f".{path.name}.{os.getpid()}.once")
        write_atomically(draft, content)
        with suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return path.read_text()


def replace_durably(path: Path, content: bytes | memoryview, *, keep: Path | None = None) -> None:
    """Replace `path`, atomically; when the call returns, the new content is on the disk. A file has one writer.

    A process that is killed in the call may leave a draft: `remove_draft`.

    Args:
        path: The file, in a folder that exists.
        content: Its content.
        keep: Where the old content is moved to, in the same folder. A process that is killed between the two renames
            leaves the old content there, and nothing at `path`.

    Raises:
        DiskFull: There is no space; the old content is unchanged.
    """
    draft = _draft_of(path)
    with _draft(draft, path, 0o644) as file:
        file.write(content)
    if keep is not None and path.exists():
        path.replace(keep)
    draft.replace(path)
    sync_folder(path.parent)


def remove_draft(path: Path) -> None:
    """Remove the draft that a process may have left that was killed in `replace_durably(path, ...)`."""
    _draft_of(path).unlink(missing_ok=True)


def sync_folder(path: Path) -> None:
    """Flush the entries of a folder, such as new names of files, to the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_tree(path: Path, root: Path) -> None:
    """Flush a file, or a folder with all that it contains, to the disk, and the names that lead to it from `root`."""
    inside = sorted(path.rglob("*")) if path.is_dir() else []
    for each in (path, *inside, *(parent for parent in path.parents if parent.is_relative_to(root))):
        fd = os.open(each, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def raise_if_full(error: OSError, path: Path) -> None:
    """Raise `DiskFull` if `error`, met when `path` was written, means that there is no space."""
    if error.errno in _NO_SPACE and not isinstance(error, DiskFull):
        raise DiskFull(path, shutil.disk_usage(path.parent).free) from error


def _draft_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.draft")


@contextmanager
def _draft(draft: Path, path: Path, mode: int) -> Iterator[BinaryIO]:
    """Open a draft of `path`; at the end of the block it is flushed to the disk, and after an error it is removed."""
    try:
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        with os.fdopen(fd, "wb") as file:
            yield file
            file.flush()
            os.fsync(fd)
    except BaseException as error:
        draft.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise_if_full(error, path)
        raise
