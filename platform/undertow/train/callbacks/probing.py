"""When probes measure: before the first step, every so many steps, and after the last; on rank 0 alone.

While training goes on, a curve is recorded under a name that keeps the training step,
``gradient/h/by_lag/at-000200``. The last one of a finished run gets the plain name, once, so that a chart of several
runs overlays one curve each.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl

from undertow.api.contract import Curve, Probe, Subject, Task
from undertow.config.schema import ProbeConfig
from undertow.errors import UndertowError
from undertow.nn.isolation import isolated
from undertow.nn.model import SequenceModel
from undertow.train.clock import Clock
from undertow.train.record import Record


class Probing(pl.Callback):
    """Runs probes on schedule.

    Args:
        schedule: The configured probes.
        probes: The probes themselves, by name.
        model: The network, as it was before any strategy wrapped it.
        task: Its task.
        state: Names of the cell's state parts.
        batch_size: Examples of one training step.
        record: Where measurements go.
        clock: Stopped meanwhile.
    """

    def __init__(
        self,
        schedule: Sequence[ProbeConfig],
        probes: Mapping[str, Probe],
        *,
        model: SequenceModel,
        task: Task,
        state: tuple[str, ...],
        batch_size: int,
        record: Record,
        clock: Clock,
    ) -> None:
        self._schedule = schedule
        self._probes = probes
        self._model = model
        self._task = task
        self._state = state
        self._batch_size = batch_size
        self._record = record
        self._clock = clock
        self._step = 0
        self._latest: dict[str, Mapping[str, Curve]] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure at initialisation."""
        self._step = trainer.global_step
        if self._step == 0:
            self._run(trainer, self._schedule)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure what is due."""
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        self._run(trainer, [entry for entry in self._schedule if entry.every and self._step % entry.every == 0])

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure the trained network, and record its curves under their plain names."""
        if self._step == 0 or not trainer.is_global_zero:
            return
        fresh = [e for e in self._schedule if not (e.every and self._step % e.every == 0 and e.name in self._latest)]
        self._run(trainer, fresh)
        for curves in self._latest.values():
            for name, curve in curves.items():
                self._record.curve(name, curve)
                self._record.curves[name] = curve

    def _run(self, trainer: pl.Trainer, due: Sequence[ProbeConfig]) -> None:
        if not due or not trainer.is_global_zero:
            return
        with self._clock.paused():
            for entry in due:
                held = self._task.size("val")
                batch = self._task.batch("val", np.arange(min(entry.examples, held or entry.examples)))
                batch = trainer.strategy.batch_to_device(trainer.precision_plugin.convert_input(batch))
                subject = Subject(
                    model=self._model,
                    task=self._task,
                    batch=batch,
                    state=self._state,
                    step=self._step,
                    seconds_per_step=self._clock.seconds_per_step,
                    batch_size=self._batch_size,
                )
                try:
                    with isolated(self._model):
                        measurement = self._probes[entry.name].measure(subject)
                    self._record.scalars(measurement.scalars, self._step)
                    for name, curve in measurement.curves.items():
                        self._record.curve(f"{name}/at-{self._step:06d}", curve)
                except Exception as error:
                    raise UndertowError(
                        f"probe `{entry.name}` failed at step {self._step}: {type(error).__name__}: {error}"
                    ) from error
                self._latest[entry.name] = measurement.curves
