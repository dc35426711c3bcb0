"""Lightning's ModelCheckpoint for `best.ckpt`, which keeps its best score when the run folder has another path."""

from pathlib import Path
from typing import Any

from pytorch_lightning.callbacks import ModelCheckpoint


class BestCheckpoint(ModelCheckpoint):
    """Saves the checkpoint with the best value of a validation metric.

    Lightning's own forgets the best score so far where the folder is not the one of the saved state: in a folder that
    was moved or copied, the next validation would count as the best one, whatever its score.
    """

    @property
    def state_key(self) -> str:
        """As Lightning's own: a checkpoint has the same content either way."""
        return ModelCheckpoint.__qualname__ + super().state_key.removeprefix(type(self).__qualname__)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state, with the files in the folder of this run."""
        paths = {
            key: self._here(state_dict[key]) for key in ("best_model_path", "kth_best_model_path", "last_model_path")
        }
        best = {self._here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **paths, "best_k_models": best, "dirpath": self.dirpath})

    def _here(self, path: str) -> str:
        return str(Path(str(self.dirpath), Path(path).name)) if path else ""
