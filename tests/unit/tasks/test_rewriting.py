"""The common parts of reverse, sort and binary addition: their strings and their trivial loss."""

import numpy as np
import pytest
import torch

from undertow_tasks.formal.binary_addition import BinaryAddition
from undertow_tasks.formal.options import ReverseOptions, SortOptions
from undertow_tasks.formal.reverse import Reverse
from undertow_tasks.formal.rewriting import Rewriting
from undertow_tasks.formal.sort import Sort
from undertow_tasks.formal.strings import share, strings

SPLITS = ("train", "val", "test")


@pytest.mark.parametrize(("length", "alphabet"), [(4, 2), (5, 3), (4, 4), (3, 5), (2, 8), (3, 10)])
def test_every_string_is_in_exactly_one_split(length: int, alphabet: int) -> None:
    indices = np.arange(40 * alphabet**length)
    found = {
        split: {tuple(x) for seed in (0, 1) for x in strings("task", seed, split, indices, length, alphabet).tolist()}
        for split in SPLITS
    }
    assert sum(map(len, found.values())) == len(set.union(*found.values())) == alphabet**length
    assert all(0 <= symbol < alphabet for each in found["val"] for symbol in each)
    assert all(len(each) == share(split, alphabet) * alphabet**length for split, each in found.items())


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("alphabet", [2, 5, 8])
def test_every_symbol_is_equally_frequent_at_every_step_and_after_every_other(split: str, alphabet: int) -> None:
    x_BT = strings("task", 0, split, np.arange(40_000), 20, alphabet)
    for step in range(20):
        assert np.abs(np.bincount(x_BT[:, step], minlength=alphabet) / 40_000 - 1 / alphabet).max() < 0.02
    together = np.bincount(x_BT[:, -2] * alphabet + x_BT[:, -1], minlength=alphabet**2) / 40_000
    assert np.abs(together - 1 / alphabet**2).max() < 0.01


def make(kind: str, length: int) -> Rewriting:
    if kind == "reverse":
        return Reverse(ReverseOptions(alphabet=5), length, 0)
    return Sort(SortOptions(alphabet=5), length, 0) if kind == "sort" else BinaryAddition(SortOptions(), length, 0)


@pytest.mark.parametrize(
    ("kind", "length"), [("reverse", 8), ("sort", 8), ("sort", 30), ("binary-addition", 14), ("binary-addition", 15)]
)
def test_best_constant_for_each_step_costs_the_trivial_loss(kind: str, length: int) -> None:
    task = make(kind, length)
    batch = task.batch("val", np.arange(20_000))
    frequency_UO = torch.nn.functional.one_hot(batch.target, task.output_size).double().mean(0)
    losses = task.loss(frequency_UO.clamp(min=1e-12).log().expand(20_000, -1, -1), batch.target)
    assert losses.shape == batch.target.shape == (20_000, task.writes)
    assert losses.mean().item() == pytest.approx(task.trivial_loss, rel=0.005)


@pytest.mark.parametrize(
    ("kind", "length"), [("reverse", 3), ("sort", 5), ("sort", 7), ("binary-addition", 10), ("binary-addition", 11)]
)
def test_the_trivial_score_is_the_share_of_the_most_frequent_answer_of_all_strings(kind: str, length: int) -> None:
    task = make(kind, length)
    every = torch.cartesian_prod(*[torch.arange(task.alphabet)] * task.symbols)
    counts = task.rewritten(task.to_input(every)).unique(dim=0, return_counts=True)[1]
    of_the_split = share("val", task.alphabet) if kind == "reverse" else 1.0
    assert task.trivial_scores["exact_match"] == pytest.approx(counts.max().item() / (len(every) * of_the_split))


@pytest.mark.parametrize("kind", ["reverse", "sort", "binary-addition"])
def test_every_written_symbol_counts_for_loss_and_metric(kind: str) -> None:
    task = make(kind, 13)
    batch = task.batch("val", np.arange(4))
    assert task.supervised(batch) is None
    logits = torch.nn.functional.one_hot(batch.target, task.output_size).float()
    logits[0, -1] = logits[0, -1].flip(-1)
    metric = task.metrics()["exact_match"]
    metric.update(logits, batch.target)
    assert metric.compute().item() == (1.0 if logits[0, -1].argmax() == batch.target[0, -1] else 0.75)
