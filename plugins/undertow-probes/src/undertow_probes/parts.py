"""State parts: which of them have a gradient; an integer part, such as a counter of steps, has none and is left out.

And the names of the cells that have them.
"""

from collections.abc import Sequence

from torch import Tensor

from undertow import Model, State, Subject


def has_gradient(part: Tensor) -> bool:
    """Whether a state part is real or complex."""
    return part.is_floating_point() or part.is_complex()


def with_gradient(state: tuple[State, ...]) -> Sequence[Tensor]:
    """The parts of all layers that have a gradient, the lowest layer first."""
    return [part for layer in state for part in layer if has_gradient(part)]


def names(subject: Subject) -> Sequence[str]:
    """The names of the state parts that have a gradient, in their order; they are the same in every layer."""
    layer = subject.model.initial_state(1)[0]
    return [name for name, part in zip(subject.state, layer, strict=True) if has_gradient(part)]


def is_backward(model: Model, place: int) -> bool:
    """Whether one of `model.layers`, by its place, runs backwards."""
    return model.bidirectional and place % 2 == 1


def cell_names(model: Model) -> Sequence[str]:
    """Of each of `model.layers`: ``layer0``, and ``layer0/backward`` for one that runs backwards."""
    if not model.bidirectional:
        return [f"layer{depth}" for depth in range(len(model.layers))]
    return [f"layer{place // 2}{'/backward' * (place % 2)}" for place in range(len(model.layers))]
