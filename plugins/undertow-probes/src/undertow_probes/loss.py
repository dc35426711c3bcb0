"""The loss at the last supervised step, from which probes look back, and the steps before it.

Steps count from the first that is read. Those that a task writes follow; they read the symbols of the target, as in
training. T time read and written, B batch, I input, H hidden, U time written.
"""

import torch
from torch import Tensor

from undertow import Batch, Model, Task, supervised_losses


def encoded(model: Model, task: Task, batch: Batch) -> Tensor:
    """The input of the lowest layer at every step, `x_TBI`."""
    return model.encode(batch.input, batch.target) if task.writes else model.encode(batch.input)


def last_supervised_step(task: Task, batch: Batch) -> int:
    """The last step that has a target in any of the examples."""
    supervised = task.supervised(batch)
    if supervised is None:
        return batch.input.shape[1] + task.writes - 1
    return _first_answer(task, batch) + int(supervised.any(0).nonzero().max())


def last_losses(model: Model, task: Task, batch: Batch, y_BH: Tensor, last: int) -> Tensor:
    """The loss of each example at the last supervised step; zero for an example that has no target there.

    Args:
        model: The network.
        task: The task with the loss.
        batch: The examples.
        y_BH: The top layer's readout at that step.
        last: The step.
    """
    if task.shape != "aligned" and not task.writes:
        return task.loss(model.decode(y_BH), batch.target)
    at = last - _first_answer(task, batch)
    losses_B = task.loss(model.decode(y_BH.unsqueeze(1)), batch.target[:, at : at + 1])[:, 0]
    return losses_B * answered(task, batch, last)


def answered(task: Task, batch: Batch, step: int) -> Tensor:
    """Whether each example has a target at a supervised step: `(B,)` bool."""
    supervised = task.supervised(batch)
    if supervised is None:
        return torch.ones(len(batch.target), dtype=torch.bool, device=batch.target.device)
    return supervised[:, step - _first_answer(task, batch)]


def mean_loss(model: Model, task: Task, batch: Batch) -> Tensor:
    """The mean loss over all supervised steps of all examples, which is what training lowers."""
    x_TBI = encoded(model, task, batch)
    y_TBH, _ = model.advance(x_TBI, model.initial_state(x_TBI.shape[1]))
    losses, _ = supervised_losses(task, model.output(y_TBH), batch)
    return losses.mean()


def _first_answer(task: Task, batch: Batch) -> int:
    """The step of the first column of a target with one answer per step."""
    return batch.input.shape[1] if task.writes else 0
