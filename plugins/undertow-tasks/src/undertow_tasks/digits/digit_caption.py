"""Digit caption: a scanned digit in, its name out, letter by letter. B batch, N images, U time written, P pixels.

To write a caption after reading an image once is the task of Vinyals et al. 2015, arXiv 1411.4555; the names as
captions are Undertow's.
"""

import unicodedata
from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

from undertow import Batch, Split, Vector
from undertow_tasks.digits.options import DigitCaptionOptions, Language
from undertow_tasks.digits.scans import CLASSES, PIXELS
from undertow_tasks.digits.task import DigitTask
from undertow_tasks.exact_match import ExactMatch
from undertow_tasks.writing import END, cost_of_guessing, until_end

NAMES: dict[Language, tuple[str, ...]] = {
    "english": ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    "korean": ("영", "일", "이", "삼", "사", "오", "육", "칠", "팔", "구"),
}


class DigitCaption(DigitTask):
    """The image at the only step that is read; then one letter a step, and an end symbol.

        step     0        1 2 3 4 5      6
        read     image
        written           s e v e n      end

    A Korean name is one syllable block and is spelled by its letters: 팔 is ㅍ, ㅏ, ㄹ.
    `length` is the number of steps written. Steps after a name's end symbol do not count, so a larger `length` changes
    neither the loss nor the scores.

    Attributes:
        trivial_loss: The loss of the best constant for each step, over the training names.
        trivial_scores: The share of validation, and of the test, that any one name has.
        letters: The letters by number, from 1; 0 is the end symbol.
    """

    shape = "one-to-many"
    inputs = Vector(PIXELS)

    def __init__(self, options: DigitCaptionOptions, length: int, seed: int) -> None:
        super().__init__(options, length, seed)
        names = [unicodedata.normalize("NFD", name) for name in NAMES[options.language]]
        self.writes = length
        self.letters = tuple(sorted(set("".join(names))))
        self.output_size = len(self.letters) + 1
        self._name_of = torch.full((len(names), length), END)
        for digit, name in enumerate(names):
            self._name_of[digit, : len(name)] = torch.tensor([self.letters.index(letter) + 1 for letter in name])
        _, labels_N = self.images("train")
        target_NU = self._name_of[labels_N]
        self.trivial_loss = cost_of_guessing(target_NU, until_end(target_NU))
        self.trivial_scores = {"exact_match": 1 / CLASSES}

    def batch(self, split: Split, indices: NDArray[Any]) -> Batch:
        """Images `(B, 1, 64)`, and the letters of their names `(B, U)`, end symbols after them."""
        input, label_B = super().batch(split, indices)
        return Batch(input, self._name_of[label_B])

    def supervised(self, batch: Batch) -> Tensor:
        """The letters and one end symbol, `(B, U)`."""
        return until_end(batch.target)

    def metrics(self) -> Mapping[str, Metric]:
        """`exact_match`: share of the images whose name is spelled without a mistake, its end included."""
        return {"exact_match": ExactMatch()}

    def cues(self, batch: Batch) -> Tensor:
        """The only step that is read, `(B, 1)`."""
        return torch.zeros(len(batch.target), 1, dtype=torch.int64, device=batch.target.device)
