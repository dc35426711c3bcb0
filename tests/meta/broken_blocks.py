"""Blocks with one fault each; as `broken_cells`."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from undertow_scratch_right import RightBlock, RightOptions, block_spec

from undertow import BlockSpec, Options, hookimpl


class UndescribedOptions(Options):
    """Options of which one has no description."""

    strength: float = 1.0


class OptionsAreToldAndReadBack(RightBlock):
    """Its option has no description."""


class Shapes(RightBlock):
    """It passes on the cell's readout as it is if that is of another width than H."""

    def after(self, x: Tensor, u: Tensor) -> Tensor:
        return super().after(x, u) if u.shape == x.shape else u


class ShapesOfWhatIsRead(RightBlock):
    """What the cell reads is wider than H, if its readout has another width."""

    def before(self, x: Tensor) -> Tensor:
        return super().before(x) if self.cell_size == self.hidden_size else torch.cat([x, x], -1)


class PointwiseInTime(RightBlock):
    """It subtracts the mean over the steps."""

    def after(self, x: Tensor, u: Tensor) -> Tensor:
        return super().after(x, u - u.mean(0) if u.dim() == 3 else u)


class PointwiseInTimeOfWhatIsRead(RightBlock):
    """The cell reads what the step before was."""

    def before(self, x: Tensor) -> Tensor:
        return super().before(x.roll(1, 0) if x.dim() == 3 else x)


class PointwiseInTimeWithACounter(RightBlock):
    """It has a state: each call changes the next one."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.calls = 0

    def after(self, x: Tensor, u: Tensor) -> Tensor:
        self.calls += len(x) < 2 and x.dim() == 3
        return super().after(x, u) * (1 + (self.calls == 5))


class RowsAreIndependent(RightBlock):
    """It subtracts the mean over the batch."""

    def after(self, x: Tensor, u: Tensor) -> Tensor:
        return super().after(x, u - u.mean(-2, keepdim=True))


class Gradients(RightBlock):
    """It detaches what the cell reads out."""

    def after(self, x: Tensor, u: Tensor) -> Tensor:
        return super().after(x, u.detach())


class _Halved(torch.autograd.Function):
    """u / 2, with a backward pass alone."""

    @staticmethod
    def forward(u: Tensor) -> Tensor:
        return u / 2

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        return

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient / 2

    @staticmethod
    def vmap(info: Any, in_dims: Any, u: Tensor) -> tuple[Tensor, int]:
        return _Halved.apply(u), in_dims[0]


class GradientsForwards(RightBlock):
    """It has no forward-mode derivative."""

    def after(self, x: Tensor, u: Tensor) -> Tensor:
        return super().after(x, _Halved.apply(u))


class Saving(RightBlock):
    """It draws a scale that is not saved."""

    def __init__(self, hidden_size: int, cell_size: int, options: Options, norm: Callable[[int], nn.Module]) -> None:
        super().__init__(hidden_size, cell_size, options, norm)
        self.register_buffer("scale", torch.rand(hidden_size), persistent=False)

    def after(self, x: Tensor, u: Tensor) -> Tensor:
        return super().after(x, u) * self.scale


class Packs(RightBlock):
    """It depends on a value by the control flow of Python."""

    def after(self, x: Tensor, u: Tensor) -> Tensor:
        return super().after(x, u) if u.abs().max() < 1e6 else x


BROKEN = [each for each in list(globals().values()) if isinstance(each, type) and issubclass(each, RightBlock)]


@hookimpl
def undertow_register_blocks() -> Iterable[BlockSpec]:
    for each in BROKEN:
        if each is not RightBlock:
            options = UndescribedOptions if each is OptionsAreToldAndReadBack else RightOptions
            yield block_spec(each.__name__.lower(), f":{each.__name__}", options)
