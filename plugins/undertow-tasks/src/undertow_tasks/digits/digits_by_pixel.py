"""Digits by pixel: real images through a keyhole, and then nothing, for as long as `length` says. B batch, T time.

The pixel version of arXiv 1504.00941, over small images, so that it is learned in minutes. The blank steps move the
image into the past without making it any harder to see: what a longer sequence costs is memory alone.
"""

import torch
from torch import Tensor

from undertow import Batch, Vector, draws
from undertow_tasks.digits.options import DigitsByPixelOptions
from undertow_tasks.digits.scans import PIXELS, ScanTask


class DigitsByPixel(ScanTask):
    """One pixel a step, row by row; zeros from step 64 on; the answer is due at the last step.

    With `permuted`, the pixels come in a random order: the same for every image, every length and every seed.
    """

    shape = "many-to-one"
    inputs = Vector(1)

    def __init__(self, options: DigitsByPixelOptions, length: int, seed: int) -> None:
        super().__init__(options, length, seed)
        self._order_P = (
            torch.from_numpy(draws.permutation(0, "digits-by-pixel/permuted", PIXELS)) if options.permuted else None
        )

    def show(self, images_BP: Tensor) -> Tensor:
        """Pixels as steps, then blank steps, `(B, T, 1)`."""
        seen_BP = images_BP if self._order_P is None else images_BP[:, self._order_P]
        x_BT1 = seen_BP.new_zeros(len(seen_BP), self.length, 1)
        x_BT1[:, :PIXELS, 0] = seen_BP
        return x_BT1

    def cues(self, batch: Batch) -> Tensor:
        """The 64 steps with a pixel, `(B, 64)`."""
        return torch.arange(PIXELS, device=batch.target.device).expand(len(batch.target), PIXELS)
