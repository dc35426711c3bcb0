"""Binary addition."""

import math

import numpy as np
import pytest
import torch

from undertow import Options
from undertow_tasks.formal.binary_addition import PLUS, BinaryAddition


def number(digits: list[int]) -> int:
    """The value of binary digits, least significant first."""
    return sum(digit << place for place, digit in enumerate(digits))


@pytest.mark.parametrize("length", [13, 14, 41, 200])
def test_target_is_the_sum_least_significant_digit_first(length: int) -> None:
    task = BinaryAddition(Options(), length, 0)
    batch = task.batch("train", np.arange(200))
    assert batch.input.shape == (200, length)
    for x, y in zip(batch.input.tolist(), batch.target.tolist(), strict=True):
        plus = x.index(PLUS)
        one, other = x[:plus], x[plus + 1 :]
        assert len(other) - len(one) == (length - 1) % 2
        assert len(y) == task.writes == len(other) + 1
        assert number(y) == number(one) + number(other)


def test_sums_of_example_inputs() -> None:
    task = BinaryAddition(Options(), 7, 0)
    inputs = torch.tensor([[1, 1, 0, PLUS, 1, 0, 1], [1, 1, 1, PLUS, 1, 0, 0], [0, 0, 0, PLUS, 0, 0, 0]])
    assert task.rewritten(inputs).tolist() == [[0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]]


def test_carry_can_come_from_every_digit_and_the_plus_is_no_cue() -> None:
    task = BinaryAddition(Options(), 13, 0)
    cues = task.cues(task.batch("val", np.arange(2))).tolist()
    assert cues == [[step for step in range(13) if step != 6]] * 2
    chain = torch.tensor([[0, 1, 1, 1, 1, 1, PLUS, 1, 0, 0, 0, 0, 0]])
    assert task.rewritten(chain)[0, -1] == 0
    chain[0, 0] = 1
    assert task.rewritten(chain)[0, -1] == 1


def test_trivial_loss_includes_the_entropy_of_the_carry() -> None:
    pairs = [(a, b) for a in range(4) for b in range(8)]
    carry = sum(a + b > 7 for a, b in pairs) / len(pairs)
    entropy = -carry * math.log(carry) - (1 - carry) * math.log(1 - carry)
    assert BinaryAddition(Options(), 6, 0).trivial_loss == pytest.approx((3 * math.log(2) + entropy) / 4)
