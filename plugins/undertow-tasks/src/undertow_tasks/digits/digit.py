"""Digit: the whole image in one step, a control that needs no memory. B batch, P pixels."""

import torch
from torch import Tensor

from undertow import Batch, Vector
from undertow_tasks.digits.scans import PIXELS
from undertow_tasks.digits.task import DigitTask


class Digit(DigitTask):
    """64 pixels in, one of ten digits out; a cell is here a layer without recurrence."""

    shape = "one-to-one"
    inputs = Vector(PIXELS)

    def cues(self, batch: Batch) -> Tensor:
        """The only step, `(B, 1)`."""
        return torch.zeros(len(batch.target), 1, dtype=torch.int64, device=batch.target.device)
