"""The random states of a run in its checkpoints, so that a resumed run draws what it would have drawn."""

import random
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch


class RandomState(pl.Callback):
    """Saves the random state of every rank, and restores it before the first batch of a resumed run.

    It is the first of the callbacks: what another one draws before a batch comes from the restored state.
    """

    def __init__(self) -> None:
        self._state: dict[str, Any] | None = None

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the random state of every rank."""
        state = random_state(trainer.strategy.root_device)
        states: list[Any] = [state]
        if trainer.world_size > 1:
            states = [None] * trainer.world_size
            torch.distributed.all_gather_object(states, state)
        checkpoint["undertow_random_states"] = states

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep this rank's random state until the first batch."""
        states = checkpoint["undertow_random_states"]
        self._state = states[trainer.global_rank] if trainer.global_rank < len(states) else None

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Restore the random state once, after all set-up that may draw random numbers."""
        if self._state is not None:
            set_random_state(self._state, trainer.strategy.root_device)
            self._state = None


def random_state(device: torch.device) -> dict[str, Any]:
    """The random states of Python, NumPy and torch, in types that `torch.load(weights_only=True)` accepts.

    Args:
        device: Where this rank trains. Other GPUs are left alone: a resumed run may find fewer of them.
    """
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": (
            name,
            torch.from_numpy(np.asarray(keys, dtype=np.int64)),
            position,
            has_gauss,
            float(cached),
        ),
        "torch": torch.get_rng_state(),
        "cuda": [torch.cuda.get_rng_state(device)] if device.type == "cuda" else [],
    }


def set_random_state(state: dict[str, Any], device: torch.device) -> None:
    """Restore what `random_state` returned."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] and device.type == "cuda":
        saved = state["cuda"]  # one, or in checkpoints of earlier versions that of every GPU
        index = device.index or 0
        torch.cuda.set_rng_state(saved[index if index < len(saved) else 0].cpu(), device)
