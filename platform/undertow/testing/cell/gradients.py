"""Checks of what a cell passes back."""

import torch
from torch import Tensor

from undertow.nn.loop import Unroll, unroll, unroll_by_steps
from undertow.testing.asserts import expect, expect_close, expect_finite
from undertow.testing.cell._base import (
    B,
    CellChecks,
    T,
    all_gradients,
    gradients_of,
    leaves,
    noise,
    reached_state,
)


class GradientChecks(CellChecks):
    """Gradients by the input, the state and the weights."""

    def test_scan_has_the_gradients_of_its_steps(self) -> None:
        """Are the gradients through `scan` those through its steps, for the input, the state and every weight?"""
        cell = self.build()
        self.need_scan(cell)
        by_scan, by_steps = (all_gradients(cell, run) for run in (unroll, unroll_by_steps))
        for name, got in by_scan.items():
            remedy = "A tensor between them is detached, or a hand-written backward is not the derivative."
            expect_close(got, by_steps[name], f"gradient of {name}, by scan against step by step", remedy)

    def test_gradient_is_that_of_finite_differences(self) -> None:
        """Are the gradients of input, state and every weight those of finite differences, by scan and by steps?"""
        cell = self.build()
        x_TBI, start, parameters = noise(3).requires_grad_(), leaves(reached_state(cell)), list(cell.parameters())
        differentiable = [part for part in start if part.requires_grad]
        for how, run in self.unrolls(cell).items():

            def output(x_TBI: Tensor, *rest: Tensor, run: Unroll = run) -> tuple[Tensor, ...]:
                given = iter(rest)
                state = tuple(next(given) if part.requires_grad else part for part in start)
                y_TBH, last = run(cell, x_TBI, state)
                return (y_TBH, *(part for part in last if part.requires_grad))

            try:
                torch.autograd.gradcheck(output, (x_TBI, *differentiable, *parameters), fast_mode=True)
            except RuntimeError as error:
                raise AssertionError(
                    f"the gradient is not that of finite differences, {how}. Is a tensor detached or changed in place, "
                    f"or is a hand-written backward wrong? {str(error).strip()}"
                ) from error

    def test_gradient_reaches_the_first_step(self) -> None:
        """Does every output have a gradient by each input before it and by the initial state?"""
        cell, x_TBI = self.build(), noise().requires_grad_()
        for how, run in self.unrolls(cell).items():
            start = leaves(reached_state(cell))
            y_TBH, _ = run(cell, x_TBI, start)
            weights_TBH = noise(T, B, cell.output_size, seed=3)
            for step in range(T):
                inputs = [x_TBI, *(part for part in start if part.requires_grad)]
                of_x, *of_state = gradients_of((y_TBH * weights_TBH)[step].sum(), inputs, retain=True)
                lost = [early for early in range(step + 1) if not of_x[early].any()]
                remedy = "Is the state detached, rounded, or not used?"
                expect(not lost, f"{how}: no gradient from output {step} to input {lost[:1]}. {remedy}")
                expect(any(part.any() for part in of_state), f"{how}: none from output {step} to the state. {remedy}")

    def test_every_parameter_gets_a_gradient(self) -> None:
        """Does the last output depend on every parameter, as training on several devices (DDP) requires?"""
        cell = self.build()
        parameters = dict(cell.named_parameters())
        if not parameters:
            self.skip("it has no parameters")
        for how, run in self.unrolls(cell).items():
            y_TBH, _ = run(cell, noise(), cell.initial_state(B))
            loss = y_TBH[-1].square().sum()
            gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
            unused = [name for name, gradient in zip(parameters, gradients, strict=True) if gradient is None]
            expect(
                not unused,
                f"{', '.join(unused)}: no gradient from the last output, {how}. DDP would wait for it without end: use "
                "the parameter, or remove it.",
            )
            for name, gradient in zip(parameters, gradients, strict=True):
                expect_finite(gradient, f"the gradient of `{name}`, {how}", "Is there a root or a logarithm of 0?")
