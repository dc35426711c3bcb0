"""MNIST, from a folder with its four IDX files or from a Hugging Face dataset: 28x28 pixels, or 14x14.

    images_NP, labels_N = mnist(MnistByPixelOptions(folder="~/mnist"))["train"]

LeCun, Bottou, Bengio & Haffner 1998, doi 10.1109/5.726791. Files may be gzipped, and their names may have a dot in
place of the hyphen. A twelfth of the training images, 5000 of 60000, is held out for validation. N images, P pixels.
"""

from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from undertow import RequestError, Split
from undertow_tasks.digits.options import MnistByPixelOptions
from undertow_tasks.digits.scans import CLASSES
from undertow_tasks.files.hub import hub_splits
from undertow_tasks.files.idx import read_idx
from undertow_tasks.holdout import held_out

KEY = "task.options.mnist-by-pixel"
FULL_SIDE = 28
VALIDATION = 1 / 12

Images = tuple[NDArray[np.uint8], NDArray[np.int64]]


@cache
def mnist(options: MnistByPixelOptions) -> dict[Split, tuple[Tensor, Tensor]]:
    """The images of each split, `(N, P)` row by row, a byte a pixel, and their digits, `(N,)`.

    With a side of 14 each pixel is the mean of four.

    Raises:
        RequestError: No source is named, or two, or the source is not MNIST.
    """
    if bool(options.folder) == bool(options.dataset):
        fault = "two sources" if options.folder else "no data"
        raise RequestError(
            f"task `mnist-by-pixel` has {fault}: set either {KEY}.folder to a folder with MNIST's four files, "
            f"train-images-idx3-ubyte.gz and so on, or {KEY}.dataset to a Hugging Face dataset, such as ylecun/mnist"
        )
    published = _from_dataset(options.dataset) if options.dataset else _from_folder(options.folder)
    for part, (images_NRC, labels_N) in published.items():
        _check(f"{options.folder or options.dataset}, {part} images", images_NRC, labels_N)
    images_NRC, labels_N = published["train"]
    kept_N, held_N = held_out(f"{options.folder or options.dataset}, train images", labels_N, VALIDATION)
    splits: dict[Split, Images] = {
        "train": (images_NRC[kept_N], labels_N[kept_N]),
        "val": (images_NRC[held_N], labels_N[held_N]),
        "test": published["test"],
    }
    return {
        split: (torch.from_numpy(_downscaled(images, options.side)), torch.from_numpy(labels))
        for split, (images, labels) in splits.items()
    }


def _from_folder(folder: str) -> dict[str, Images]:
    return {
        split: (
            read_idx(_file(folder, f"{prefix}-images-idx3-ubyte"), ndim=3, option=f"{KEY}.folder"),
            read_idx(_file(folder, f"{prefix}-labels-idx1-ubyte"), ndim=1, option=f"{KEY}.folder").astype(np.int64),
        )
        for split, prefix in (("train", "train"), ("test", "t10k"))
    }


def _file(folder: str, name: str) -> str:
    root = Path(folder).expanduser()
    for stem in (name, name.replace("-idx", ".idx")):
        for ending in ("", ".gz"):
            if (root / (stem + ending)).is_file():
                return str(root / (stem + ending))
    raise RequestError(
        f"{root}: no file {name}, nor {name}.gz; set {KEY}.folder to the folder with MNIST's four files, "
        f"from the working folder, {Path.cwd()}, or absolute"
    )


def _from_dataset(name: str) -> dict[str, Images]:
    splits = hub_splits(name, f"{KEY}.dataset")
    images: dict[str, Images] = {}
    for split in ("train", "test"):
        missing = {"image", "label"} - set(splits[split].column_names if split in splits else ())
        if missing:
            raise RequestError(
                f"{KEY}.dataset: `{name}` has no column {' and '.join(sorted(missing))} in a split `{split}`; "
                "expected image and label in both train and test, as ylecun/mnist has them"
            )
        pictures = [np.asarray(image, dtype=np.uint8) for image in splits[split]["image"]]
        shapes = {picture.shape for picture in pictures}
        if shapes != {(FULL_SIDE, FULL_SIDE)}:
            raise RequestError(f"{KEY}.dataset: `{name}` has images of {sorted(shapes)} pixels, expected (28, 28) each")
        images[split] = np.stack(pictures), np.asarray(splits[split]["label"], dtype=np.int64)
    return images


def _check(at: str, images_NRC: NDArray[np.uint8], labels_N: NDArray[np.int64]) -> None:
    if images_NRC.shape[1:] != (FULL_SIDE, FULL_SIDE):
        raise RequestError(f"{at}: of {images_NRC.shape[1:]} pixels, expected (28, 28); use MNIST's own files")
    if len(images_NRC) != len(labels_N):
        raise RequestError(f"{at}: {len(images_NRC)}, but {len(labels_N)} labels; use files that belong together")
    wrong_N = np.flatnonzero((labels_N < 0) | (labels_N >= CLASSES))
    if len(wrong_N):
        label = labels_N[wrong_N[0]]
        raise RequestError(f"{at}: number {wrong_N[0]} has label {label}, expected 0 to 9; use labelled data")


def _downscaled(images_NRC: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    block = FULL_SIDE // side
    if block == 1:
        return images_NRC.reshape(len(images_NRC), -1).copy()
    blocks = images_NRC.reshape(len(images_NRC), side, block, side, block)
    means_NP: NDArray[np.float32] = blocks.mean(axis=(2, 4), dtype=np.float32).reshape(len(images_NRC), -1)
    return means_NP.round().astype(np.uint8)
