"""The score of written sequences as a whole."""

import pytest
import torch
from torch.nn.functional import one_hot

from undertow_tasks.exact_match import ExactMatch


def logits(symbols: list[list[int]]) -> torch.Tensor:
    return one_hot(torch.tensor(symbols), 4).float()


def test_sequence_with_one_wrong_symbol_does_not_count() -> None:
    metric = ExactMatch()
    metric.update(logits([[1, 2, 3], [1, 2, 0], [0, 2, 3]]), torch.tensor([[1, 2, 3], [1, 2, 3], [0, 2, 3]]))
    assert metric.compute().item() == pytest.approx(2 / 3)
    metric.update(logits([[1, 1, 1]]), torch.tensor([[1, 1, 2]]))
    assert metric.compute().item() == pytest.approx(2 / 4)


def test_symbols_at_steps_with_target_minus_1_are_ignored() -> None:
    metric = ExactMatch()
    metric.update(logits([[1, 2, 3], [2, 0, 0]]), torch.tensor([[1, 2, -1], [1, -1, -1]]))
    assert metric.compute().item() == 0.5
