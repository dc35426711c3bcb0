"""MNIST by pixel: the task of Le, Jaitly & Hinton 2015, arXiv 1504.00941, with their fixed permutation as an option.

N images, B batch, P pixels.
"""

from torch import Tensor

from undertow import RequestError, Split
from undertow_tasks.digits.by_pixel import ByPixel
from undertow_tasks.digits.mnist import KEY, mnist
from undertow_tasks.digits.options import MnistByPixelOptions


class MnistByPixel(ByPixel):
    """`ByPixel` over MNIST: 784 steps with a pixel, or 196 with `side` 14, then blank ones.

    Attributes:
        trivial_scores: The share of the most frequent digit of the training images, the 1: 0.112.
    """

    def __init__(self, options: MnistByPixelOptions, length: int, seed: int) -> None:
        pixels = options.side**2
        order = f"mnist-by-pixel/permuted/{options.side}" if options.permuted else None
        super().__init__(options, length, seed, pixels=pixels, permuted=order)
        self._splits = mnist(options)
        _, labels_N = self._splits["train"]
        self.trivial_scores = {"accuracy": float(labels_N.bincount().max()) / len(labels_N)}
        if length < pixels:
            smaller = f", or {KEY}.side to 14" if options.side > 14 else ""
            raise RequestError(
                f"task `mnist-by-pixel`: an image has {pixels} pixels, one a step, and task.length is {length}; "
                f"set it to {pixels} or more{smaller}"
            )

    def images(self, split: Split) -> tuple[Tensor, Tensor]:
        """The images of a split, `(N, P)`, a byte a pixel, and their digits, `(N,)`."""
        return self._splits[split]

    def to_steps(self, images_BP: Tensor) -> Tensor:
        """Pixels in [0, 1] as steps, then blank steps, `(B, T, 1)`."""
        return super().to_steps(images_BP.float() / 255)
