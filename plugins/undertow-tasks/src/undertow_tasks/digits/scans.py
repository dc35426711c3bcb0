"""Scanned digits: 1797 real images of 8x8 pixels that come with scikit-learn, so that no network is needed.

    images_N64, labels_N = scans("val")

They are the test part of the UCI dataset "Optical Recognition of Handwritten Digits" (doi 10.24432/C50P49), written by
13 people, in order of writing; each pixel counts the ink of a 4x4 block of the scan, 0 to 16. N images, P pixels.

Which person wrote an image is not recorded. A random split has every writer in all of its parts, and a score on it says
little about writers that were not trained on. So the splits are contiguous blocks: of each digit the last 30 images, by
two or three writers, are the test, the 30 before them the validation. One writer may be on both sides of a border.
Validation and test have 30 images of each digit, so a constant answer, like guessing, has an accuracy of exactly 0.1
there. In training the most frequent digit has 123 of 1197 images, a share of 0.103.
"""

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from undertow import Split
from undertow_tasks.holdout import blocks

CLASSES = 10
SIDE = 8
PIXELS = SIDE * SIDE
HELD = 30
"""Images of each digit in the validation split, and in the test split."""
SIZES: dict[Split, int] = {"train": 1197, "val": 300, "test": 300}
"""Number of images of each split. The splits are the same for every seed, so that runs can be compared."""


@cache
def scans(split: Split) -> tuple[Tensor, Tensor]:
    """The images of a split, `(N, 64)` row by row in [0, 1], 32 bits, and their digits, `(N,)`."""
    images_NP, labels_N = _all_scans()
    chosen = dict(zip(SIZES, blocks("the scanned digits", labels_N, HELD), strict=True))[split]
    return torch.from_numpy(images_NP[chosen]), torch.from_numpy(labels_N[chosen])


@cache
def _all_scans() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    from sklearn.datasets import load_digits  # takes two seconds of CPU; other tasks do not need it

    images_NP, labels_N = load_digits(return_X_y=True)
    return (images_NP / 16).astype(np.float32), labels_N.astype(np.int64)
