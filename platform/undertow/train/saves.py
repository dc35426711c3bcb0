"""The files of a run's state: written so that a crash or a power cut leaves one that loads, and how that one is found.

    trainer = Trainer(plugins=[DurableCheckpoints(record)])
    trainer.fit(..., ckpt_path=newest_checkpoint(folder, record, rank))

Lightning writes to the temporary folder and moves the file. If that folder is on another file system, the move is a
copy over the only checkpoint. Here every save is written beside its target, flushed and renamed, after the journal is
flushed. The checkpoint before the newest is kept as `previous.ckpt` until the run has ended.
"""

import io
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import nn

from undertow._system.atomic import remove_draft, replace_durably, sync_folder
from undertow.train.record import Record

LAST = "last.ckpt"
BEST = "best.ckpt"
PREVIOUS = "previous.ckpt"
FALLBACK_TAG = "undertow.checkpoint"


class DurableCheckpoints(TorchCheckpointIO):
    """Writes every checkpoint of a trainer; on rank 0, as Lightning calls it there alone.

    Args:
        record: Flushed before each save.
    """

    def __init__(self, record: Record) -> None:
        super().__init__()
        self._record = record

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Replace the file at `path`; it is on the disk when the call returns.

        Args:
            checkpoint: What to save.
            path: Where to. If it is `last.ckpt`, the old one becomes `previous.ckpt`.
            storage_options: None; Lightning's signature has it for other storages.

        Raises:
            DiskFull: There is no space; the old file is unchanged.
        """
        if storage_options is not None:
            raise TypeError("storage_options are not supported")
        path = Path(path)
        content = io.BytesIO()
        torch.save(checkpoint, content)
        self._record.sync()
        replace_durably(path, content.getbuffer(), keep=path.with_name(PREVIOUS) if path.name == LAST else None)


def newest_checkpoint(folder: Path, record: Record, rank: int) -> Path | None:
    """Find the newest checkpoint that loads; None if the run is to start at its beginning.

    A damaged one is renamed, to `last.ckpt.damaged`, and named on standard error and in a tag of the run.

    Args:
        folder: Where checkpoints are.
        record: Where the tag goes.
        rank: Of this process, among those that train the run; rank 0 alone renames and prints.
    """
    return next(iter(_loadable(folder, record, rank, 1)), None)


def saved_steps(folder: Path, record: Record) -> dict[int, dict[str, Any]]:
    """The checkpoints that load, by their training step: the newest, and the one before it, if there is one.

    Args:
        folder: Where checkpoints are.
        record: Where a damaged one is named, as by `newest_checkpoint`.
    """
    saved = [torch.load(path, weights_only=True, map_location="cpu") for path in _loadable(folder, record, 0, 2)]
    return {checkpoint["global_step"]: checkpoint for checkpoint in reversed(saved)}


def _loadable(folder: Path, record: Record, rank: int, most: int) -> list[Path]:
    """The newest checkpoints that are there and not damaged, `most` at most."""
    if rank == 0:
        for name in (LAST, BEST):
            remove_draft(folder / name)
    damages: list[str] = []
    found: list[Path] = []
    for path in (folder / LAST, folder / PREVIOUS):
        if not path.exists() or len(found) == most:
            continue
        if (damage := _damage(path)) is None:
            found.append(path)
            continue
        damages.append(f"{path} is damaged ({damage})")
        if rank == 0:
            path.rename(path.with_name(f"{path.name}.damaged"))
    if damages and rank == 0:
        start = found[0] if found else "its beginning"
        text = f"{', and '.join(damages)}: the run continues from {start}"
        print(text, file=sys.stderr)
        record.tag(FALLBACK_TAG, text)
    return found


def load_best(module: nn.Module, folder: Path) -> int | None:
    """Load the weights of the best checkpoint; None if there is none, or it is damaged.

    Returns:
        The training step at which it was saved.
    """
    path = folder / BEST
    if not path.exists() or _damage(path) is not None:
        return None
    saved = torch.load(path, weights_only=True, map_location="cpu")
    module.load_state_dict(saved["state_dict"])
    return int(saved["global_step"])


def forget_previous(folder: Path) -> None:
    """Remove the checkpoint before the newest, when the run has ended and its last state is saved."""
    (folder / PREVIOUS).unlink(missing_ok=True)
    sync_folder(folder)


def _damage(path: Path) -> str | None:
    """What is wrong with a checkpoint, found by its checksums; torch does not check them when it loads."""
    try:
        with zipfile.ZipFile(path) as file:
            bad = file.testzip()  # NotImplementedError: a damaged header names a compression that does not exist
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError) as error:
        return f"{type(error).__name__}: {error}"
    return None if bad is None else f"wrong checksum of {bad}"
