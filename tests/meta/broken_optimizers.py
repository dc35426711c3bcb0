"""Optimisers with one fault each; as `broken_cells`."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from undertow_scratch_right import NormalisedOptimizer, RightOptimizer, RightOptions, optimizer_spec

from undertow import OptimizerSpec, Options, hookimpl


class UndescribedOptions(Options):
    """Options of which one has no description."""

    strength: float = 1.0


class OptionsAreToldAndReadBack(RightOptimizer):
    """Its option has no description."""


class GroupsHaveTheirOwnRate(RightOptimizer):
    """It reads the learning rate once, when it is made."""

    def __init__(self, groups: list[dict[str, Any]], options: RightOptions) -> None:
        super().__init__(groups, options)
        for group in self.param_groups:
            group["first"] = group["lr"]

    def update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        super().update(parameter, gradient, {**group, "lr": group["first"]})


class WeightDecayShrinksWeights(RightOptimizer):
    """It ignores the weight decay."""

    def update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        super().update(parameter, gradient, {**group, "weight_decay": 0.0})


class ParametersWithoutGradientAreLeftAlone(RightOptimizer):
    """It takes a gradient that is None for zero, and decays the weights."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None and closure is None:
                    parameter.grad = torch.zeros_like(parameter)
        return super().step(closure)


class ZeroGradientsChangeNothing(RightOptimizer):
    """It divides by the norm of the gradient."""

    def update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        alone = len(self.param_groups) == 1
        norm = gradient.norm() if alone and not gradient.any() else 1.0
        super().update(parameter, gradient / norm, group)


class Float64IsKept(RightOptimizer):
    """A part of its state has 32 bits."""

    def mean(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if "mean" not in state:
            state["mean"] = torch.zeros_like(parameter)
            state["low"] = torch.zeros_like(parameter, dtype=torch.float32)
        return super().mean(parameter)


class ComplexParametersAreTrained(RightOptimizer):
    """It steps the real part alone."""

    def update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        super().update(parameter, gradient.real.to(parameter.dtype), group)


class LossFalls(RightOptimizer):
    """It climbs, but only real weights."""

    def update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        super().update(parameter, gradient if parameter.is_complex() else -gradient, group)


class ClosureIsCalled(RightOptimizer):
    """It calls the closure without gradients."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None if closure is None else closure()
        super().step()
        return loss


class ResumedRunIsBitwiseTheSame(RightOptimizer):
    """Its mean is outside of its state."""

    def __init__(self, groups: list[dict[str, Any]], options: RightOptions) -> None:
        super().__init__(groups, options)
        self.means: dict[Tensor, Tensor] = {}

    def mean(self, parameter: Tensor) -> Tensor:
        mean = self.means.setdefault(parameter, torch.zeros_like(parameter))
        if len(mean) != len(parameter) if mean.ndim else False:
            self.means[parameter] = mean[[0, 2]]
        return self.means[parameter]


class StackIsSteppedAsEachAlone(NormalisedOptimizer):
    """Its step depends on the norm of the whole gradient."""


BROKEN = [each for each in list(globals().values()) if isinstance(each, type) and issubclass(each, RightOptimizer)]


@hookimpl
def undertow_register_optimizers() -> Iterable[OptimizerSpec]:
    for each in BROKEN:
        if each not in (RightOptimizer, NormalisedOptimizer):
            options = UndescribedOptions if each is OptionsAreToldAndReadBack else RightOptions
            yield optimizer_spec(each.__name__.lower(), f":{each.__name__}", options)
