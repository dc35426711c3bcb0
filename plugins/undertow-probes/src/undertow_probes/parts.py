"""State parts: which of them have a gradient. An integer part, such as a counter of steps, has none and is left out."""

from collections.abc import Sequence

from torch import Tensor

from undertow import State, Subject


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
