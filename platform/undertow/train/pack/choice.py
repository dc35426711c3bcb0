"""Side by side or one by one: measured on the first steps of a pack, which are steps of its training.

    choice = Choice(pack, on_gpu=False)
    choice.begin()                      # before a batch: sets `pack.together`
    choice.end()                        # after it

Both ways compute the same up to rounding. The first steps alternate between them, always in the same order, and the
faster way goes on. A step on a CPU is timed in CPU seconds, which other processes of the machine do not change.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from undertow._system.atomic import write_once
from undertow.nn.pack import Pack

ROUNDS = 3
"""Steps of each way that are timed; the fastest counts, since the first one warms up."""


class Choice:
    """How a pack runs its networks.

    Args:
        pack: The pack.
        on_gpu: Time the GPU's work.
        file: Where the first decision is kept, which then holds for every pack with this file.

    Attributes:
        together: The decision; None before it is made.
        seconds: The time of one step, by way; None for a way that was not timed.
    """

    def __init__(self, pack: Pack, *, on_gpu: bool, file: Path | None = None) -> None:
        self._pack = pack
        self._on_gpu = on_gpu
        self._file = file
        self._batches = 0
        self._since = 0.0
        self.seconds: dict[bool, float | None] = {True: None, False: None}
        self.together: bool | None = False if pack.reason else self._recorded()

    def begin(self) -> None:
        """Set the way of the next batch, and start its time."""
        if not self._pack.reason and self._batches < 2 * ROUNDS:
            self._pack.together = self._batches % 2 == 0
        elif self.together is not None:
            self._pack.together = self.together
        self._since = self._now()

    def end(self) -> bool:
        """Stop the time of the batch; returns whether the decision was made by it."""
        if self._batches >= 2 * ROUNDS:
            return False
        took = self._now() - self._since
        known = self.seconds[self._pack.together]
        self.seconds[self._pack.together] = took if known is None else min(known, took)
        self._batches += 1
        if self._batches < 2 * ROUNDS:
            return False
        if self.together is None:
            side, single = self.seconds[True], self.seconds[False]
            self.together = single is None or (side is not None and side < single)
            if self._file is not None:
                self.together = write_once(self._file, str(int(self.together))) == "1"
        return True

    def state(self) -> dict[str, Any]:
        """What a resumed pack has to know."""
        return {"batches": self._batches, "together": self.together, "seconds": dict(self.seconds)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on with the decision of the pack that is resumed."""
        self._batches, self.together, self.seconds = state["batches"], state["together"], dict(state["seconds"])
        if self._pack.reason:
            self.together = False

    def tags(self) -> dict[str, str]:
        """The decision and both times, as tags of a run."""
        names = {True: "side by side", False: "one by one"}
        times = {
            f"undertow.pack.ms_{names[way].replace(' ', '_')}": f"{1000 * seconds / len(self._pack):.3f}"
            for way, seconds in self.seconds.items()
            if seconds is not None
        }
        reason = {"undertow.pack.reason": self._pack.reason} if self._pack.reason else {}
        return {"undertow.pack.way": names[bool(self.together)], **times, **reason}

    def _recorded(self) -> bool | None:
        if self._file is None or not self._file.exists():
            return None
        return self._file.read_text() == "1"

    def _now(self) -> float:
        if not self._on_gpu:
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()
