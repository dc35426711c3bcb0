"""Registers the probes; imports no torch."""

from collections.abc import Iterable

from undertow import ProbeSpec, hookimpl
from undertow_probes import measures
from undertow_probes.options import (
    GradientProfileOptions,
    JacobianOptions,
    LyapunovOptions,
    MemoryOptions,
    SaturationOptions,
    TimescaleOptions,
    WeightsOptions,
)


@hookimpl
def undertow_register_probes() -> Iterable[ProbeSpec]:
    """The probes of this distribution."""
    return (
        ProbeSpec(
            name="gradient-profile",
            summary="How much of the last loss's gradient is left, by lag: half-life, reach, at the cue",
            factory="undertow_probes.gradient_profile:GradientProfile",
            options=GradientProfileOptions,
            paper="Bengio, Simard & Frasconi 1994; Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063",
            measures=measures.GRADIENT_PROFILE,
        ),
        ProbeSpec(
            name="jacobian",
            summary="How strongly the state depends on the state some steps before, by lag, whatever the loss",
            factory="undertow_probes.jacobian:Jacobian",
            options=JacobianOptions,
            paper="Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063; Hutchinson 1990, doi 10.1080/03610919008812866",
            measures=measures.JACOBIAN,
        ),
        ProbeSpec(
            name="lyapunov",
            summary="How fast neighbouring states diverge: the largest finite-time Lyapunov exponents",
            factory="undertow_probes.lyapunov:Lyapunov",
            options=LyapunovOptions,
            paper="Benettin et al. 1980, doi 10.1007/BF02128236; Engelken, Wolf & Abbott 2020, arXiv 2006.02427",
            measures=measures.LYAPUNOV,
        ),
        ProbeSpec(
            name="saturation",
            summary="Share of gate activations at their limits, by gate and time; mean and RMS of their derivative",
            factory="undertow_probes.saturation:Saturation",
            options=SaturationOptions,
            paper="Karpathy, Johnson & Fei-Fei 2015, arXiv 1506.02078",
            measures=measures.SATURATION,
        ),
        ProbeSpec(
            name="timescale",
            summary="How long a gate keeps the state, beside the decay of the gradient and the cue's lag",
            factory="undertow_probes.timescale:Timescale",
            options=TimescaleOptions,
            paper="Tallec & Ollivier 2018, arXiv 1804.11188",
            measures=measures.TIMESCALE,
        ),
        ProbeSpec(
            name="memory",
            summary="How much the loss rises when the input at a lag is hidden: what the network uses of the past",
            factory="undertow_probes.memory:Memory",
            options=MemoryOptions,
            paper="Zeiler & Fergus 2014, arXiv 1311.2901, who hide parts of images",
            measures=measures.MEMORY,
        ),
        ProbeSpec(
            name="weights",
            summary="Spectrum of a step and of the recurrent matrix; norms of weights and gradients",
            factory="undertow_probes.weights:Weights",
            options=WeightsOptions,
            paper="Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063; Kerg et al. 2019, arXiv 1905.12080",
            measures=measures.WEIGHTS,
        ),
        ProbeSpec(
            name="cost",
            summary="Parameters, state, FLOPs, activation and peak bytes, steps per second",
            factory="undertow_probes.cost:Cost",
            measures=measures.COST,
        ),
    )
