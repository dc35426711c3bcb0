"""Scanned digits: 1797 real images of 8x8 pixels that come with scikit-learn, so that no network is needed.

    images_N64, labels_N = scans("val")

They are the test part of the UCI dataset "Optical Recognition of Handwritten Digits" (doi 10.24432/C50P49), written by
43 people; each pixel counts the ink of a 4x4 block of the scan, 0 to 16. N images, P pixels.
"""

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from undertow import Split, draws

CLASSES = 10
SIDE = 8
PIXELS = SIDE * SIDE
SIZES: dict[Split, int] = {"train": 1197, "val": 300, "test": 300}
"""Number of images of each split. The splits are the same for every seed, so that runs can be compared."""


@cache
def scans(split: Split) -> tuple[Tensor, Tensor]:
    """The images of a split, `(N, 64)` row by row in [0, 1], 32 bits, and their digits, `(N,)`."""
    images_NP, labels_N = _all_scans()
    first = 0
    for name, size in SIZES.items():
        if name == split:
            break
        first += size
    chosen = draws.permutation(0, "digits/splits", len(labels_N))[first : first + SIZES[split]]
    return torch.from_numpy(images_NP[chosen]), torch.from_numpy(labels_N[chosen])


@cache
def _all_scans() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    from sklearn.datasets import load_digits  # takes two seconds of CPU; other tasks do not need it

    images_NP, labels_N = load_digits(return_X_y=True)
    return (images_NP / 16).astype(np.float32), labels_N.astype(np.int64)
