"""The contract of an optimiser, check by check, on a few tensors whose gradients are known.

An optimiser is built as in a run: `factory(groups, options)`. The loss of most checks is Σ |w - t|², whose gradient is
2 (w - t). S replicates.
"""

import copy
import io
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

from undertow.api.spec import OptimizerSpec
from undertow.config.schema import OptimConfig
from undertow.nn.pack import is_stacked
from undertow.testing.asserts import expect, expect_close, expect_finite
from undertow.testing.conformance import Conformance
from undertow.train.optim import Group, build_optimizer

_SHAPES = ((3, 4), (4,), ())
_STEPS = 6
_REPLICATES = 3
_TOLERANCE = 1e-12
_STACKED = (
    "One optimiser steps the stack of all replicates, so no norm, mean or maximum may be taken over a whole parameter "
    "or over several. Otherwise leave `elementwise` out of the spec: replicates are then trained singly."
)


class OptimizerConformance(Conformance):
    """What every optimiser must do.

    Attributes:
        lr: The learning rate of the checks.
        training_steps: The most steps in which the distance to the target must be halved from about 1.
    """

    kind = "optimizer"
    lr: float = 0.01
    training_steps: int = 200

    @property
    def spec(self) -> OptimizerSpec:
        """The spec of the optimiser."""
        return cast(OptimizerSpec, self.entry.spec)

    def build(self, *groups: Sequence[Tensor], lr: Sequence[float] = (), decay: Sequence[float] = ()) -> Optimizer:
        """Make an optimiser.

        Args:
            *groups: The parameters of each group.
            lr: The learning rate of each group; `self.lr` when absent.
            decay: The weight decay of each group; 0 when absent.
        """
        rates, decays = lr or [self.lr] * len(groups), decay or [0.0] * len(groups)
        given: list[Group] = [
            {"params": list(parameters), "lr": rate, "weight_decay": weight_decay}
            for parameters, rate, weight_decay in zip(groups, rates, decays, strict=True)
        ]
        config = OptimConfig(name=self.name, lr=self.lr, options={self.name: self.made_options().model_dump()})
        return build_optimizer(config, given, self.registry)

    # --- groups ------------------------------------------------------------------------------------------------------

    def test_groups_have_their_own_rate(self) -> None:
        """Does each group follow its own learning rate, also after a schedule has changed it?"""
        first, second = _parameters(), _parameters()
        optimizer = self.build(first, second, lr=(self.lr, 0.0))
        rates = [group.get("lr") for group in optimizer.param_groups]
        remedy = "Pass the groups on to `torch.optim.Optimizer`, and read `group['lr']` at every step."
        expect(rates == [self.lr, 0.0], f"the groups have the rates {rates}, expected {[self.lr, 0.0]}. {remedy}")
        start = _values(first)
        _train(optimizer, [*first, *second], 2)
        expect(not _equal(first, start), f"two steps change nothing at the learning rate {self.lr:g}. {remedy}")
        expect(_equal(second, start), f"a group with the learning rate 0 is changed. {remedy}")
        before = _values(first)
        optimizer.param_groups[0]["lr"] = 0.0
        _train(optimizer, [*first, *second], 2)
        expect(_equal(first, before), f"a group is changed after a schedule has set its learning rate to 0. {remedy}")

    def test_weight_decay_shrinks_weights(self) -> None:
        """Does weight decay make weights smaller that have no gradient of their own, in its own group alone?"""
        first, second = _parameters(), _parameters()
        optimizer = self.build(first, second, decay=(0.5, 0.0))
        start = _values(first)
        for _ in range(_STEPS):
            for parameter in (*first, *second):
                parameter.grad = torch.zeros_like(parameter)
            optimizer.step()
        remedy = "Apply `group['weight_decay']`, to the weights or to their gradients, of each group its own."
        smaller = all(float(p.detach().norm()) < float(before.norm()) for p, before in zip(first, start, strict=True))
        expect(smaller, f"{_STEPS} steps with a weight decay of 0.5 do not make the weights smaller. {remedy}")
        expect(_equal(second, start), f"the weights of a group without weight decay are changed. {remedy}")

    # --- gradients ---------------------------------------------------------------------------------------------------

    def test_parameters_without_gradient_are_left_alone(self) -> None:
        """Is a parameter without a gradient left as it is, whatever the others have?"""
        parameters = _parameters()
        optimizer = self.build(parameters, decay=(0.5,))
        start = _values(parameters)
        remedy = "Skip parameters whose `grad` is None."
        for absent in ({0, 1, 2}, {1}):
            for index, parameter in enumerate(parameters):
                parameter.grad = None if index in absent else torch.ones_like(parameter)
            try:
                optimizer.step()
            except Exception as error:
                raise AssertionError(
                    f"a step with gradients that are None fails with {type(error).__name__}: {error}. {remedy}"
                ) from error
            for index in absent:
                same = torch.equal(parameters[index], start[index])
                expect(same, f"a parameter whose gradient is None is changed. {remedy}")

    def test_zero_gradients_change_nothing(self) -> None:
        """Does a gradient of zero, without weight decay, leave finite weights that are what they were?"""
        parameters = _parameters()
        optimizer = self.build(parameters)
        start = _values(parameters)
        for _ in range(_STEPS):
            for parameter in parameters:
                parameter.grad = torch.zeros_like(parameter)
            optimizer.step()
        for parameter in parameters:
            expect_finite(parameter, "weights after zero gradients", "Add a small number before dividing by the root.")
        expect(
            _equal(parameters, start), "gradients of zero change the weights. A step is a function of the gradients."
        )

    # --- formats -----------------------------------------------------------------------------------------------------

    def test_float64_is_kept(self) -> None:
        """Are weights and state of 64 bits where the parameters are?"""
        parameters = _parameters()
        optimizer = self.build(parameters)
        _train(optimizer, parameters, 2)
        for parameter in parameters:
            expect(parameter.dtype == torch.float64, f"a parameter of float64 became {parameter.dtype}.")
            for key, value in optimizer.state[parameter].items():
                same = not isinstance(value, Tensor) or value.ndim == 0 or value.dtype == parameter.dtype
                expect(same, f"state `{key}` of a float64 parameter is {value.dtype}. Make it with torch.zeros_like.")

    def test_complex_parameters_are_trained(self) -> None:
        """Do the real and the imaginary part of a complex parameter approach their target?"""
        target = torch.tensor([0.5 + 1.0j, -1.0 - 0.5j, 1.0 - 1.0j], dtype=torch.complex128)
        parameter = Parameter(torch.zeros_like(target))
        try:
            optimizer = self.build([parameter])
            self._approach(optimizer, [parameter], [target])
        except AssertionError:
            raise
        except Exception as error:
            raise AssertionError(
                f"a step of a complex parameter fails with {type(error).__name__}: {error}. Step torch.view_as_real of "
                "the parameter, its gradient and its state."
            ) from error
        for label, part in (("real", torch.real), ("imaginary", torch.imag)):
            left = float((part(parameter.detach()) - part(target)).norm() / part(target).norm())
            expect(
                left < 0.5,
                f"after {self.training_steps} steps {left:.0%} of the {label} part of the distance is left. Step "
                "torch.view_as_real of the parameter, its gradient and its state.",
            )

    # --- steps -------------------------------------------------------------------------------------------------------

    def test_loss_falls(self) -> None:
        """Does it halve the distance to the minimum of a square?"""
        parameters = _parameters()
        targets = [value + 1 for value in _values(parameters)]
        self._approach(self.build(parameters), parameters, targets)
        for parameter, target in zip(parameters, targets, strict=True):
            left = float((parameter.detach() - target).abs().mean())
            expect(
                left < 0.5,
                f"after {self.training_steps} steps at a learning rate of {self.lr:g} the mean distance is {left:.3g}; "
                "it was 1. Set the kit's `lr` or `training_steps` if it learns more slowly.",
            )

    def test_closure_is_called(self) -> None:
        """Does a step call its closure with gradients enabled, and return what it returns?"""
        parameters = _parameters()
        optimizer = self.build(parameters)
        enabled: list[bool] = []

        def closure() -> float:
            enabled.append(torch.is_grad_enabled())
            _set_gradients(parameters, 0)
            return 3.25

        start = _values(parameters)
        returned = cast(Callable[..., Any], optimizer.step)(closure)
        remedy = (
            "Begin `step(self, closure=None)` with: if closure is not None: with torch.enable_grad(): loss = closure()"
        )
        expect(enabled, f"a step does not call its closure, in which the loss is computed. {remedy}")
        expect(all(enabled), f"a step calls its closure without gradients. {remedy}")
        expect(returned == 3.25, f"a step returns {returned!r}, not the loss of its closure. {remedy}")
        expect(not _equal(parameters, start), f"a step ignores the gradients of its closure. {remedy}")

    def test_resumed_run_is_bitwise_the_same(self) -> None:
        """Is a run that goes on from a saved `state_dict` the same to the last bit, wherever it was saved?"""
        for saved_at in range(3):
            parameters = _parameters()
            optimizer = self.build(parameters[:2], parameters[2:], lr=(self.lr, self.lr / 2), decay=(0.1, 0.0))
            file = io.BytesIO()
            with torch.random.fork_rng(devices=()):
                torch.manual_seed(0)
                for step in range(_STEPS):
                    if step == saved_at:
                        random_state = torch.get_rng_state()
                        torch.save({"optimizer": optimizer.state_dict(), "weights": _values(parameters)}, file)
                    _train(optimizer, parameters, 1, first=step)
                resumed = self._loaded(file)
                again = self.build(resumed["weights"][:2], resumed["weights"][2:], lr=(1.0, 1.0), decay=(1.0, 1.0))
                again.load_state_dict(resumed["optimizer"])
                torch.set_rng_state(random_state)
                _train(again, resumed["weights"], _STEPS - saved_at, first=saved_at)
            expect(
                _equal(parameters, resumed["weights"]),
                f"saved after {saved_at} of {_STEPS} steps and resumed, the weights are others at the end. Keep all "
                "that is needed in `self.state[parameter]` or in the groups, which `state_dict` saves.",
            )

    # --- packs -------------------------------------------------------------------------------------------------------

    def test_stack_is_stepped_as_each_alone(self) -> None:
        """If its spec says `elementwise`: are replicates in one stack stepped as each alone, with state of its own?"""
        if not self.spec.elementwise:
            self.skip("its spec does not say `elementwise`")
        alone = [_parameters(seed) for seed in range(_REPLICATES)]
        stacks = [Parameter(torch.stack([each.detach() for each in same])) for same in zip(*alone, strict=True)]
        singles = [self.build(parameters, decay=(0.1,)) for parameters in alone]
        together = self.build(stacks, decay=(0.1,))
        places = list(range(_REPLICATES))
        for step in range(_STEPS):
            if step == _STEPS // 2:  # one of them ends: what is left of its state and of the stacks
                places = [0, 2]
                for stack in stacks:
                    kept = together.state[stack]
                    kept |= {key: value[places] for key, value in kept.items() if is_stacked(value)}
                    stack.data = stack.data[places]
            for place in places:
                _set_gradients(alone[place], step, scale=1000.0**place)
            for index, stack in enumerate(stacks):
                stack.grad = torch.stack([cast(Tensor, alone[place][index].grad) for place in places])
            together.step()
            for place in places:
                singles[place].step()
                for index, stack in enumerate(stacks):
                    row, label = places.index(place), f"replicate {place}, step {step + 1}"
                    expect_close(stack[row], alone[place][index], f"weights of {label}", _STACKED, _TOLERANCE)
                    own = singles[place].state[alone[place][index]]
                    for key, value in together.state[stack].items():
                        if is_stacked(value):
                            expect_close(value[row], own[key], f"state `{key}` of {label}", _STACKED, _TOLERANCE)

    # -----------------------------------------------------------------------------------------------------------------

    def _approach(self, optimizer: Optimizer, parameters: Sequence[Tensor], targets: Sequence[Tensor]) -> None:
        for _ in range(self.training_steps):
            for parameter, target in zip(parameters, targets, strict=True):
                parameter.grad = 2 * (parameter.detach() - target)
            optimizer.step()

    def _loaded(self, file: io.BytesIO) -> Any:
        """What was saved, with its weights as parameters.

        Raises:
            AssertionError: It holds what a checkpoint may not hold.
        """
        file.seek(0)
        try:
            loaded = torch.load(file, weights_only=True)
        except Exception as error:
            raise AssertionError(
                f"its `state_dict` cannot be loaded from a file: {str(error).partition('.')[0]}. Keep tensors, "
                "numbers, text, lists and dictionaries only."
            ) from error
        return {**loaded, "weights": [Parameter(value) for value in loaded["weights"]]}


def _parameters(seed: int = 0) -> list[Parameter]:
    """Parameters of several shapes, in 64 bits."""
    generator = torch.Generator().manual_seed(seed)
    return [Parameter(torch.randn(shape, dtype=torch.float64, generator=generator)) for shape in _SHAPES]


def _values(parameters: Sequence[Tensor]) -> list[Tensor]:
    return [copy.deepcopy(parameter.detach()) for parameter in parameters]


def _equal(parameters: Sequence[Tensor], values: Sequence[Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(parameters, values, strict=True))


def _set_gradients(parameters: Sequence[Tensor], step: int, scale: float = 1.0) -> None:
    """Gradients that depend on the weights and on the step."""
    generator = torch.Generator().manual_seed(step)
    for parameter in parameters:
        noise = torch.randn(parameter.shape, dtype=parameter.dtype, generator=generator)
        parameter.grad = scale * (parameter.detach() + noise)


def _train(optimizer: Optimizer, parameters: Sequence[Tensor], steps: int, first: int = 0) -> None:
    for step in range(first, first + steps):
        _set_gradients(parameters, step)
        optimizer.step()
