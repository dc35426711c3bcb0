"""MNIST by pixel, over small files in MNIST's format that the tests write."""

import gzip
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from undertow import RequestError
from undertow_tasks.digits.mnist_by_pixel import MnistByPixel
from undertow_tasks.digits.options import MnistByPixelOptions

TRAIN, TEST = 120, 30
DRAWN = np.random.default_rng(0)
IMAGES = {
    "train": DRAWN.integers(0, 256, (TRAIN, 28, 28), dtype=np.uint8),
    "t10k": DRAWN.integers(0, 256, (TEST, 28, 28), dtype=np.uint8),
}
LABELS = {"train": np.arange(TRAIN, dtype=np.uint8) % 10, "t10k": np.arange(TEST, dtype=np.uint8) % 10}


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


def write(folder: Path, gzipped: bool = False, dotted: bool = False) -> str:
    folder.mkdir(exist_ok=True)
    for split in ("train", "t10k"):
        for name, array in (
            (f"{split}-images-idx3-ubyte", IMAGES[split]),
            (f"{split}-labels-idx1-ubyte", LABELS[split]),
        ):
            path = folder / ((name.replace("-idx", ".idx") if dotted else name) + (".gz" if gzipped else ""))
            path.write_bytes(gzip.compress(idx(array)) if gzipped else idx(array))
    return str(folder)


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return write(tmp_path / "mnist")


def task(folder: str, length: int = 784, seed: int = 0, **options) -> MnistByPixel:
    return MnistByPixel(MnistByPixelOptions(folder=folder, **options), length, seed)


def everything(of: MnistByPixel, split: str):
    return of.batch(split, np.arange(of.size(split)))


def test_test_split_is_the_published_one(folder: str) -> None:
    batch = everything(task(folder), "test")
    assert batch.input.shape == (TEST, 784, 1)
    assert np.array_equal((batch.input * 255).round().numpy().reshape(TEST, 28, 28), IMAGES["t10k"])
    assert batch.target.tolist() == LABELS["t10k"].tolist()
    assert 0 <= batch.input.min() < batch.input.max() <= 1


def test_training_and_validation_share_the_published_training_images(folder: str) -> None:
    of = task(folder)
    assert (of.size("train"), of.size("val")) == (110, 10)
    batches = [everything(of, split) for split in ("train", "val")]
    images = np.concatenate([(b.input * 255).round().numpy().astype(np.uint8).reshape(-1, 784) for b in batches])
    labels = np.concatenate([batch.target.numpy() for batch in batches])
    label_of = {bytes(image): label for image, label in zip(IMAGES["train"], LABELS["train"], strict=True)}
    assert {bytes(image) for image in images} == set(label_of)
    assert all(label_of[bytes(image)] == label for image, label in zip(images, labels, strict=True))
    assert sorted(batches[1].target.tolist()) == list(range(10))


@pytest.mark.parametrize(("gzipped", "dotted"), [(True, False), (False, True), (True, True)])
def test_files_may_be_gzipped_and_have_a_dot_in_place_of_the_hyphen(
    folder: str, tmp_path: Path, gzipped, dotted
) -> None:
    other = write(tmp_path / "other", gzipped, dotted)
    assert torch.equal(everything(task(folder), "val").input, everything(task(other), "val").input)


def test_with_a_side_of_14_each_pixel_is_the_mean_of_four(folder: str) -> None:
    batch = everything(task(folder, 196, side=14), "test")
    means = IMAGES["t10k"].reshape(TEST, 14, 2, 14, 2).mean((2, 4))
    assert batch.input.shape == (TEST, 196, 1)
    assert np.abs(batch.input.numpy().reshape(TEST, 14, 14) * 255 - means).max() <= 0.5


def test_longer_sequence_only_adds_blanks(folder: str) -> None:
    short, long = everything(task(folder), "val"), everything(task(folder, 800), "val")
    assert torch.equal(long.input[:, :784], short.input)
    assert not long.input[:, 784:].any()


def test_permuted_pixels_have_one_order_for_every_seed(folder: str) -> None:
    plain, permuted, other = (
        everything(task(folder, seed=seed, permuted=permuted), "val").input
        for seed, permuted in ((0, False), (0, True), (5, True))
    )
    assert torch.equal(permuted, other)
    assert not torch.equal(permuted, plain)
    assert torch.equal(permuted.sort(1).values, plain.sort(1).values)


def test_cues_are_the_steps_with_a_pixel_and_equal_probabilities_cost_ln_10(folder: str) -> None:
    of = task(folder, 200, side=14)
    batch = everything(of, "val")
    assert of.cues(batch).tolist() == [list(range(196))] * 10
    assert of.loss(torch.zeros(10, 10), batch.target).mean().item() == pytest.approx(of.trivial_loss)
    assert of.trivial_loss == math.log(10)
    assert of.trivial_scores == {"accuracy": everything(of, "train").target.bincount().max().item() / of.size("train")}


def test_files_are_read_once(folder: str) -> None:
    first = task(folder)
    for path in Path(folder).iterdir():
        path.unlink()
    assert torch.equal(everything(first, "val").input, everything(task(folder, 790), "val").input[:, :784])


def test_missing_source_is_refused_with_the_option_to_set() -> None:
    with pytest.raises(RequestError, match=r"no data: set either task\.options\.mnist-by-pixel\.folder"):
        task("")
    with pytest.raises(RequestError, match="two sources"):
        task("a", dataset="b")


def test_missing_file_is_named(folder: str) -> None:
    (Path(folder) / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(
        RequestError, match=r"no file t10k-labels-idx1-ubyte, nor .*\.gz; set task\.options\.mnist-by-pixel\."
    ):
        task(folder)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("train-images-idx3-ubyte", IMAGES["train"][:, :8, :8], r"of \(8, 8\) pixels, expected \(28, 28\)"),
        ("train-labels-idx1-ubyte", LABELS["train"][:-1], r"train images: 120, but 119 labels"),
        ("t10k-labels-idx1-ubyte", LABELS["t10k"] + 9, r"test images: number 1 has label 10, expected 0 to 9"),
    ],
)
def test_files_with_other_data_are_refused(folder: str, name: str, array: np.ndarray, message: str) -> None:
    (Path(folder) / name).write_bytes(idx(array))
    with pytest.raises(RequestError, match=message):
        task(folder)


def test_sequence_too_short_for_an_image_is_refused(folder: str) -> None:
    with pytest.raises(RequestError, match=r"784 pixels.*is 783; set it to 784 or more, or .*\.side to 14"):
        task(folder, 783)
    with pytest.raises(RequestError, match=r"196 pixels.*is 195; set it to 196 or more$"):
        task(folder, 195, side=14)


def test_hugging_face_dataset_gives_the_same_batches_as_files(folder: str, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="the extra `data` is not installed")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(num_classes=10)})
    saved = datasets.DatasetDict(
        {
            split: datasets.Dataset.from_dict({"image": list(IMAGES[part]), "label": LABELS[part]}, features=features)
            for split, part in (("train", "train"), ("test", "t10k"))
        }
    )
    datasets.disable_progress_bars()
    saved.save_to_disk(tmp_path / "saved")
    datasets.enable_progress_bars()
    by_name = MnistByPixel(MnistByPixelOptions(dataset=str(tmp_path / "saved")), 784, 0)
    for split in ("train", "val", "test"):
        for one, other in zip(everything(by_name, split), everything(task(folder), split), strict=True):
            assert torch.equal(one, other)


def test_dataset_with_other_columns_is_refused(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="the extra `data` is not installed")
    datasets.disable_progress_bars()
    datasets.Dataset.from_dict({"picture": [1, 2], "label": [0, 1]}).save_to_disk(tmp_path / "saved")
    datasets.enable_progress_bars()
    with pytest.raises(RequestError, match="no column image in a split `train`; expected image and label"):
        MnistByPixel(MnistByPixelOptions(dataset=str(tmp_path / "saved")), 784, 0)
