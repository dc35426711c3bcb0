"""The mean loss and the metrics of a network over some batches of a task.

    scores = Scores(task)
    scores.update(model(batch.input), batch)
    scores.compute()                                # {"loss": …, "accuracy": …}; then everything starts again at zero

B batch, T time, U time written, O output.
"""

from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric

from undertow.api.contract import Batch, Task
from undertow.nn.losses import supervised_losses


def update_metric(metric: Metric, task: Task, output: Tensor, target: Tensor, mask: Tensor) -> None:
    """Add the answers that count: of a task that writes, whole sequences with target -1 at the steps that do not."""
    if task.writes:
        metric.update(output, target.where(mask, -1))
    else:
        metric.update(output[mask], target[mask])


class Scores(nn.Module):
    """Accumulates over batches, and over ranks.

    Args:
        task: The task, whose loss and metrics are computed.
    """

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task
        self.loss = MeanMetric(nan_strategy="disable")  # otherwise NaN is left out, and the mean looks finite
        self.metrics = nn.ModuleDict(dict(task.metrics()))

    def update(self, output: Tensor, batch: Batch) -> None:
        """Add one batch."""
        losses, mask = supervised_losses(self.task, output, batch)
        self.loss.update(losses)
        for _, metric in self._metrics():
            update_metric(metric, self.task, output, batch.target, mask)

    def compute(self) -> dict[str, Tensor]:
        """Return the loss and every metric by name, over all batches since the last call."""
        found = {"loss": self.loss.compute()} | {name: metric.compute() for name, metric in self._metrics()}
        self.loss.reset()
        for _, metric in self._metrics():
            metric.reset()
        return found

    def _metrics(self) -> list[tuple[str, Metric]]:
        return [(name, metric) for name, metric in self.metrics.items() if isinstance(metric, Metric)]
