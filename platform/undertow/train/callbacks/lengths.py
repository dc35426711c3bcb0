"""The trained network at lengths that it was not trained on: `evaluate: {lengths: [50, 100, 200]}`.

Curves ``val/loss/by_length`` and ``val/<metric>/by_length``, whose step is the length in time steps.
"""

import numpy as np
import pytorch_lightning as pl
import torch

from undertow.api.contract import Curve, Task
from undertow.train.build import Built
from undertow.train.clock import Clock
from undertow.train.record import Record
from undertow.train.scores import Scores


class OtherLengths(pl.Callback):
    """Evaluates once, at the end, on rank 0, on `evaluate.examples` of the validation split at each length.

    Args:
        built: The network, and the task at each length; at least one.
        record: Where the curves go.
        clock: Paused during the evaluation.
    """

    def __init__(self, built: Built, *, record: Record, clock: Clock) -> None:
        config = built.loaded.config
        self._model = built.model
        self._tasks = built.other_lengths
        self._examples = config.evaluate.examples or config.train.val_examples
        self._batch_size = config.train.batch_size
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
        available = task.size("val")
        count = self._examples if available is None else min(available, self._examples)
        training = model.training
        model.eval()
        try:
            with torch.no_grad(), trainer.precision_plugin.forward_context():
                for start in range(0, count, self._batch_size):
                    batch = task.batch("val", np.arange(start, min(start + self._batch_size, count)))
                    batch = trainer.strategy.batch_to_device(trainer.precision_plugin.convert_input(batch))
                    scores.update(model(batch.input, writes=task.writes), batch)
        finally:
            model.train(training)
        return {name: float(value) for name, value in scores.compute().items()}
