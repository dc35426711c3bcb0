"""Characters of a text: at every step, which one comes next? B batch, T time.

A language model over characters; Graves 2013, arXiv 1308.0850, and Karpathy, Johnson & Fei-Fei 2015, arXiv 1506.02078,
train LSTMs on it. How far back its answers depend on the text is not known in advance: the probes measure it.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torchmetrics import Metric

from undertow import Batch, RequestError, Split, Task, Tokens
from undertow_tasks.text.bits import BitsPerCharacter
from undertow_tasks.text.characters import characters
from undertow_tasks.text.options import CharLmOptions

_FEWEST = 2


class CharLm(Task):
    """Example i of a split is its window i: characters iT … iT+T-1 as input, iT+1 … iT+T as targets.

    Windows do not overlap, so each character is a target once per pass; the last, incomplete window is left out. Each
    window starts from the initial state.

    Attributes:
        trivial_loss: The entropy of the characters of the training block: the loss of predicting by frequency.
        alphabet: The characters by number, from 1; 0 is any other character.
    """

    shape = "aligned"

    def __init__(self, options: CharLmOptions, length: int, seed: int) -> None:
        text = characters(options.file)
        self.length = length
        self.alphabet = text.alphabet
        self.inputs = Tokens(len(text.alphabet) + 1)
        self.output_size = len(text.alphabet) + 1
        self.trivial_loss = text.entropy
        self.trivial_scores = {"bits_per_character": text.entropy / math.log(2)}
        self._blocks = text.blocks
        for split, block_N in text.blocks.items():
            if (self.size(split) or 0) < _FEWEST:
                longest = (len(block_N) - 1) // _FEWEST
                raise RequestError(
                    f"{text.source}: the {split} split has {len(block_N)} characters, too few for {_FEWEST} windows of "
                    f"{length}; set task.length to {longest} or less, or task.options.char-lm.file to a longer text"
                )

    def size(self, split: Split) -> int | None:
        """The number of complete windows of the split's block."""
        return (len(self._blocks[split]) - 1) // self.length

    def batch(self, split: Split, indices: NDArray[Any]) -> Batch:
        """Characters `(B, T)`, and the one after each, `(B, T)`."""
        first_B1 = torch.from_numpy(np.asarray(indices, dtype=np.int64) * self.length)[:, None]
        window_BT1 = self._blocks[split][first_B1 + torch.arange(self.length + 1)].long()
        return Batch(window_BT1[:, :-1], window_BT1[:, 1:])

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Cross entropy of every step in nats, `(B, T)`."""
        return functional.cross_entropy(output.movedim(-1, 1), target, reduction="none")

    def metrics(self) -> Mapping[str, Metric]:
        """`bits_per_character`: the loss in bits."""
        return {"bits_per_character": BitsPerCharacter()}

    def cues(self, batch: Batch) -> Tensor:
        """The last step, `(B, 1)`: the only one that certainly matters; for earlier ones it depends on the text."""
        return torch.full((len(batch.input), 1), self.length - 1, device=batch.target.device)
