"""What a network is worth on some batches of a task: the mean loss, and every metric of the task's.

    scores = Scores(task)
    scores.update(model(batch.input), batch)
    scores.compute()                                # {"loss": …, "accuracy": …}, and all is forgotten

B batch, T time, U time written, O output.
"""

from torch import Tensor, nn, ones_like
from torch import bool as torch_bool
from torchmetrics import MeanMetric, Metric

from undertow.api.contract import Batch, Task


class Scores(nn.Module):
    """Accumulates over batches, and over ranks.

    Args:
        task: Whose loss and metrics these are.
    """

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task
        self.loss = MeanMetric(nan_strategy="disable")  # or NaN would be left out, and the mean look fine
        self.metrics = nn.ModuleDict(dict(task.metrics()))

    def update(self, output: Tensor, batch: Batch) -> None:
        """Add one batch."""
        losses, answered = supervised(self.task, output, batch)
        self.loss.update(losses)
        for _, metric in self._metrics():
            if self.task.writes:
                metric.update(output, batch.target.where(answered, -1))
            else:
                metric.update(output[answered], batch.target[answered])

    def compute(self) -> dict[str, Tensor]:
        """The loss and every metric by its name, over all batches since the last time."""
        found = {"loss": self.loss.compute()} | {name: metric.compute() for name, metric in self._metrics()}
        self.loss.reset()
        for _, metric in self._metrics():
            metric.reset()
        return found

    def _metrics(self) -> list[tuple[str, Metric]]:
        return [(name, metric) for name, metric in self.metrics.items() if isinstance(metric, Metric)]


def supervised(task: Task, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """The losses of all answers in one row, and which answers they are: `(B,)`, or one a step."""
    losses = task.loss(output, batch.target)
    mask = task.supervised(batch)
    if mask is None:
        return losses.flatten(), ones_like(losses, dtype=torch_bool)
    return losses[mask], mask
