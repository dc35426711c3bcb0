"""The options of the linear recurrences, under ``cell.options.<name>``; imports no torch."""

from math import tau
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from undertow import Options
from undertow_cells.bias import Bias

Candidate = Literal["linear", "positive"]


class MinGruOptions(Options):
    """Options of `mingru`."""

    candidate: Candidate = "linear"
    """What the gate scales: W x + b, or g(W x + b) > 0 as in the paper's log-space form."""


class MinLstmOptions(Options):
    """Options of `minlstm`."""

    candidate: Candidate = "linear"
    """What the gate scales: W x + b, or g(W x + b) > 0 as in the paper's log-space form."""
    forget_bias: Bias | None = None
    """Initial bias of the forget gate; above 0 more is kept than written at first; null: torch's random values."""


class LruOptions(Options):
    """Options of `lru`."""

    state_size: Annotated[int, Field(ge=1, le=65536)] | None = None
    """Complex numbers in the state, two real ones each; null takes the hidden size."""
    r_min: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Smallest initial |λ|: the inner radius of the ring."""
    r_max: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Largest initial |λ|; a λ close to 1 keeps a value for about 1/(1 - |λ|) steps."""
    max_phase: Annotated[float, Field(gt=0.0, le=tau)] = tau
    """Initial angles of λ lie between 0 and this, in radians per step; a small value avoids fast oscillations."""

    @model_validator(mode="after")
    def _validate_radii(self) -> Self:
        if self.r_min >= self.r_max:
            raise ValueError(f"r_min ({self.r_min}) must be below r_max ({self.r_max})")
        return self


class SampledOptions(Options):
    """The range of the initial steps at which a continuous system is sampled."""

    dt_min: Annotated[float, Field(gt=0.0, le=100.0)] = 0.001
    """Smallest initial step Δ; a state that decays at the rate a keeps a value for about 1/(a Δ) steps."""
    dt_max: Annotated[float, Field(gt=0.0, le=100.0)] = 0.1
    """Largest initial step Δ; between the two, their logarithms are uniform over the units."""

    @model_validator(mode="after")
    def _validate_steps(self) -> Self:
        if self.dt_min > self.dt_max:
            raise ValueError(f"dt_min ({self.dt_min}) must not be above dt_max ({self.dt_max})")
        return self


class S4dOptions(SampledOptions):
    """Options of `s4d`."""

    state_size: Annotated[int, Field(ge=1, le=1024)] = 32
    """Complex numbers in the state of each unit, half of the authors' N: they stand for conjugate pairs."""
    init: Literal["lin", "inv", "legs"] = "lin"
    """Initial frequencies: linear, inverse, or those of HiPPO-LegS."""


class S6Options(SampledOptions):
    """Options of `s6`."""

    state_size: Annotated[int, Field(ge=1, le=1024)] = 16
    """Numbers in the state of each unit."""
    dt_rank: Annotated[int, Field(ge=1, le=65536)] | None = None
    """Rank of the matrix that gives the steps Δ; null takes a sixteenth of the hidden size, rounded up."""
    signed: bool = False
    """Factors on the state in (-1, 1) in place of (0, 1), with which a layer can compute parity."""


class RgLruOptions(Options):
    """Options of `rg-lru`."""

    init: Literal["paper", "released"] = "paper"
    """What starts between `min_decay` and `max_decay`: σ(Λ)^8 as in the paper, or σ(Λ) as in the released code."""
    first_step: Literal["paper", "released"] = "paper"
    """The input of the first step: times √(1 - a²) like every other, or as it is, as in the released code."""
    min_decay: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.9
    """Smallest initial factor; with `init: paper`, that on the state with the recurrence gate fully open."""
    max_decay: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.999
    """Largest such factor."""

    @model_validator(mode="after")
    def _validate_decays(self) -> Self:
        if self.min_decay >= self.max_decay:
            raise ValueError(f"min_decay ({self.min_decay}) must be below max_decay ({self.max_decay})")
        return self


class SruOptions(Options):
    """Options of `sru`."""

    version: Literal[1, 2] = 1
    """1: the gates read the input only, and all steps run in parallel; 2: they read the memory too, by v ∘ c."""
    activation: Literal["identity", "tanh"] = "identity"
    """Function applied to the memory before it is output; the paper's first version has tanh here."""
    highway_bias: Bias = 0.0
    """Initial bias of the gate r; below 0 the layer passes most of its input on at first."""
    rescale: bool = True
    """Scale the input that is passed on, so that all layers of a deep stack start with the same variance."""


class LmuOptions(Options):
    """Options of `lmu`."""

    order: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Legendre polynomials in the memory; null takes the hidden size."""
    theta: Annotated[float, Field(gt=0.0, le=1e7)] | None = None
    """Length of the window that the memory holds, in time steps; null takes the task's length."""
