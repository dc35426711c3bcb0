"""Digits by pixel: the scans, of 64 pixels each; the task is learned in minutes."""

from undertow_tasks.digits.by_pixel import ByPixel
from undertow_tasks.digits.options import DigitsByPixelOptions
from undertow_tasks.digits.scans import PIXELS


class DigitsByPixel(ByPixel):
    """`ByPixel` over the scans: 64 steps with a pixel, then blank ones."""

    def __init__(self, options: DigitsByPixelOptions, length: int, seed: int) -> None:
        order = "digits-by-pixel/permuted" if options.permuted else None
        super().__init__(options, length, seed, pixels=PIXELS, permuted=order)
