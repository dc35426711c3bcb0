"""The check that trains: a cell must learn a short adding task."""

import math
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from undertow.api.contract import Vector
from undertow.nn.model import SequenceModel
from undertow.testing.adding import LENGTH, TRIVIAL_LOSS, adding
from undertow.testing.asserts import expect
from undertow.testing.cell._base import CellChecks

_EXAMPLES = 32
"""Of one training step."""
_WINDOW = 20
"""Steps over which the training loss is averaged."""
_GOAL = 0.75 * TRIVIAL_LOSS


class TrainingChecks(CellChecks):
    """Learning.

    Attributes:
        training_steps: The most steps in which the cell must learn the adding task at T = 10, 32 examples each.
    """

    training_steps: int = 800

    def test_learns_to_add(self) -> None:
        """Does it learn the adding task at T = 10 to 3/4 of the loss of the best constant answer?"""
        cell = self.build(2, 16, LENGTH, dtype=torch.float32).train()
        with torch.random.fork_rng(devices=()), _one_thread():
            torch.manual_seed(0)
            model = SequenceModel([cell], inputs=Vector(2), output_size=1, shape="many-to-one")
            optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
            recent: deque[float] = deque(maxlen=_WINDOW)
            for step in range(self.training_steps):
                x_BTI, target_B1 = adding(_EXAMPLES * step, _EXAMPLES)
                loss = (model(x_BTI) - target_B1).square().mean()
                expect(math.isfinite(loss.item()), f"training: the loss became {loss.item()} at step {step + 1}.")
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                recent.append(loss.item())
                if len(recent) == _WINDOW and sum(recent) / _WINDOW < _GOAL:
                    self.remark = f"{step + 1} steps"
                    return
        raise AssertionError(
            f"after {self.training_steps} steps of {_EXAMPLES} examples (Adam, 0.01) the loss on the adding task at "
            f"T = {LENGTH} is {sum(recent) / len(recent):.3g}; the best constant answer has {TRIVIAL_LOSS:.3g}, and "
            f"less than {_GOAL:.3g} is required. Check whether its gates start open, and whether its state is used."
        )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch compute in one thread: the network is so small that threads cost more than they save."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
