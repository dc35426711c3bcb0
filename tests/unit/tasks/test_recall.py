"""The recall task: multi-query associative recall."""

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from undertow import Batch, RequestError
from undertow_tasks.memory.options import RecallOptions
from undertow_tasks.memory.recall import Recall


def examples(length: int = 64, count: int = 100, **options: int) -> tuple[Recall, Batch]:
    task = Recall(RecallOptions(**options), length, 0)
    return task, task.batch("train", np.arange(count))


def answer(x: list[int], pairs: int) -> int:
    """The answer at the last step, from the definition; there are 64 keys and 64 values."""
    return x[x[: 2 * pairs : 2].index(x[-1]) * 2 + 1] - 64


@pytest.mark.parametrize(
    ("length", "pairs"), [(64, 4), (128, 8), (256, 16), (512, 64), (16, 4), (17, 4), (18, 4), (8, 2), (9, 2)]
)
def test_pairs_come_first_and_each_key_is_queried_once(length: int, pairs: int) -> None:
    task, batch = examples(length, pairs=pairs)
    for x, y, counted in zip(*(part.tolist() for part in (*batch, task.supervised(batch))), strict=True):
        keys, values = x[: 2 * pairs : 2], x[1 : 2 * pairs : 2]
        assert set(keys) <= set(range(64))
        assert set(values) <= set(range(64, 128))
        assert len(set(keys)) == len(set(values)) == pairs
        queries = [step for step in range(length) if counted[step]]
        assert sorted(x[step] for step in queries) == sorted(keys)
        assert queries[0] >= 2 * pairs
        assert queries[-1] == length - 1
        assert all((length - 1 - step) % 2 == 0 for step in queries)
        value_of = dict(zip(keys, values, strict=True))
        assert all(y[step] == value_of[x[step]] - 64 for step in queries)
        assert {x[step] for step in range(2 * pairs, length)} - set(keys) <= {128}


def test_queries_are_most_frequent_soon_after_the_pairs_and_occur_in_every_gap() -> None:
    task, batch = examples(64, 20_000)
    share_T = task.supervised(batch).float().mean(0)[9::2]
    assert share_T[-1] == 1
    assert share_T[:-1].min() > 0
    assert share_T[0] > 2 * share_T[3] > 2 * share_T[12]
    assert share_T.sum().item() == pytest.approx(4, rel=1e-5)


def test_gaps_follow_the_power_law() -> None:
    """With two pairs, one gap is drawn, with a probability of g^-0.99 over the sum of these weights."""
    task, batch = examples(24, 50_000, pairs=2)
    share_G = task.supervised(batch).double().mean(0)[5:-1:2]
    weight_G = torch.arange(1, 10, dtype=torch.float64) ** -0.99
    assert torch.allclose(share_G, weight_G / weight_G.sum(), atol=0.01)


def test_last_query_is_of_every_pair_equally_often() -> None:
    task, batch = examples(16, 20_000)
    share = torch.bincount(task.cues(batch)[:, 0], minlength=8) / 20_000
    assert (share[::2] - 1 / 4).abs().max() < 0.015


@pytest.mark.parametrize("values", [5, 64])
def test_predicting_by_frequency_costs_the_trivial_loss(values: int) -> None:
    task, batch = examples(20, 5000, values=values)
    counted_BT = task.supervised(batch)
    frequency = torch.bincount(batch.target[counted_BT], minlength=values) / counted_BT.sum()
    losses = task.loss(frequency.log().expand(5000, 20, values), batch.target)
    assert losses.shape == (5000, 20)
    assert losses[counted_BT].mean().item() == pytest.approx(task.trivial_loss, rel=0.01)
    assert task.trivial_loss == math.log(values)
    assert task.trivial_scores == {"accuracy": 1 / values}
    assert task.output_size == values


def test_cues_alone_determine_the_last_answer() -> None:
    task, batch = examples(32)
    for x, y, cues in zip(*(part.tolist() for part in (*batch, task.cues(batch))), strict=True):
        key, value, query = cues
        assert answer(x, 4) == y[-1] == x[value] - 64
        assert x[key] == x[query]
        assert (value, query) == (key + 1, 31)
        fresh_key = next(token for token in range(64) if token not in x)
        fresh_value = next(token for token in range(64, 128) if token not in x)
        for step in set(range(32)) - {key, query}:
            fresh = fresh_value if 64 <= x[step] < 128 else fresh_key
            assert (answer([*x[:step], fresh, *x[step + 1 :]], 4) != y[-1]) == (step == value)
        for other in {0, 2, 4, 6} - {key}:
            assert answer([*x[:-1], x[other]], 4) != y[-1]
            swapped = list(x)
            swapped[key], swapped[other] = x[other], x[key]
            assert answer(swapped, 4) != y[-1]


def test_accuracy_counts_right_values() -> None:
    task, batch = examples(64, 2)
    counted_BT = task.supervised(batch)
    answers = torch.nn.functional.one_hot(batch.target, 64).float()
    answers[:, -1] = torch.nn.functional.one_hot((batch.target[:, -1] + 1) % 64, 64).float()
    metric = task.metrics()["accuracy"]
    metric.update(answers[counted_BT], batch.target[counted_BT])
    assert metric.compute().item() == 0.75


def test_too_many_pairs_for_the_length_are_refused_with_a_remedy() -> None:
    with pytest.raises(RequestError, match=r"allowed: 32 or more. Raise task.length, or lower .*pairs"):
        examples(31, pairs=8)


def test_too_few_different_sequences_are_refused() -> None:
    with pytest.raises(ValidationError, match="1 pairs of 64 keys and 64 values make 4096 sequences"):
        RecallOptions(pairs=1)


@pytest.mark.parametrize("few", ["keys", "values"])
def test_more_pairs_than_keys_or_values_are_refused(few: str) -> None:
    with pytest.raises(ValidationError, match="4 pairs need as many keys and values"):
        RecallOptions(**{few: 3})
    assert examples(16, **{few: 4})[1].input.shape == (100, 16)
