"""The cost of a function in counts that do not depend on how busy the machine is.

    step = work_of(training_step)
    cost = work_of(measure).relative_to(step)      # 2.5: as much work as 2.5 training steps

Counted are the operations that torch executes, backward passes included, and the numbers in their results. Calls of
functions from Python are counted too, for work outside of torch: ten of them as one operation.
"""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_CALLS_PER_OPERATION = 10


class TooMuchWork(Exception):
    """A function was stopped because it does more work than allowed."""


@dataclass(frozen=True)
class Work:
    """The work of a function.

    Attributes:
        operations: Operations of torch, and a tenth of the calls from Python.
        numbers: Numbers in the results of the operations.
    """

    operations: float
    numbers: float

    def times(self, factor: float) -> "Work":
        """A multiple of it."""
        return Work(factor * self.operations, factor * self.numbers)

    def relative_to(self, other: "Work") -> float:
        """How many times the work of another: the larger of the two ratios."""
        return max(self.operations / other.operations, self.numbers / other.numbers)


def work_of(function: Callable[[], object], limit: Work | None = None) -> Work:
    """Count the work of a function.

    Args:
        function: It is called twice, once to count operations and once to count calls.
        limit: The most work that is allowed.

    Raises:
        TooMuchWork: The function does more; it was stopped at the limit.
    """
    most = limit or Work(math.inf, math.inf)
    executed = _Operations(most)
    with executed:
        function()
    executed.check()  # the function may have caught what stopped it
    calls = _calls(function, _CALLS_PER_OPERATION * (most.operations - executed.operations))
    return Work(executed.operations + calls / _CALLS_PER_OPERATION, executed.numbers)


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operations that torch executes while it is entered."""

    def __init__(self, most: Work) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.most = most
        self.operations = self.numbers = 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        results = func(*args, **(kwargs or {}))
        self.operations += 1
        self.numbers += sum(result.numel() for result in tree_leaves(results) if isinstance(result, Tensor))
        self.check()
        return results

    def check(self) -> None:
        """Raise if the limit is exceeded."""
        if self.operations > self.most.operations or self.numbers > self.most.numbers:
            raise TooMuchWork


def _calls(function: Callable[[], object], most: float) -> int:
    """The calls of functions, in Python or in C, that Python code of this thread makes while a function runs."""
    calls = 0

    def count(frame: FrameType, event: str, _: Any) -> None:
        nonlocal calls
        if event in ("call", "c_call"):
            calls += 1
            if calls > most:
                raise TooMuchWork

    outer = sys.getprofile()
    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(outer)
    if calls > most:
        raise TooMuchWork
    return calls
