"""Atomic writes of files."""

import os
from pathlib import Path


def write_atomically(path: Path, text: str, *, private: bool = False) -> None:
    """Write `text` to `path`; a reader gets either the complete old content or the complete new content.

    Args:
        path: The file, in a folder that exists.
        text: Its content.
        private: Only its owner can read it.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600 if private else 0o644)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(fd)
    draft.replace(path)
