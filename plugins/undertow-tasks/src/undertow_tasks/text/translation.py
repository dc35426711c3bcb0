"""Translation: read a sentence in one language, write it in another. B batch, N pairs, T time read, U time written.

One network that reads and then writes is the encoder and decoder of Sutskever, Vinyals & Le 2014, arXiv 1409.3215, and
Cho et al. 2014, arXiv 1406.1078, with the same weights for both. Without data, the sentences are generated.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torchmetrics import Metric

from undertow import Batch, Split, Task, Tokens
from undertow_tasks.exact_match import ExactMatch
from undertow_tasks.text.bleu import Bleu
from undertow_tasks.text.encoded import token_steps
from undertow_tasks.text.options import TranslationOptions
from undertow_tasks.text.pairs import pairs
from undertow_tasks.writing import END, cost_of_guessing, until_end


class Translation(Task):
    """A sentence, one word a step; then its translation, one word a step, and an end symbol.

        step     0 … T-4  T-3 T-2 T-1    T    T+1   T+2   T+3
        read     pads     i   go  home
        written                          나는  집에  간다   end

    A short sentence is padded in FRONT, so that its last word is at the last step read; of a long sentence the last T
    words are read. Translations are never cut: U is the length of the longest in any split, with its end symbol. Steps
    after an end symbol do not count.

    Attributes:
        trivial_loss: The loss of the best constant for each step, over the training translations.
    """

    shape = "seq2seq"

    def __init__(self, options: TranslationOptions, length: int, seed: int) -> None:
        data = pairs(options)
        self.length = length
        self.inputs = Tokens(len(data.source))
        self.output_size = len(data.target)
        self.writes = max(split.target.longest for split in data.splits.values()) + 1
        self._splits = data.splits
        target_NU = self._targets("train", torch.arange(self.size("train")))
        self.trivial_loss = cost_of_guessing(target_NU, until_end(target_NU)) or None

    def size(self, split: Split) -> int:
        """The number of pairs of the split."""
        return len(self._splits[split].source.start)

    def batch(self, split: Split, indices: NDArray[Any]) -> Batch:
        """Words `(B, T)`, pads in front; words of the translation `(B, U)`, end symbols after it."""
        chosen_B = torch.from_numpy(np.asarray(indices, dtype=np.int64))
        return Batch(self._splits[split].source.last(chosen_B, self.length), self._targets(split, chosen_B))

    def _targets(self, split: Split, chosen_B: Tensor) -> Tensor:
        """The translations of these pairs, end symbols after them, `(B, U)`."""
        target = self._splits[split].target
        at_BU = target.start[chosen_B, None] + torch.arange(self.writes)
        token_BU = target.flat[at_BU.clamp(max=len(target.flat) - 1)].long()
        token_BU[at_BU >= target.end[chosen_B, None]] = END
        return token_BU

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Cross entropy of every word in nats, `(B, U)`."""
        return functional.cross_entropy(output.movedim(-1, 1), target, reduction="none")

    def supervised(self, batch: Batch) -> Tensor:
        """The words of the translation and one end symbol, `(B, U)`."""
        return until_end(batch.target)

    def metrics(self) -> Mapping[str, Metric]:
        """`exact_match`: share of the sentences written without a mistake; `bleu`: corpus BLEU, 0 to 1."""
        return {"exact_match": ExactMatch(), "bleu": Bleu(END)}

    def cues(self, batch: Batch) -> Tensor:
        """Every step with a word, `(B, T)`, since it is not known which of them decide; for a pad, the first one."""
        return token_steps(batch.input)
