"""The loss that probes look back from: that at the last supervised step. T time, B batch, H hidden."""

from torch import Tensor

from undertow import Batch, Model, Task


def last_supervised_step(task: Task, batch: Batch) -> int:
    """The last step that has a target in any of the examples."""
    supervised_BT = task.supervised(batch)
    if supervised_BT is None:
        return batch.input.shape[1] - 1
    return int(supervised_BT.any(0).nonzero().max())


def last_losses(model: Model, task: Task, batch: Batch, y_BH: Tensor, last: int) -> Tensor:
    """The loss of each example at the last supervised step; zero for an example that has no target there.

    Args:
        model: The network.
        task: Whose loss it is.
        batch: The examples.
        y_BH: The top layer's readout at that step.
        last: The step.
    """
    if task.shape != "aligned":
        return task.loss(model.decode(y_BH), batch.target)
    losses_B = task.loss(model.decode(y_BH.unsqueeze(1)), batch.target[:, last : last + 1])[:, 0]
    supervised_BT = task.supervised(batch)
    return losses_B if supervised_BT is None else losses_B * supervised_BT[:, last]
