"""By pixel: an image through a keyhole, and then nothing, for as long as `length` says. B batch, T time, P pixels.

Le, Jaitly & Hinton 2015, arXiv 1504.00941, posed it over MNIST. The blank steps are ours: they move the image into the
past without making it any harder to see, so that what a longer sequence costs is memory alone.
"""

import torch
from torch import Tensor

from undertow import Batch, Options, Vector, draws
from undertow_tasks.digits.task import DigitTask


class ByPixel(DigitTask):
    """One pixel a step, row by row; zeros from step P on; the answer is due at the last step.

    Args:
        options: The task's options.
        length: Time steps, P or more.
        seed: Not used: nothing is drawn.
        pixels: P, of one image.
        permuted: The name of the order to show the pixels in, the same for every image, every length and every seed;
            None for row by row.
    """

    shape = "many-to-one"
    inputs = Vector(1)

    def __init__(self, options: Options, length: int, seed: int, *, pixels: int, permuted: str | None) -> None:
        super().__init__(options, length, seed)
        self._pixels = pixels
        self._order_P = torch.from_numpy(draws.permutation(0, permuted, pixels)) if permuted else None

    def show(self, images_BP: Tensor) -> Tensor:
        """Pixels as steps, then blank steps, `(B, T, 1)`."""
        seen_BP = images_BP if self._order_P is None else images_BP[:, self._order_P]
        x_BT1 = seen_BP.new_zeros(len(seen_BP), self.length, 1)
        x_BT1[:, : self._pixels, 0] = seen_BP
        return x_BT1

    def cues(self, batch: Batch) -> Tensor:
        """The steps with a pixel, `(B, P)`."""
        return torch.arange(self._pixels, device=batch.target.device).expand(len(batch.target), self._pixels)
