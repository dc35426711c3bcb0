"""Read what a running trial has recorded so far from its outbox.

follower = Follower(folder / "outbox.jsonl")
for name, value, step in follower.new_scalars(): ...

It works alike for a trial in one process and for one over several devices, and takes no time of the training thread.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from undertow.tracking.records import Metric, Tag
from undertow.tracking.shipping.batch import read_tail

_SNAPSHOT = re.compile(r"(.+/by_\w+)/at-(\d+)")
_DIGITS = 5  # of a snapshot's values: enough for a chart, and the ledger holds thousands of them


class Follower:
    """Reads an outbox as it grows.

    Attributes:
        latest: The latest value of every scalar, by metric name.
        best: Smallest and largest value of every scalar, by metric name.
        step: The latest training step.
        alone: Why a run in a pack is trained one by one; empty if it is not.
    """

    def __init__(self, outbox: Path) -> None:
        self.latest: dict[str, float] = {}
        self.best: dict[str, tuple[float, float]] = {}
        self.step = 0
        self.alone = ""
        self._outbox = outbox
        self._offset = 0
        self._snapshots: dict[str, dict[int, dict[int, float]]] = {}

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
                    self._read_way(entry.item)
            self._offset = max(entry.end for entry in tail if entry.end is not None)

    def history(self, curves: Mapping[str, tuple[list[int], list[float]]]) -> dict[str, dict[int, list[float]]]:
        """Earlier values of these curves, by training step, for every step that has all their points."""
        found: dict[str, dict[int, list[float]]] = {}
        for name, (axis, _) in curves.items():
            for step, points in sorted(self._snapshots.get(name, {}).items()):
                if all(each in points for each in axis):
                    found.setdefault(name, {})[step] = [points[each] for each in axis]
        return found

    def _read_way(self, tag: Tag) -> None:
        """Read from a tag how a pack is trained; a reason is recorded if it could not be trained otherwise."""
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
        self.best[metric.key] = min(low, metric.value), max(high, metric.value)
        self.latest[metric.key] = metric.value
        self.step = max(self.step, metric.step)
        return True
