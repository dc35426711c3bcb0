"""The two tasks over scanned digits."""

import math

import numpy as np
import pytest
import torch

from undertow import Options
from undertow_tasks.digits.digit import Digit
from undertow_tasks.digits.digits_by_pixel import DigitsByPixel
from undertow_tasks.digits.options import DigitsByPixelOptions
from undertow_tasks.digits.scans import SIZES, scans

SPLITS = ("train", "val", "test")


def by_pixel(length: int = 64, seed: int = 0, permuted: bool = False) -> DigitsByPixel:
    return DigitsByPixel(DigitsByPixelOptions(permuted=permuted), length, seed)


def test_splits_are_disjoint_and_cover_all_images() -> None:
    from sklearn.datasets import load_digits

    in_splits = [bytes(image) for split in SPLITS for image in scans(split)[0].mul(16).byte().numpy()]
    in_sklearn = [bytes(image) for image in load_digits().data.astype(np.uint8)]
    assert sorted(in_splits) == sorted(in_sklearn)
    assert len(set(in_sklearn)) == len(in_sklearn) == sum(SIZES.values())


def test_images_keep_their_labels() -> None:
    from sklearn.datasets import load_digits

    label_of = {bytes(i): t for i, t in zip(load_digits().data.astype(np.uint8), load_digits().target, strict=True)}
    for split in SPLITS:
        images_NP, labels_N = scans(split)
        for image, label in zip(images_NP.mul(16).byte().numpy(), labels_N.tolist(), strict=True):
            assert label_of[bytes(image)] == label


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_constant_answer_has_an_accuracy_of_a_tenth(split: str) -> None:
    _, labels_N = scans(split)
    assert torch.bincount(labels_N, minlength=10).tolist() == [30] * 10
    for first in (10, 50, 130):
        assert torch.bincount(labels_N[:first], minlength=10).tolist() == [first // 10] * 10


def test_the_most_frequent_digit_in_training_has_the_share_that_is_documented() -> None:
    counts = torch.bincount(scans("train")[1], minlength=10)
    assert counts.max() == 123
    assert counts.min() > 110


def test_images_of_a_digit_are_split_in_contiguous_blocks_in_order_of_writing() -> None:
    from sklearn.datasets import load_digits

    place_of = {bytes(image): place for place, image in enumerate(load_digits().data.astype(np.uint8))}
    places = {
        split: {
            digit: [place_of[bytes(i)] for i in images_NP[labels_N == digit].mul(16).byte().numpy()]
            for digit in range(10)
        }
        for split, (images_NP, labels_N) in ((split, scans(split)) for split in SPLITS)
    }
    for digit in range(10):
        train, val, test = (places[split][digit] for split in SPLITS)
        assert max(train) < min(val)
        assert max(val) < min(test)
        assert train == sorted(train)


def test_pixels_are_read_row_by_row_followed_by_blanks() -> None:
    batch = by_pixel(100).batch("val", np.array([5, 2]))
    images_NP, labels_N = scans("val")
    assert batch.input.shape == (2, 100, 1)
    assert batch.input.dtype == torch.float32
    assert torch.equal(batch.input[:, :64, 0], images_NP[[5, 2]])
    assert not batch.input[:, 64:].any()
    assert torch.equal(batch.target, labels_N[[5, 2]])
    assert 0 <= batch.input.min() < batch.input.max() == 1


def test_longer_sequence_only_adds_blanks() -> None:
    short, long = (by_pixel(length).batch("train", np.arange(8)) for length in (64, 65))
    assert torch.equal(long.input[:, :64], short.input)
    assert torch.equal(long.target, short.target)


def test_permuted_pixels_have_one_order_for_every_seed() -> None:
    plain = by_pixel().batch("val", np.arange(20)).input
    permuted = by_pixel(permuted=True).batch("val", np.arange(20)).input
    assert not torch.equal(plain, permuted)
    assert torch.equal(plain.sort(1).values, permuted.sort(1).values)
    assert torch.equal(permuted, by_pixel(seed=7, permuted=True).batch("val", np.arange(20)).input)


def test_digit_has_the_whole_image_in_one_step() -> None:
    batch = Digit(Options(), 1, 0).batch("test", np.array([0, 9]))
    assert torch.equal(batch.input[:, 0], scans("test")[0][[0, 9]])
    assert batch.input.shape == (2, 1, 64)


@pytest.mark.parametrize("task", [by_pixel(80), Digit(Options(), 1, 0)], ids=["digits-by-pixel", "digit"])
def test_predicting_by_frequency_costs_the_trivial_loss(task) -> None:
    target = task.batch("train", np.arange(SIZES["train"])).target
    frequency = torch.bincount(target) / len(target)
    loss = task.loss(frequency.log().expand(len(target), 10), target).mean()
    assert loss.item() == pytest.approx(task.trivial_loss, rel=0.01)
    assert task.trivial_loss == math.log(10)


def test_cues_are_the_steps_with_a_pixel() -> None:
    batch = by_pixel(90).batch("train", np.arange(SIZES["train"]))
    inked = batch.input[:, :, 0].any(0).nonzero()[:, 0].tolist()
    for cues in by_pixel(90).cues(batch).tolist():
        assert set(inked) <= set(cues)
        assert cues == list(range(64))


def test_accuracy_counts_right_answers() -> None:
    metric = by_pixel().metrics()["accuracy"]
    metric.update(torch.eye(10)[[1, 2, 3, 4]], torch.tensor([1, 2, 3, 0]))
    assert metric.compute().item() == 0.75


def test_index_past_the_last_image_is_refused() -> None:
    with pytest.raises(IndexError):
        by_pixel().batch("val", np.array([SIZES["val"]]))
