"""The trained network at lengths that it was not trained on: `evaluate: {lengths: [50, 100, 200]}`.

Curves ``val/loss/by_length`` and ``val/<metric>/by_length``, whose step is the length in time steps.
"""

from collections.abc import Mapping

import numpy as np
import pytorch_lightning as pl
import torch

from undertow.api.contract import Curve, Task
from undertow.nn.model import SequenceModel
from undertow.train.clock import Clock
from undertow.train.record import Record
from undertow.train.scores import Scores


class OtherLengths(pl.Callback):
    """Evaluates once, at the end, on rank 0.

    Args:
        tasks: By their length in time steps; at least one.
        model: The network, as it was before any strategy wrapped it.
        examples: Of the validation split, at each length.
        batch_size: Examples at a time.
        record: Where the curves go.
        clock: Stopped meanwhile.
    """

    def __init__(
        self,
        tasks: Mapping[int, Task],
        *,
        model: SequenceModel,
        examples: int,
        batch_size: int,
        record: Record,
        clock: Clock,
    ) -> None:
        self._tasks = tasks
        self._model = model
        self._examples = examples
        self._batch_size = batch_size
        self._record = record
        self._clock = clock

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Evaluate at every length."""
        if not trainer.is_global_zero:
            return
        with self._clock.paused():
            found = {length: self._scores(trainer, task) for length, task in self._tasks.items()}
        for name in next(iter(found.values())):
            curve = Curve(list(found), [scores[name] for scores in found.values()])
            self._record.curve(f"val/{name}/by_length", curve)
            self._record.curves[f"val/{name}/by_length"] = curve

    def _scores(self, trainer: pl.Trainer, task: Task) -> dict[str, float]:
        model = self._model
        scores = Scores(task).to(next(model.parameters()).device)
        held = task.size("val")
        count = self._examples if held is None else min(held, self._examples)
        training, writes = model.training, model.writes
        model.eval()
        model.writes = task.writes
        try:
            with torch.no_grad(), trainer.precision_plugin.forward_context():
                for start in range(0, count, self._batch_size):
                    batch = task.batch("val", np.arange(start, min(start + self._batch_size, count)))
                    batch = trainer.strategy.batch_to_device(trainer.precision_plugin.convert_input(batch))
                    scores.update(model(batch.input), batch)
        finally:
            model.train(training)
            model.writes = writes
        return {name: float(value) for name, value in scores.compute().items()}
