"""By pixel: an image, one pixel a step, then blank steps up to `length`. B batch, T time, P pixels.

Le, Jaitly & Hinton 2015, arXiv 1504.00941, defined it over MNIST. The blank steps are Undertow's: they move the image
into the past and do not change it, so that a longer sequence is harder only because it must be remembered for longer.
"""

import torch
from torch import Tensor

from undertow import Batch, Options, Vector, draws
from undertow_tasks.digits.task import DigitTask


class ByPixel(DigitTask):
    """One pixel a step, row by row; zeros from step P on; the answer is at the last step.

    Args:
        options: The task's options.
        length: Time steps, P or more.
        seed: Not used: nothing is drawn.
        pixels: P, of one image.
        permuted: The name of the order of the pixels, which is the same for every image, length and seed; None for row
            by row.
    """

    shape = "many-to-one"
    inputs = Vector(1)

    def __init__(self, options: Options, length: int, seed: int, *, pixels: int, permuted: str | None) -> None:
        super().__init__(options, length, seed)
        self._pixels = pixels
        self._order_P = torch.from_numpy(draws.permutation(0, permuted, pixels)) if permuted else None

    def to_steps(self, images_BP: Tensor) -> Tensor:
        """Pixels as steps, then blank steps, `(B, T, 1)`."""
        ordered_BP = images_BP if self._order_P is None else images_BP[:, self._order_P]
        x_BT1 = ordered_BP.new_zeros(len(ordered_BP), self.length, 1)
        x_BT1[:, : self._pixels, 0] = ordered_BP
        return x_BT1

    def cues(self, batch: Batch) -> Tensor:
        """The steps with a pixel, `(B, P)`."""
        return torch.arange(self._pixels, device=batch.target.device).expand(len(batch.target), self._pixels)
