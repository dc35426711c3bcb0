"""The contract of a probe, check by check, on small networks of every kind that a run can have.

A probe is called as in a run: within `isolated`, which puts the network into evaluation mode and restores modes,
buffers and random states afterwards. Everything else the probe itself must leave unchanged.
"""

import functools
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from undertow.api.contract import Measurement, Model, Probe, Subject, Task
from undertow.api.spec import ProbeSpec
from undertow.nn.isolation import isolated
from undertow.nn.losses import supervised_losses
from undertow.nn.model import SequenceModel
from undertow.testing.asserts import expect
from undertow.testing.conformance import Conformance
from undertow.testing.networks import NETWORKS, small_network
from undertow.testing.work import TooMuchWork, work_of

_LEGAL = re.compile(r"[\w\-. :/]+", re.ASCII)
_STEPS = 4


class _ProbeFailed(Exception):
    """The probe raised an error on one of the networks; the message says which error."""


class ProbeConformance(Conformance):
    """What every probe must do.

    Attributes:
        cost_limit: The most work of one measurement, in training steps of 32 examples on a network of width 32 over 64
            steps. Work is counted in operations and numbers (`undertow.testing.work`), not in seconds.
    """

    kind = "probe"
    cost_limit: float = 100.0

    @property
    def spec(self) -> ProbeSpec:
        """The spec of the probe."""
        return cast(ProbeSpec, self.entry.spec)

    def build(self) -> Probe:
        """Make a probe."""
        probe: Probe = self.registry.factory(self.spec)(self.made_options())
        return probe

    def measured(self, subject: Subject) -> Measurement:
        """The measurement of a new probe, called as in a run."""
        with isolated(cast(nn.Module, subject.model)):
            return self.build().measure(subject)

    # --- it changes nothing ------------------------------------------------------------------------------------------

    def test_training_is_bit_identical(self) -> None:
        """Are losses, weights and gradients of training equal to the bit with and without it?"""

        def check(network: str) -> None:
            with_probe = _train(network, self._measure)
            for label, value in _trained_alone(network).items():
                expect(
                    torch.equal(value, with_probe[label]),
                    f"{network}: {label} is different after training with the probe. It must not write to weights, "
                    "change what is trained, or keep anything on the network.",
                )

        self._on_networks(check)

    def test_gradients_are_left_alone(self) -> None:
        """Are the stored gradients of training unchanged, and None where they were None?"""

        def check(network: str) -> None:
            for stored in (False, True):
                model, task, subject = small_network(network)
                if stored:
                    with torch.random.fork_rng(devices=()):  # its dropout draws
                        _loss(model, task, 0).backward()  # type: ignore[no-untyped-call]
                before = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
                self._measure(subject)
                for (name, parameter), grad in zip(model.named_parameters(), before, strict=True):
                    same = parameter.grad is grad is None or (
                        grad is not None and parameter.grad is not None and torch.equal(parameter.grad, grad)
                    )
                    expect(
                        same,
                        f"{network}: the gradient of `{name}` was changed. Use `torch.autograd.grad`, which stores "
                        "none, instead of `backward`.",
                    )

        self._on_networks(check)

    def test_what_it_attached_is_removed(self) -> None:
        """Are hooks, flags and attributes of the network unchanged?"""

        def check(network: str) -> None:
            model, _, subject = small_network(network)
            before = _attached(model)
            self._measure(subject)
            after = _attached(model)
            changed = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
            expect(
                not changed,
                f"{network}: the probe leaves a change in {', '.join(changed[:3])}. Undo it in a `finally`.",
            )

        self._on_networks(check)

    # --- what it finds -----------------------------------------------------------------------------------------------

    def test_measures_every_kind_of_network(self) -> None:
        """Does it measure networks of several layers, of complex and integer state parts, of tokens, of one step?"""
        for network in NETWORKS:
            _, _, subject = small_network(network)
            try:
                found = self.measured(subject)
            except Exception as error:
                raise AssertionError(
                    f"{network}: it fails with {type(error).__name__}: {error}. Where there is nothing to measure, "
                    "return an empty `Measurement`; leave out state parts that have no gradient."
                ) from error
            expect(
                isinstance(found, Measurement),
                f"{network}: measure returned a {type(found).__name__}, expected an `undertow.Measurement`.",
            )

    def test_measures_before_the_first_step(self) -> None:
        """Does it measure before the first training step, when no step was timed?"""
        _, _, subject = small_network()
        try:
            self.measured(replace(subject, step=0, seconds_per_step=None))
        except Exception as error:
            raise AssertionError(
                f"before the first step it fails with {type(error).__name__}: {error}. `seconds_per_step` is None "
                "then: leave out what depends on it."
            ) from error

    def test_names_are_legal(self) -> None:
        """Does MLflow accept every name, and is none both a scalar and a curve?"""
        for network, found in self._found():
            names = [*found.scalars, *found.curves]
            wrong = [name for name in names if not _LEGAL.fullmatch(name) or name.startswith("/") or "//" in name]
            expect(
                not wrong,
                f"{network}: {', '.join(map(repr, wrong))}: MLflow accepts letters, digits, _ - . / : and spaces only.",
            )
            expect(len(set(names)) == len(names), f"{network}: a name is used for a scalar and for a curve.")

    def test_values_are_finite(self) -> None:
        """Is every value a finite number?"""
        for network, found in self._found():
            values = dict(found.scalars)
            for name, curve in found.curves.items():
                values |= {f"{name}[{position}]": value for position, value in enumerate(curve.values)}
            wrong = [f"{name} is {value!r}" for name, value in values.items() if not _is_finite(value)]
            expect(
                not wrong,
                f"{network}: {'; '.join(wrong[:3])}. Set a floor before the logarithm of what can be 0, and count what "
                "is not finite instead of recording it.",
            )

    def test_curves_have_ascending_steps(self) -> None:
        """Has every curve one value for each step, and are its steps ascending integers from 0 on?"""
        for network, found in self._found():
            for name, curve in found.curves.items():
                steps = list(curve.steps)
                expect(
                    len(steps) == len(list(curve.values)),
                    f"{network}: curve `{name}` has {len(steps)} steps and {len(list(curve.values))} values.",
                )
                whole = all(isinstance(step, int | np.integer) and not isinstance(step, bool) for step in steps)
                expect(
                    whole and all(step >= 0 for step in steps) and all(one < next for one, next in pairwise(steps)),
                    f"{network}: the steps of curve `{name}` are {steps[:6]} …; expected integers from 0 on, each "
                    "once, ascending: MLflow draws the curve over them.",
                )

    # --- its cost ----------------------------------------------------------------------------------------------------

    def test_cost_is_bounded(self) -> None:
        """Is the work of one measurement, in training steps, below the limit?"""
        model, task, subject = small_network(length=64, hidden=32)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)

        def train() -> None:
            optimizer.zero_grad()
            _loss(model, task, 0, 32).backward()  # type: ignore[no-untyped-call]
            optimizer.step()

        subject = replace(subject, batch=task.batch("val", np.arange(32)))
        step = work_of(train)
        try:
            measurement = work_of(lambda: self.measured(subject), limit=step.times(self.cost_limit))
        except TooMuchWork as stopped:
            raise AssertionError(
                f"one measurement is more work than {self.cost_limit:g} training steps, where it was stopped. Measure "
                "at fewer points, or raise cost_limit and say why."
            ) from stopped
        self.remark = f"{measurement.relative_to(step):.2g} training steps"

    # -----------------------------------------------------------------------------------------------------------------

    def _measure(self, subject: Subject) -> Measurement:
        """As `measured`, for checks that leave out the networks on which it fails."""
        try:
            return self.measured(subject)
        except Exception as error:
            raise _ProbeFailed(f"{type(error).__name__}: {error}") from error

    def _on_networks(self, check: Callable[[str], None]) -> None:
        """Run a check on each network but those where the probe fails: `measures_every_kind_of_network` reports it."""
        failures = []
        for network in NETWORKS:
            try:
                check(network)
            except _ProbeFailed as failure:
                failures.append(str(failure))
        expect(len(failures) < len(NETWORKS), f"it fails on every network: {failures[-1:]}.")

    def _found(self) -> Iterable[tuple[str, Measurement]]:
        """The measurement of each network on which the probe does not fail."""
        found: list[tuple[str, Measurement]] = []
        self._on_networks(lambda network: found.append((network, self._measure(small_network(network)[2]))))
        return found


def _loss(model: SequenceModel, task: Task, step: int, examples: int = 4) -> Tensor:
    batch = task.batch("train", np.arange(examples * step, examples * (step + 1)))
    losses, _ = supervised_losses(task, model(batch.input, batch.target), batch)
    return losses.mean()


@functools.cache
def _trained_alone(network: str) -> dict[str, Tensor]:
    """`_train` without a probe, the same for every probe."""
    return _train(network, None)


def _train(network: str, measure: Callable[[Subject], Measurement] | None) -> dict[str, Tensor]:
    """Train a few steps with dropout, with a measurement before each or without.

    Returns:
        Every loss, and random state, weights and gradients at the end.
    """
    model, task, subject = small_network(network)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    seen: dict[str, Tensor] = {}
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(1)
        for step in range(_STEPS):
            if measure is not None:
                measure(replace(subject, step=step))
            optimizer.zero_grad()
            loss = _loss(model, task, step)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            seen[f"the loss of step {step + 1}"] = loss.detach()
        seen["torch's random state"] = torch.get_rng_state()
    for name, parameter in model.named_parameters():
        seen[f"`{name}`"] = parameter.detach()
        seen[f"the gradient of `{name}`"] = torch.zeros(0) if parameter.grad is None else parameter.grad
    return seen


def _attached(model: Model | nn.Module) -> dict[str, Any]:
    """All that can be attached to a network, in a form that can be compared."""
    found: dict[str, Any] = {}
    for path, module in cast(nn.Module, model).named_modules():
        at = path or "the model"
        for name, value in vars(module).items():
            if name.endswith("_hooks") or "_hooks_" in name or name == "_is_full_backward_hook":
                found[f"`{name}` of {at}"] = list(value) if isinstance(value, dict) else value
            elif name not in ("training", "_parameters", "_buffers", "_modules"):
                found[f"attribute `{name}` of {at}"] = id(value)
        found[f"training mode of {at}"] = module.training
        found[f"modules, parameters and buffers of {at}"] = (
            [(name, id(child)) for name, child in module.named_children()],
            [(name, id(p)) for name, p in module.named_parameters(recurse=False)],
            [(name, id(b)) for name, b in module.named_buffers(recurse=False)],
        )
        for name, parameter in module.named_parameters(recurse=False):
            found[f"requires_grad of `{name}` of {at}"] = parameter.requires_grad
            found[f"hooks of `{name}` of {at}"] = list(parameter._backward_hooks or ())  # there is no public way
    return found


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float | np.number) and math.isfinite(float(value))
