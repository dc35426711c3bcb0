"""The checkpoints of a pack: one for each replicate, as a single run would save it, in the replicate's own folder.

    PackSaves(pack, replicates).save_checkpoint(checkpoint, path)    # splits what Lightning saves of the pack

A replicate can be resumed alone from its checkpoint, and a pack from those of its replicates: `join` makes one of them.
A process that is killed while it saves leaves some replicates one save ahead. These go back to their `previous.ckpt`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor

from undertow.nn.pack import Pack, is_stacked
from undertow.train.pack.replicate import Replicate

STATE = "undertow_pack"
"""The key of what a pack keeps in the checkpoints of all its replicates."""

_STACKED = "undertow_stacked"
"""The key of what the optimiser had a row of for each replicate, by index of the parameter."""

_DATA, _PACK_DATA = "TaskData", "PackData"
"""The keys under which Lightning stores the state of the data."""


class PackSaves(TorchCheckpointIO):
    """Writes every checkpoint of a pack's Trainer, and reads the one that it continues from.

    Args:
        pack: The networks.
        replicates: Those that are in the pack, in its order; the caller takes out of this list what leaves the pack.
        saved: The checkpoints to continue from, one for each replicate.
    """

    def __init__(self, pack: Pack, replicates: Sequence[Replicate], saved: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__()
        self._pack = pack
        self._replicates = replicates
        self._saved = saved
        self._only: Replicate | None = None

    @contextmanager
    def only(self, replicate: Replicate) -> Iterator[None]:
        """Save this replicate alone inside the block."""
        self._only = replicate
        try:
            yield
        finally:
            self._only = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Save each replicate in its own folder, under the name of `path`; durable when the call returns.

        Raises:
            DiskFull: There is no space; the old files are unchanged.
        """
        name = Path(path).name
        for place, replicate in enumerate(self._replicates):
            if self._only in (None, replicate):
                part = _part(checkpoint, place, replicate)
                replicate.saves.save_checkpoint(part, replicate.folder / name, storage_options)

    def load_checkpoint(self, path: str | Path, map_location: Any = None, weights_only: bool | None = None) -> Any:
        """The checkpoint of the pack, from those of its replicates, whatever the path."""
        return _joined(self._saved, self._pack)


def _part(checkpoint: Mapping[str, Any], place: int, replicate: Replicate) -> dict[str, Any]:
    """What a single run would have saved in the place of this replicate."""
    part = {
        **checkpoint,
        "state_dict": {key: value.detach().clone() for key, value in replicate.learner.state_dict().items()},
        "callbacks": replicate.state(),
        "optimizer_states": [
            _each_tensor(state, lambda stacked: stacked[place].clone()) for state in checkpoint["optimizer_states"]
        ],
        "undertow_ended": checkpoint["undertow_ended"] or replicate.ended,
        _STACKED: [_stacked_keys(state) for state in checkpoint["optimizer_states"]],
    }
    part[_DATA] = part.pop(_PACK_DATA)
    return part


def _joined(saved: Sequence[Mapping[str, Any]], pack: Pack) -> dict[str, Any]:
    """The checkpoint of a pack. Its replicates have restored their networks, and so the stack."""
    first = saved[0]
    stacked = first.get(_STACKED) or [_usually_stacked(state) for state in first["optimizer_states"]]
    states = [
        {
            **state,
            "state": {
                index: {
                    key: torch.stack([each["optimizer_states"][number]["state"][index][key] for each in saved])
                    if key in stacked[number][index]
                    else value
                    for key, value in kept.items()
                }
                for index, kept in state["state"].items()
            },
        }
        for number, state in enumerate(first["optimizer_states"])
    ]
    network = {f"pack.{key}": value for key, value in pack.state_dict().items()}
    joined = {**first, "state_dict": network, "callbacks": {}, "optimizer_states": states}
    joined[_PACK_DATA] = joined.pop(_DATA)
    return joined


def _stacked_keys(state: Mapping[str, Any]) -> dict[int, list[str]]:
    """The keys of stacked tensors, which a scalar parameter's rows do not show."""
    return {index: [key for key, value in kept.items() if is_stacked(value)] for index, kept in state["state"].items()}


def _usually_stacked(state: Mapping[str, Any]) -> dict[int, list[str]]:
    """The same for the checkpoint of a run that was not in a pack, as torch's own optimisers name what they keep."""
    return {
        index: [key for key, value in kept.items() if isinstance(value, Tensor) and key != "step"]
        for index, kept in state["state"].items()
    }


def _each_tensor(state: Mapping[str, Any], change: Callable[[Tensor], Tensor]) -> dict[str, Any]:
    """The state of an optimiser with every stacked tensor replaced."""
    kept = {
        index: {key: change(value) if is_stacked(value) else value for key, value in of_parameter.items()}
        for index, of_parameter in state["state"].items()
    }
    return {**state, "state": kept}
