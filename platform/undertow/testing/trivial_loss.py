"""The loss and scores of the best answer that ignores the input, found by minimising the loss of the task.

    measured = measure_trivial_loss(task)
    measured.loss, measured.error, measured.scores

An answer that ignores the input is a constant: one vector, or, where every step has a target, one for all steps or one
for each, whichever is better. L-BFGS fits the constant to some examples for any loss. It starts from the mean of the
targets, or from the logarithm of the frequency of each class, which minimise squared error and cross entropy. The loss
of the constant is measured on other examples, since it is too low on those it was fitted to, until its relative error
is a quarter of a per cent.

B batch, T time, O output, N examples.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from undertow.api.contract import Batch, Split, Task
from undertow.draws import permutation
from undertow.train.scores import update_metric

_FITTED = 2_000_000
"""The most numbers that the constant is fitted to."""
_MEASURED = 20_000_000
"""The most numbers that its loss is measured on, of inputs or of outputs, whichever are more."""
_CLOSE = 0.0025
"""The relative error of the loss at which measuring stops."""


@dataclass(frozen=True)
class TrivialLoss:
    """A measured trivial loss.

    Attributes:
        loss: The loss of the best constant.
        error: Its standard error, from the variance over examples.
        examples: The number of examples it was measured on.
        scores: The scores of the same constant by the metrics of `Task.trivial_scores`, on the same examples.
    """

    loss: float
    error: float
    examples: int
    scores: Mapping[str, float]


def measure_trivial_loss(task: Task) -> TrivialLoss:
    """Measure the trivial loss: on training examples if they are finite, else on validation examples."""
    held = task.size("train")
    split: Split = "val" if held is None else "train"
    width = max(_numbers(task, task.batch(split, np.arange(1 if held == 1 else 2))), 1)
    fitted = min(max(_FITTED // width, 64), 16_384)
    if held is not None:
        fitted = min(fitted, held // 2)
        order = permutation(0, "testing/guess", held)
        fit_on, others = order[:fitted], order[fitted:]
    else:
        fit_on, others = np.arange(fitted), np.arange(fitted, fitted + _MEASURED // width)
    constants = _fit(task, task.batch(split, fit_on))
    metrics = [{k: v for k, v in task.metrics().items() if k in task.trivial_scores} for _ in constants]
    totals, squares, counted = torch.zeros(len(constants)), torch.zeros(len(constants)), 0
    totals, squares = totals.double(), squares.double()
    chunk = max(min(_FITTED // width, 8_192), 1)
    best, error, chosen = math.inf, math.inf, 0
    for start in range(0, min(len(others), max(_MEASURED // width, chunk)), chunk):
        batch = task.batch(split, others[start : start + chunk])
        with torch.no_grad():
            losses_KB = torch.stack([_losses(task, constant, batch) for constant in constants]).double()
            for constant, of_constant in zip(constants, metrics, strict=True):
                for metric in of_constant.values():
                    update_metric(metric, task, _answers(task, constant, batch), batch.target, supervised(task, batch))
        totals, squares = totals + losses_KB.sum(1), squares + losses_KB.square().sum(1)
        counted += losses_KB.shape[1]
        means = totals / counted
        chosen = int(means.argmin())
        best = float(means[chosen])
        error = math.sqrt(max(float(squares[chosen]) / counted - best**2, 0.0) / counted)
        if counted >= 4 * chunk and error < _CLOSE * best:
            break
    return TrivialLoss(best, error, counted, {name: float(each.compute()) for name, each in metrics[chosen].items()})


def _numbers(task: Task, batch: Batch) -> int:
    """The numbers of one example, of its input or of its answers, whichever are more."""
    return max(batch.input[0].numel(), math.prod(answers_shape(task, batch)[1:]) * task.output_size)


def answers_shape(task: Task, batch: Batch) -> tuple[int, ...]:
    """The shape of the answers: one per sequence, or one for each step that is read or written."""
    if task.shape == "aligned":
        return (len(batch.input), batch.input.shape[1])
    return (len(batch.input), task.writes) if task.writes else (len(batch.input),)


def supervised(task: Task, batch: Batch) -> Tensor:
    """Which answers count in training, in the shape of the answers."""
    mask = task.supervised(batch)
    return torch.ones(answers_shape(task, batch), dtype=torch.bool) if mask is None else mask


def _answers(task: Task, constant: Tensor, batch: Batch) -> Tensor:
    """The constant as the output of a network for a batch."""
    return constant.expand(*answers_shape(task, batch), task.output_size)


def _losses(task: Task, constant: Tensor, batch: Batch) -> Tensor:
    """The mean loss of each example's answers, weighted so that the mean over examples is that over answers."""
    examples = len(batch.target)
    losses = task.loss(_answers(task, constant, batch), batch.target)
    mask = task.supervised(batch)
    if mask is None:
        return losses.reshape(examples, -1).mean(1)
    return torch.where(mask, losses, 0.0).sum(1) / mask.sum(1).float().mean()


def _fit(task: Task, batch: Batch) -> list[Tensor]:
    """The best constants: `(O,)`, and where there are answers at several steps also `(T, O)`."""
    found = [_descend(task, batch, _start(task, batch, each_step=False))]
    if len(answers_shape(task, batch)) > 1:
        found.append(_descend(task, batch, _start(task, batch, each_step=True)))
    return found


def _start(task: Task, batch: Batch, *, each_step: bool) -> Tensor:
    """The constant that minimises squared error or cross entropy."""
    target = batch.target
    if target.is_floating_point():
        seen = target.float()
    else:
        seen = functional.one_hot(target.clamp(0, task.output_size - 1), task.output_size).float()
    weight = supervised(task, batch).float()
    over = 0 if each_step else tuple(range(seen.ndim - 1))
    count = weight.sum(over).clamp(min=1.0).unsqueeze(-1)
    mean = (seen * weight.unsqueeze(-1)).sum(over) / count
    return mean if target.is_floating_point() else (mean + 1e-4).log()


def _descend(task: Task, batch: Batch, start: Tensor) -> Tensor:
    constant = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([constant], max_iter=20, line_search_fn="strong_wolfe", tolerance_grad=1e-4)

    def closure() -> float:
        optimizer.zero_grad()
        loss = _losses(task, constant, batch).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return constant.detach()
