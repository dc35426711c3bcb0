"""A run of a few seconds by the platform's own Trainer, without other plugins: a callback is checked as it is called.

    whole = small_run(registry, [CallbackConfig(name="average")], folder, steps=60)
    whole.weights, whole.rows, whole.files

A run that is `killed` leaves what a process leaves that dies; a second call in the same folder resumes it.
"""

import random
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from undertow._system.stopping import StopRequest
from undertow.api.spec import CellSpec, Lengths, Options, TaskSpec
from undertow.config.load import LoadedExperiment
from undertow.config.schema import CallbackConfig, ExperimentConfig
from undertow.plugins.registry import Entry, Plugin, Registry
from undertow.testing.networks import FIRST, NETWORKS, small_network
from undertow.train.build import Built
from undertow.train.callbacks.plugins import build_callbacks
from undertow.train.devices import Devices
from undertow.train.job import train
from undertow.train.record import Record
from undertow.train.saves import BEST, LAST, PREVIOUS

_KIT = Plugin("undertow.testing", "undertow", "", "undertow.testing")
_TIMED = ("cost/",)


class Killed(BaseException):
    """Ends a run as abruptly as kill -9 does: nothing of Undertow or Lightning catches it."""


class _KilledAt(StopRequest):
    """Raises `Killed` the n-th time that it is asked, which is once a step; leaves the signals alone."""

    def __init__(self, looks: int | None) -> None:
        self._left = looks

    @property
    def reason(self) -> str | None:
        """None, until the run is killed."""
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                raise Killed
        return None

    @reason.setter
    def reason(self, value: str | None) -> None:
        """Nothing: no signal sets it."""

    def take_over(self) -> None:
        """Nothing: the kit leaves the signals alone."""


@dataclass
class Rows:
    """A journal in memory."""

    rows: list[tuple[str, float, int]] = field(default_factory=list)
    tagged: dict[str, str] = field(default_factory=dict)

    def metrics(self, rows: Iterable[tuple[str, float, int]]) -> None:
        """Keep rows."""
        self.rows += rows

    def tags(self, tags: Mapping[str, str]) -> None:
        """Keep tags."""
        self.tagged |= tags

    def sync(self) -> None:
        """Nothing."""

    def known(self) -> dict[str, set[int]]:
        """The steps of the rows, by name."""
        return {name: {step for other, _, step in self.rows if other == name} for name, _, _ in self.rows}


@dataclass(frozen=True)
class SmallRun:
    """What a run has left.

    Attributes:
        rows: What it recorded, as (name, value, step), sorted.
        checkpoint: Its last checkpoint.
        files: The content of every other file in its folder, by name.
        random_state: torch's random state at its end.
        refused: What the record refused, such as values that are not finite.
    """

    rows: list[tuple[str, float, int]]
    checkpoint: Mapping[str, Any]
    files: Mapping[str, bytes]
    random_state: Tensor
    refused: Sequence[str]

    @property
    def weights(self) -> dict[str, Tensor]:
        """The trained weights, by name."""
        return dict(self.checkpoint["state_dict"])


def small_run(
    registry: Registry,
    callbacks: Sequence[CallbackConfig],
    folder: Path,
    *,
    network: str = FIRST,
    journal: Rows | None = None,
    killed_after: int | None = None,
    **train_keys: Any,
) -> SmallRun:
    """Train a small network of the kit; torch's, NumPy's and Python's random states are left as they were.

    Args:
        registry: Where the callbacks are found.
        callbacks: The section `callbacks` of its configuration.
        folder: Where checkpoints and files go; a run that is there already is resumed.
        network: One of `networks.NETWORKS`.
        journal: What was recorded before, for a run that is resumed.
        killed_after: Steps after which the process dies; those that are validated do not count.
        **train_keys: More keys of `train`.

    Raises:
        Killed: The run was killed.
    """
    journal = journal or Rows()
    record = Record(journal, journal.known())
    with _random_states_kept(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        built = _built(registry, callbacks, network, train_keys)
        with ExitStack() as stack:
            stack.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(1)
            train(built, folder, record=record, stop=_KilledAt(killed_after), progress=False)
        random_state = torch.get_rng_state()
    saved = {LAST, BEST, PREVIOUS}
    return SmallRun(
        rows=sorted(row for row in journal.rows if not row[0].startswith(_TIMED)),
        checkpoint=torch.load(folder / LAST, weights_only=True),
        files={path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name not in saved},
        random_state=random_state,
        refused=[str(each.message) for each in caught if str(each.message).endswith("it is not recorded")],
    )


def _built(
    registry: Registry, callbacks: Sequence[CallbackConfig], network: str, train_keys: Mapping[str, Any]
) -> Built:
    model, task, _ = small_network(network)
    kind = NETWORKS[network]
    settings = {"accelerator": "cpu", "devices": 1, "batch_size": 4, "val_examples": 4, "log_every": 1, **train_keys}
    config = ExperimentConfig.model_validate(
        {
            "task": {"name": "of-the-kit", "length": task.length},
            "cell": {"name": "of-the-kit", "hidden_size": 8, "layers": kind.layers},
            "train": settings,
            "evaluate": {"test": False},
            "probes": [],
        }
    ).model_copy(update={"callbacks": list(callbacks)})
    described: Any = {"name": "of-the-kit", "summary": "A small one.", "factory": "x:Y", "options": Options}
    lengths = Lengths(default=task.length)
    known = replace(
        registry,
        cells={"of-the-kit": Entry(CellSpec(**described, state=kind.state), _KIT)},
        tasks={"of-the-kit": Entry(TaskSpec(**described, shape=task.shape, lengths=lengths), _KIT)},
    )
    loaded = LoadedExperiment(config, known)
    return Built(loaded, Devices("cpu", 1, "auto", "cpu"), task, model, {}, {}, callbacks=build_callbacks(loaded))


@contextmanager
def _random_states_kept() -> Iterator[None]:
    python_state, numpy_state = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=()):
        yield
    random.setstate(python_state)
    np.random.set_state(numpy_state)
