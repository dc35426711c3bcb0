"""Probes that are wrong in one way each; as `broken_cells`."""

import time
from collections.abc import Iterable
from typing import Any, ClassVar, cast

import torch
from torch import nn
from undertow_scratch_right import RightOptions, RightProbe, probe_spec

from undertow import Curve, Measurement, Options, ProbeSpec, Subject, hookimpl


class UntoldOptions(Options):
    """Options of which one is not explained."""

    strength: float = 1.0


class OptionsAreToldAndReadBack(RightProbe):
    """Its option has no description."""


class TrainingIsBitIdentical(RightProbe):
    """It nudges a weight."""

    def measure(self, subject: Subject) -> Measurement:
        with torch.no_grad():
            next(cast(nn.Module, subject.model).parameters()).mul_(1.0001)
        return super().measure(subject)


class GradientsAreLeftAlone(RightProbe):
    """It runs backward, which stores gradients."""

    def measure(self, subject: Subject) -> Measurement:
        cast(Any, subject.model)(subject.batch.input).sum().backward()
        return super().measure(subject)


class WhatItAttachedIsRemoved(RightProbe):
    """It leaves a hook behind."""

    def measure(self, subject: Subject) -> Measurement:
        cast(nn.Module, subject.model).register_forward_hook(lambda *_: None)
        return super().measure(subject)


class MeasuresEveryKindOfNetwork(RightProbe):
    """It wants numbers, not tokens."""

    def measure(self, subject: Subject) -> Measurement:
        if not subject.batch.input.is_floating_point():
            raise TypeError("expected numbers")
        return super().measure(subject)


class MeasuresBeforeTheFirstStep(RightProbe):
    """It divides by the time of a step that was not taken."""

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
    """Its curve runs backwards."""

    def measure(self, subject: Subject) -> Measurement:
        return Measurement({}, {"right/by_lag": Curve([3, 2, 1], [0.1, 0.2, 0.3])})


class CostIsBounded(RightProbe):
    """It takes its time over long sequences."""

    def measure(self, subject: Subject) -> Measurement:
        if subject.batch.input.shape[1] >= 64:
            started = time.process_time()
            while time.process_time() < started + 1.0:
                continue
        return super().measure(subject)


BROKEN = [each for each in list(globals().values()) if isinstance(each, type) and issubclass(each, RightProbe)]


@hookimpl
def undertow_register_probes() -> Iterable[ProbeSpec]:
    for each in BROKEN:
        if each is not RightProbe:
            options = UntoldOptions if each is OptionsAreToldAndReadBack else RightOptions
            yield probe_spec(each.__name__.lower(), f":{each.__name__}", options)
