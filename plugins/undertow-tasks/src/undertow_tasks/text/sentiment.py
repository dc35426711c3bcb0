"""Sentiment: read a text, then say whether it is positive or negative. B batch, T time.

Common data are the reviews of Maas et al. 2011 (ACL P11-1015) and the sentences of Socher et al. 2013 (EMNLP D13-1170);
without data, the texts are generated.
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
from torchmetrics.classification import MulticlassAccuracy

from undertow import Batch, RequestError, Split, Task, Tokens
from undertow_tasks.text.corpus import corpus
from undertow_tasks.text.encoded import token_steps
from undertow_tasks.text.options import SentimentOptions

CLASSES = 2


class Sentiment(Task):
    """One token a step, and the answer at the last step: 1 positive, 0 negative.

    A short text is padded in FRONT, so that its last token is always at the last step. Of a long text the last T tokens
    are read: a longer sequence adds earlier tokens and moves none.

    Attributes:
        trivial_loss: The entropy of the training labels in nats: ln 2 where both are equally frequent.
        trivial_scores: The share of the more frequent label.
    """

    shape = "many-to-one"
    output_size = CLASSES

    def __init__(self, options: SentimentOptions, length: int, seed: int) -> None:
        self.length = length
        self._splits, vocabulary = corpus(options)
        self.inputs = Tokens(len(vocabulary))
        share = self._splits["train"].label.double().mean().item()
        if share in (0.0, 1.0):
            raise RequestError(
                f"{options.dataset or options.train}: every training text is {'positive' if share else 'negative'}; "
                "expected both"
            )
        self.trivial_loss = -share * math.log(share) - (1 - share) * math.log(1 - share)
        self.trivial_scores = {"accuracy": max(share, 1 - share)}

    def size(self, split: Split) -> int | None:
        """The number of texts of the split."""
        return len(self._splits[split].label)

    def batch(self, split: Split, indices: NDArray[Any]) -> Batch:
        """Tokens `(B, T)`, pads in front; labels `(B,)`."""
        texts, label_N = self._splits[split]
        chosen_B = torch.from_numpy(np.asarray(indices, dtype=np.int64))
        return Batch(texts.last(chosen_B, self.length), label_N[chosen_B])

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Cross entropy in nats, `(B,)`."""
        return functional.cross_entropy(output, target, reduction="none")

    def metrics(self) -> Mapping[str, Metric]:
        """`accuracy`: share of the texts whose label is the more likely answer."""
        return {"accuracy": MulticlassAccuracy(num_classes=CLASSES, average="micro")}

    def cues(self, batch: Batch) -> Tensor:
        """Every step with a token, `(B, T)`, since it is not known which of them decide; for a pad, the first one."""
        return token_steps(batch.input)
