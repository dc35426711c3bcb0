"""torchrecurrent's cells as Undertow's: one class for each class of the library, created on first access.

    from undertow_torchrecurrent.cells import LEMCell

The library's cell takes an input and a state and projects the input itself, so `project` is the identity. It returns
one tensor, several, or an output and a state; the adapters turn each into one tuple. Where the output is no function
of the state after the step, it is kept as the first state part.

T time, B batch, I input, H hidden, D delay times H.
"""

import functools
from importlib import import_module
from typing import Any, ClassVar

import torch
from torch import Tensor

from undertow import Cell, Options, RequestError, State
from undertow_torchrecurrent.table import TABLE, Line

_LINES = {line.cell: line for line in TABLE}


class Adapted(Cell):
    """A cell that returns its new state; the output is the first part of it."""

    line: ClassVar[Line]

    def __init__(self, input_size: int, hidden_size: int, options: Options, length: int) -> None:
        super().__init__(input_size, hidden_size, options, length)
        try:
            self.cell = _library_class(self.line.cell)(input_size, hidden_size, **self.arguments())
        except ValueError as error:  # raised by the library for sizes that do not fit together
            raise RequestError(f"cell `torchrecurrent/{self.line.name}`: {error}") from error

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of the library's class, without the sizes."""
        return self.options.model_dump()

    def initial_state(self, batch_size: int) -> State:
        """Zeros, `(B, H)` for each part; `(B, I)` for the last input."""
        like = next(self.cell.parameters())
        return tuple(
            like.new_zeros(batch_size, self.input_size if part == "x" else self.hidden_size) for part in self.line.state
        )

    def step(self, z: Tensor, state: State) -> State:
        """One step; `z` is the input, `(B, I)`."""
        after = self.cell(z, state if len(state) > 1 else state[0])
        return after if isinstance(after, tuple) else (after,)


class SeparateOutput(Adapted):
    """A cell that returns an output and its new state: the output is the first state part, which no step reads."""

    def step(self, z: Tensor, state: State) -> State:
        """One step; `z` is the input, `(B, I)`."""
        _, *recurrent = state
        y_BH, after = self.cell(z, tuple(recurrent) if len(recurrent) > 1 else recurrent[0])
        return (y_BH, *after) if isinstance(after, tuple) else (y_BH, after)


class Delayed(Adapted):
    """A cell that also reads the state of `delay` steps before the last one: all states since then are kept."""

    def arguments(self) -> dict[str, Any]:
        """All options but the delay, which is no argument of the library's cell."""
        return self.options.model_dump(exclude={"delay"})

    def initial_state(self, batch_size: int) -> State:
        """Zeros: h, `(B, H)`, and the states before it, the oldest first, `(B, D)`."""
        like = next(self.cell.parameters())
        delay = self.options.model_dump()["delay"]
        return like.new_zeros(batch_size, self.hidden_size), like.new_zeros(batch_size, delay * self.hidden_size)

    def step(self, z: Tensor, state: State) -> State:
        """One step; `z` is the input, `(B, I)`."""
        h_BH, past_BD = state
        after_BH: Tensor = self.cell(z, h_BH, past_BD[:, : self.hidden_size])
        return after_BH, torch.cat([past_BD[:, self.hidden_size :], h_BH], 1)


_BASES: dict[str, type[Adapted]] = {
    "IntersectionRNNCell": SeparateOutput,
    "MCLSTMCell": SeparateOutput,
    "TLSTMCell": SeparateOutput,
    "tauGRUCell": Delayed,
}


def __getattr__(name: str) -> type[Adapted]:
    if name not in _LINES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    _library_class(name)
    return _adapter(name)


@functools.cache
def _adapter(name: str) -> type[Adapted]:
    line = _LINES[name]
    attributes = {"__doc__": f"torchrecurrent's {line.summary}.", "__module__": __name__, "line": line}
    return type(name, (_BASES.get(name, Adapted),), attributes)


def _library_class(name: str) -> Any:
    try:
        library = import_module("torchrecurrent")
    except ModuleNotFoundError as error:
        if error.name != "torchrecurrent":
            raise
        raise ImportError(
            "torchrecurrent is not installed: pip install undertow-torchrecurrent installs it, and so does "
            "pip install torchrecurrent==0.2.5"
        ) from error
    return getattr(library, name)
