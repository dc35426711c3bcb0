"""When probes measure: before the first step, every `every` steps, and after the last; on rank 0 alone.

During training a curve is recorded under a name that has the training step, ``gradient/h/by_lag/at-000200``. The last
curve of a finished run gets the plain name, once, so that a chart of several runs shows one curve for each.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl

from undertow.api.contract import Batch, Curve, Subject
from undertow.config.schema import ProbeConfig
from undertow.errors import UndertowError
from undertow.nn.isolation import isolated
from undertow.train.build import Built
from undertow.train.clock import Clock
from undertow.train.record import Record


class Probing(pl.Callback):
    """Runs the probes of an experiment on schedule.

    A probe that raises ends the run, or with ``on_error: warn`` is recorded as the tag ``undertow.probe.<name>.error``.

    Args:
        built: The network, the task and the probes.
        record: Where measurements go.
        clock: Paused while probes measure.

    Raises (from its hooks):
        UndertowError: A probe failed, and its `on_error` is `fail`.
    """

    def __init__(self, built: Built, *, record: Record, clock: Clock) -> None:
        config = built.loaded.config
        self._built = built
        self._schedule = config.probes
        self._state = built.loaded.registry.cell(config.cell.name).state
        self._batch_size = config.train.batch_size * config.train.accumulate
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
        self._run(trainer, [entry for entry in self._schedule if self._is_due(entry)])

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure the trained network, and record its curves under their plain names."""
        if self._step == 0 or not trainer.is_global_zero:
            return
        self._run(trainer, [e for e in self._schedule if not (self._is_due(e) and e.name in self._latest)])
        for curves in self._latest.values():
            for name, curve in curves.items():
                self._record.curve(name, curve)
                self._record.curves[name] = curve

    def _is_due(self, entry: ProbeConfig) -> bool:
        return entry.every is not None and self._step % entry.every == 0

    def _run(self, trainer: pl.Trainer, due: Sequence[ProbeConfig]) -> None:
        if not due or not trainer.is_global_zero:
            return
        with self._clock.paused():
            for entry in due:
                batch = self._batch(trainer, entry.examples)
                try:
                    self._measure(entry.name, batch)
                except Exception as error:  # noqa: BLE001  (a probe is a plugin's code, and may raise anything)
                    self._fail(entry, error)

    def _batch(self, trainer: pl.Trainer, examples: int) -> Batch:
        """The first validation examples, on the model's device."""
        available = self._built.task.size("val")
        count = examples if available is None else min(examples, available)
        batch = self._built.task.batch("val", np.arange(count))
        moved: Batch = trainer.strategy.batch_to_device(trainer.precision_plugin.convert_input(batch))
        return moved

    def _measure(self, name: str, batch: Batch) -> None:
        subject = Subject(
            model=self._built.model,
            task=self._built.task,
            batch=batch,
            state=self._state,
            step=self._step,
            seconds_per_step=self._clock.seconds_per_step,
            batch_size=self._batch_size,
        )
        with isolated(self._built.model):
            measurement = self._built.probes[name].measure(subject)
        self._record.scalars(measurement.scalars, self._step)
        for curve_name, curve in measurement.curves.items():
            self._record.curve(f"{curve_name}/at-{self._step:06d}", curve)
        self._latest[name] = measurement.curves

    def _fail(self, entry: ProbeConfig, error: Exception) -> None:
        what = f"probe `{entry.name}` failed at step {self._step}"
        text = f"{what}: {type(error).__name__}: {error}{self._record.traceback(error, what)}"
        if entry.on_error == "fail":
            raise UndertowError(text) from error
        self._record.tag(f"undertow.probe.{entry.name}.error", text)
