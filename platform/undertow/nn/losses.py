"""The losses of a batch at its supervised steps.

    losses, mask = supervised_losses(task, model(batch.input, batch.target), batch)
    losses.mean()                       # what training minimizes

B batch, T time, U time written, N supervised steps of all examples.
"""

from torch import Tensor, ones_like
from torch import bool as torch_bool

from undertow.api.contract import Batch, Task


def supervised_losses(task: Task, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """The losses of a batch without the steps that have no target.

    Args:
        task: The task, whose loss is computed.
        output: The output of the network for the batch, as `Model.output` returns it.
        batch: The batch.

    Returns:
        The losses `(N,)`, and the mask of the supervised steps: `(B,)` for one target a sequence, `(B, T)` or `(B, U)`
        for one a step.
    """
    losses = task.loss(output, batch.target)
    mask = task.supervised(batch)
    if mask is None:
        return losses.flatten(), ones_like(losses, dtype=torch_bool)
    return losses[mask], mask
