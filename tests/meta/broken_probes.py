"""Probes with one fault each; as `broken_cells`."""

from collections.abc import Iterable
from typing import Any, ClassVar, cast

import torch
from torch import nn
from undertow_scratch_right import RightOptions, RightProbe, probe_spec

from undertow import Curve, Measurement, Options, ProbeSpec, Subject, hookimpl


class UndescribedOptions(Options):
    """Options of which one has no description."""

    strength: float = 1.0


class OptionsAreToldAndReadBack(RightProbe):
    """Its option has no description."""


class TrainingIsBitIdentical(RightProbe):
    """It changes a weight."""

    def measure(self, subject: Subject) -> Measurement:
        with torch.no_grad():
            next(cast(nn.Module, subject.model).parameters()).mul_(1.0001)
        return super().measure(subject)


class GradientsAreLeftAlone(RightProbe):
    """It calls `backward`, which stores gradients."""

    def measure(self, subject: Subject) -> Measurement:
        cast(Any, subject.model)(subject.batch.input).sum().backward()
        return super().measure(subject)


class WhatItAttachedIsRemoved(RightProbe):
    """It does not remove its hook."""

    def measure(self, subject: Subject) -> Measurement:
        cast(nn.Module, subject.model).register_forward_hook(lambda *_: None)
        return super().measure(subject)


class MeasuresEveryKindOfNetwork(RightProbe):
    """It refuses tokens."""

    def measure(self, subject: Subject) -> Measurement:
        if not subject.batch.input.is_floating_point():
            raise TypeError("expected numbers")
        return super().measure(subject)


class MeasuresBeforeTheFirstStep(RightProbe):
    """It divides by the time of a step, which is None before the first."""

    def measure(self, subject: Subject) -> Measurement:
        return Measurement({"right/steps_per_second": 1 / cast(float, subject.seconds_per_step)})


class NamesAreLegal(RightProbe):
    """Its name has brackets."""

    scalar: ClassVar[str] = "right[h]"


class ValuesAreFinite(RightProbe):
    """It takes the logarithm of 0."""

    def measure(self, subject: Subject) -> Measurement:
        return Measurement({"right/log": float(torch.zeros(()).log10())})


class CurvesHaveAscendingSteps(RightProbe):
    """The steps of its curve are descending."""

    def measure(self, subject: Subject) -> Measurement:
        return Measurement({}, {"right/by_lag": Curve([3, 2, 1], [0.1, 0.2, 0.3])})


class CostIsBounded(RightProbe):
    """It runs the network once for every step of every example of a long sequence."""

    def measure(self, subject: Subject) -> Measurement:
        x_TBI = subject.model.encode(subject.batch.input)
        if len(x_TBI) >= 64:
            for _ in range(x_TBI.shape[0] * x_TBI.shape[1]):
                subject.model.advance(x_TBI, subject.model.initial_state(x_TBI.shape[1]))
        return super().measure(subject)


BROKEN = [each for each in list(globals().values()) if isinstance(each, type) and issubclass(each, RightProbe)]


@hookimpl
def undertow_register_probes() -> Iterable[ProbeSpec]:
    for each in BROKEN:
        if each is not RightProbe:
            options = UndescribedOptions if each is OptionsAreToldAndReadBack else RightOptions
            yield probe_spec(each.__name__.lower(), f":{each.__name__}", options)
