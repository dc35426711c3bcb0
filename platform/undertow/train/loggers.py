"""Loggers of Lightning beside the record that goes to MLflow: `track.loggers`.

    with mirrored(outbox, config, folder) as journal:     # the outbox itself if there are none
        record = Record(journal, …)

A logger gets every row after it was recorded: scalars by training step, curves by the step of their axis. One that
fails is left out from then on, which standard error and a tag of the run say; the run and its record go on.
"""

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from operator import methodcaller
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger

from undertow.config.load import flatten, without_password
from undertow.config.schema import ExperimentConfig
from undertow.errors import RequestError
from undertow.plugins.imports import import_class, require_options
from undertow.train.record import Journal, Row


def require_loggers(config: ExperimentConfig) -> None:
    """Check that every logger of a configuration can be imported and takes its options.

    Raises:
        RequestError: One cannot.
    """
    for index, each in enumerate(config.track.loggers):
        key = f"track.loggers.{index}"
        cls = import_class(each.name, f"{key}.name")
        if not issubclass(cls, Logger):
            raise RequestError(f"{key}.name: {each.name} is no logger of Lightning: it must inherit from Logger")
        require_options(cls, each.options, f"{key}.options")


@contextmanager
def mirrored(journal: Journal, config: ExperimentConfig, folder: Path) -> Iterator[Journal]:
    """A journal whose rows also go to the loggers of a configuration.

    Args:
        journal: Where rows are recorded.
        config: The run.
        folder: The run's folder. A logger that takes a `save_dir` and has none writes into its folder `loggers`.
    """
    if not config.track.loggers:
        yield journal
        return
    mirror = _Mirror(journal)
    for index, each in enumerate(config.track.loggers):
        mirror.add(f"{index}.{each.name.rpartition('.')[2]}", partial(_make, each.name, each.options, folder))
    params = flatten(without_password(config))
    mirror.call(methodcaller("log_hyperparams", params))
    try:
        yield mirror
    except BaseException:  # re-raised: Ctrl-C and kill signals end a logger, too
        mirror.call(methodcaller("finalize", "failed"))
        raise
    mirror.call(methodcaller("finalize", "success"))


class _Mirror:
    """Records everything in the journal first, and then tells the loggers."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._loggers: dict[str, Logger] = {}

    def add(self, name: str, make: Callable[[], Logger]) -> None:
        """Make a logger; it is left out if that fails."""
        try:
            self._loggers[name] = make()
        except Exception as error:  # noqa: BLE001  (a logger's code may raise anything)
            self._leave_out(name, error)

    def call(self, action: Callable[[Logger], object]) -> None:
        """Do something with each logger; one that fails is left out."""
        for name, logger in list(self._loggers.items()):
            try:
                action(logger)
            except Exception as error:  # noqa: BLE001  (as above)
                self._leave_out(name, error)

    def metrics(self, rows: Iterable[Row]) -> None:
        """Record rows, and log them by step."""
        rows = list(rows)
        self._journal.metrics(rows)
        for step, same in groupby(rows, key=lambda row: row[2]):
            values = {name: value for name, value, _ in same}
            self.call(methodcaller("log_metrics", values, step))

    def tags(self, tags: Mapping[str, str]) -> None:
        """Record tags; loggers have none."""
        self._journal.tags(tags)

    def sync(self) -> None:
        """Flush the record, and let the loggers write what they hold back."""
        self._journal.sync()
        self.call(methodcaller("save"))

    def _leave_out(self, name: str, error: Exception) -> None:
        self._loggers.pop(name, None)
        text = f"{type(error).__name__}: {error}"
        print(f"warning: track.loggers.{name} failed and is left out: {text}", file=sys.stderr)
        self._journal.tags({f"undertow.logger.{name}.error": text})


def _make(path: str, options: Mapping[str, Any], folder: Path) -> Logger:
    cls = import_class(path, "track.loggers")
    own = {"save_dir": str(folder / "loggers")} if "save_dir" in inspect.signature(cls).parameters else {}
    logger: Logger = cls(**{**own, **options})
    return logger
