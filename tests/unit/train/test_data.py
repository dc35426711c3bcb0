"""The examples of a step: the same for any number of ranks, and from any first step."""

import os
import signal
from itertools import islice
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data._utils import signal_handling

from undertow.draws import integers, permutation, uniforms
from undertow.train.data import Stream, TaskData


def batches(count: int, **kwargs) -> list[np.ndarray]:
    arguments = {"size": 10, "batch_size": 4, "seed": 0, "rank": 0, "ranks": 1} | kwargs
    return list(islice(Stream(**arguments), count))


def test_every_pass_has_all_examples_of_a_finite_split_in_another_order() -> None:
    seen = np.concatenate(batches(5)).reshape(2, 10)
    assert sorted(seen[0]) == sorted(seen[1]) == list(range(10))
    assert list(seen[0]) != list(seen[1])


@pytest.mark.parametrize("size", [10, None])
def test_ranks_divide_the_batches_of_one_rank(size: int | None) -> None:
    one = batches(6, size=size)
    two = [np.concatenate(pair) for pair in zip(*(batches(6, size=size, rank=r, ranks=2) for r in (0, 1)), strict=True)]
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("size", [10, None])
def test_a_stream_can_start_at_any_batch(size: int | None) -> None:
    assert all(
        np.array_equal(a, b) for a, b in zip(batches(9, size=size)[4:], batches(5, size=size, first=4), strict=True)
    )


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 64, 100])
@pytest.mark.parametrize("batch_size", [1, 2, 6, 64, 150, 200])
def test_batches_are_cut_from_the_passes_whatever_the_sizes(size: int, batch_size: int) -> None:
    """Also a batch that is larger than the split, and one that spans three passes or more."""
    expected = np.concatenate([permutation(0, f"order/{k}", size) for k in range(5 * batch_size // size + 1)])
    seen = batches(5, size=size, batch_size=batch_size)
    assert [len(each) for each in seen] == [batch_size] * 5
    assert np.array_equal(np.concatenate(seen), expected[: 5 * batch_size])
    later = batches(2, size=size, batch_size=batch_size, first=3)
    assert np.array_equal(np.concatenate(later), np.concatenate(seen[3:]))


def test_draws_depend_only_on_seed_stream_and_index() -> None:
    whole = uniforms(3, "s", np.arange(100), 7)
    assert np.array_equal(uniforms(3, "s", np.array([42, 7]), 7), whole[[42, 7]])
    assert not np.array_equal(uniforms(4, "s", np.arange(100), 7), whole)
    assert not np.array_equal(uniforms(3, "t", np.arange(100), 7), whole)


def test_draws_are_uniform_and_uncorrelated() -> None:
    u = uniforms(0, "quality", np.arange(4000), 25)
    assert u.min() >= 0
    assert u.max() < 1
    counts, _ = np.histogram(u, bins=50, range=(0, 1))
    chi_square = ((counts - u.size / 50) ** 2 / (u.size / 50)).sum()
    assert 20 < chi_square < 95  # 49 degrees of freedom, p between 1e-4 and 1 - 1e-4
    correlations = np.corrcoef(u.T) - np.eye(25)
    assert np.abs(correlations).max() < 5 / np.sqrt(4000)
    neighbours = np.corrcoef(u[:-1, 0], u[1:, 0])[0, 1]
    assert abs(neighbours) < 5 / np.sqrt(4000)


def test_integers_fill_their_range_and_a_permutation_is_one() -> None:
    assert set(integers(0, "i", np.arange(500), 2, below=6).flatten()) == set(range(6))
    assert sorted(permutation(0, "p", 50)) == list(range(50))


def test_a_data_worker_is_not_ended_by_a_signal_to_every_process_that_comes_while_it_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_handlers = signal_handling._set_worker_signal_handlers

    def with_a_signal() -> None:
        set_handlers()
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(signal_handling, "_set_worker_signal_handlers", with_a_signal)
    task: Any = SimpleNamespace(batch=lambda split, indices: torch.as_tensor(indices), size=lambda split: 8)
    config: Any = SimpleNamespace(workers=1, batch_size=4, val_examples=8)
    assert [batch.tolist() for batch in TaskData(task, config, 0).val_dataloader()] == [[0, 1, 2, 3], [4, 5, 6, 7]]
