"""The score of what is written as a whole."""

import pytest
import torch
from torch.nn.functional import one_hot

from undertow_tasks.exact_match import ExactMatch


def said(symbols: list[list[int]]) -> torch.Tensor:
    return one_hot(torch.tensor(symbols), 4).float()


def test_one_wrong_symbol_spoils_a_sequence_and_no_other() -> None:
    metric = ExactMatch()
    metric.update(said([[1, 2, 3], [1, 2, 0], [0, 2, 3]]), torch.tensor([[1, 2, 3], [1, 2, 3], [0, 2, 3]]))
    assert metric.compute().item() == pytest.approx(2 / 3)
    metric.update(said([[1, 1, 1]]), torch.tensor([[1, 1, 2]]))
    assert metric.compute().item() == pytest.approx(2 / 4)


def test_what_is_written_where_nothing_is_asked_does_not_count() -> None:
    metric = ExactMatch()
    metric.update(said([[1, 2, 3], [2, 0, 0]]), torch.tensor([[1, 2, -1], [1, -1, -1]]))
    assert metric.compute().item() == 0.5
