"""The task of scanned digits that move over a screen."""

import math

import numpy as np
import pytest
import torch

from undertow import Batch, RequestError
from undertow_tasks.digits.digit_video import SCREEN, DigitVideo
from undertow_tasks.digits.options import DigitVideoOptions
from undertow_tasks.digits.scans import scans


def examples(length: int, count: int = 50, split: str = "train", seed: int = 0, **options: int):
    task = DigitVideo(DigitVideoOptions(**options), length, seed)
    return task, task.batch(split, np.arange(count))


def seen(batch: Batch) -> torch.Tensor:
    return batch.input.ne(0).any(-1)


@pytest.mark.parametrize(("length", "digits", "shown"), [(40, 4, 4), (23, 3, 2), (4, 4, 4), (10, 1, 100)])
def test_each_digit_is_on_screen_for_the_given_frames_and_then_blank(length: int, digits: int, shown: int) -> None:
    _, batch = examples(length, digits=digits, shown=shown)
    span = length // digits
    starts = [digit * span for digit in range(digits)]
    for seen_T, label_T in zip(seen(batch).tolist(), batch.target.tolist(), strict=True):
        for start, end in zip(starts, [*starts[1:], length], strict=True):
            assert len(set(label_T[start:end])) == 1
            assert seen_T[start:end] == [frame < shown for frame in range(end - start)]


def test_target_of_a_blank_frame_is_the_last_digit_seen() -> None:
    _, batch = examples(40)
    for seen_T, label_T in zip(seen(batch).tolist(), batch.target.tolist(), strict=True):
        last = None
        for is_seen, label in zip(seen_T, label_T, strict=True):
            last = label if is_seen else last
            assert label == last


def test_frames_have_scans_of_the_split_with_their_labels() -> None:
    _, batch = examples(12, 20, split="val")
    images_NP, labels_N = scans("val")
    label_of = {bytes(image): label for image, label in zip(images_NP.numpy(), labels_N.tolist(), strict=True)}
    frames = batch.input.unflatten(-1, (SCREEN, SCREEN))
    for frame, label in zip(frames.flatten(0, 1), batch.target.flatten().tolist(), strict=True):
        windows = frame.unfold(0, 8, 1).unfold(1, 8, 1).flatten(0, 1).flatten(1)
        whole = [bytes(w.contiguous().numpy()) for w in windows if torch.isclose(w.sum(), frame.sum())]
        assert label in [label_of.get(window) for window in whole]


def test_digit_moves_one_pixel_per_frame_along_each_axis_within_the_screen() -> None:
    _, batch = examples(30, 100, digits=1, shown=30)
    frames = batch.input.unflatten(-1, (SCREEN, SCREEN))
    ink = frames.flatten(1).sum(1) / 30
    assert torch.allclose(frames.sum((2, 3)), ink[:, None].expand(100, 30), rtol=1e-4)  # no ink is cut off
    for across in (2, 3):
        weight = frames.sum(across)
        centre = (weight * torch.arange(SCREEN)).sum(-1) / weight.sum(-1)
        assert torch.allclose(centre.diff(dim=1).abs(), torch.ones(100, 29), atol=1e-3)


def test_digits_start_at_every_position() -> None:
    _, batch = examples(4, 3000, digits=4)
    corner = batch.input[:, 0].unflatten(-1, (SCREEN, SCREEN)).ne(0)
    assert len({tuple(image.nonzero().amin(0).tolist()) for image in corner}) >= 25


def test_seeds_draw_different_digits_and_all_equally_often() -> None:
    one, other = examples(20)[1], examples(20, seed=1)[1]
    assert not torch.equal(one.target, other.target)
    share = torch.bincount(examples(40, 3000)[1].target[:, 0], minlength=10) / 3000
    assert (share - 0.1).abs().max() < 0.03


def test_cue_is_the_last_frame_with_a_digit() -> None:
    task, batch = examples(23, digits=3, shown=2)
    assert task.cues(batch).tolist() == [[15]] * 50
    assert seen(batch)[:, 15].all()
    assert not seen(batch)[:, 16:].any()


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_answer_is_a_function_of_the_frames(split: str) -> None:
    task, batch = examples(23, 200, split=split)
    assert torch.equal(task.answer(batch.input), batch.target)


def test_answer_to_a_reversed_video_is_the_last_digit_seen_or_0() -> None:
    task, batch = examples(12, digits=2, shown=2)
    backwards = task.answer(batch.input.flip(1))
    assert (backwards[:, :4] == 0).all()
    assert torch.equal(backwards[:, 4:10], batch.target[:, 6:7].expand(50, 6))
    assert torch.equal(backwards[:, 10:], batch.target[:, :1].expand(50, 2))


def test_equal_probabilities_cost_the_trivial_loss() -> None:
    task, batch = examples(20)
    losses = task.loss(torch.zeros(50, 20, 10), batch.target)
    assert losses.shape == (50, 20)
    assert losses.mean().item() == pytest.approx(task.trivial_loss) == pytest.approx(math.log(10))


def test_more_digits_than_frames_are_refused() -> None:
    with pytest.raises(RequestError, match=r"8 digits do not fit into 7 frames; set task\.length to 8 or more"):
        examples(7, digits=8)
