"""Read what a running trial has recorded so far from its outbox.

follower = Follower(folder / "outbox.jsonl")
for name, value, step in follower.new_scalars(): ...

It works alike for a trial in one process and for one over several devices, and takes no time of the training thread.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from undertow._system.load import load_of
from undertow.tracking.records import Metric, Tag
from undertow.tracking.shipping.batch import read_tail

_SNAPSHOT = re.compile(r"(.+/by_\w+)/at-(\d+)")
_DIGITS = 5  # of a snapshot's values: enough for a chart, and the ledger holds thousands of them
_LOSSES = ("train/loss", "val/loss")
_MOST_POINTS = 128
"""Points of a learning curve that the ledger keeps."""

_LOAD = "undertow.load."


class Follower:
    """Reads an outbox as it grows.

    Attributes:
        latest: The latest value of every scalar, by metric name.
        best: Smallest and largest value of every scalar, by metric name.
        step: The latest training step.
        alone: Why a run in a pack is trained one by one; empty if it is not.
        load: Load of the machine for each processor at the ``start`` and the ``end`` of training.
    """

    def __init__(self, outbox: Path) -> None:
        self.latest: dict[str, float] = {}
        self.best: dict[str, tuple[float, float]] = {}
        self.step = 0
        self.alone = ""
        self.load: dict[str, float] = {}
        self._outbox = outbox
        self._offset = 0
        self._snapshots: dict[str, dict[int, dict[int, float]]] = {}
        self._losses: dict[str, dict[int, float]] = {}

    def new_scalars(self) -> Iterator[tuple[str, float, int]]:
        """Scalars recorded since the last call: name, value, training step."""
        while True:
            try:
                tail = read_tail(self._outbox, self._offset)
            except FileNotFoundError:
                return
            if not tail:
                return
            for entry in tail:
                if isinstance(entry.item, Metric) and self._is_scalar(entry.item):
                    metric = entry.item
                    yield metric.key, metric.value, metric.step
                elif isinstance(entry.item, Tag):
                    self._read_tag(entry.item)
            self._offset = max(entry.end for entry in tail if entry.end is not None)

    def history(self, curves: Mapping[str, tuple[list[int], list[float]]]) -> dict[str, dict[int, list[float]]]:
        """Earlier values of these curves, by training step, for every step that has all their points."""
        found: dict[str, dict[int, list[float]]] = {}
        for name, (axis, _) in curves.items():
            for step, points in sorted(self._snapshots.get(name, {}).items()):
                if all(each in points for each in axis):
                    found.setdefault(name, {})[step] = [points[each] for each in axis]
        return found

    def learning_curves(self) -> dict[str, tuple[list[int], list[float]]]:
        """The losses by training step, as ``train/loss/by_step``: every point, or every second, fourth, … of many.

        The points of a shorter run are then among those of a longer one, so that replicates have common steps.
        """
        found = {}
        for name, values in self._losses.items():
            every = 1
            while len(values) > every * _MOST_POINTS:
                every *= 2
            steps = sorted(values)[::every]
            found[f"{name}/by_step"] = steps, [float(f"{values[step]:.{_DIGITS}g}") for step in steps]
        return found

    def _read_tag(self, tag: Tag) -> None:
        """Read from a tag how a pack is trained and how loaded the machine is; a pack's reason is recorded first."""
        if tag.key.startswith(_LOAD) and (load := load_of(tag.value)) is not None:
            self.load[tag.key.removeprefix(_LOAD)] = load
        if tag.key == "undertow.pack.reason":
            self.alone = tag.value
        elif tag.key == "undertow.pack.way" and tag.value == "one by one":
            self.alone = self.alone or "measured to be faster"

    def _is_scalar(self, metric: Metric) -> bool:
        """Whether a metric is a scalar. Its value is kept, and so is a point of a snapshot."""
        if snapshot := _SNAPSHOT.fullmatch(metric.key):
            steps = self._snapshots.setdefault(snapshot[1], {})
            steps.setdefault(int(snapshot[2]), {})[metric.step] = round(metric.value, _DIGITS)
            return False
        if "/by_" in metric.key:
            return False
        low, high = self.best.get(metric.key, (metric.value, metric.value))
        if metric.key in _LOSSES:
            self._losses.setdefault(metric.key, {})[metric.step] = metric.value
        self.best[metric.key] = min(low, metric.value), max(high, metric.value)
        self.latest[metric.key] = metric.value
        self.step = max(self.step, metric.step)
        return True
