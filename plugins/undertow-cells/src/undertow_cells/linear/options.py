"""What can be set on each linear recurrence, under ``cell.options.<name>``; imports no torch."""

from math import tau
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from undertow import Options

Bias = Annotated[float, Field(ge=-20.0, le=20.0)]
"""Beyond 20 a sigmoid in 32 bits is at its limit and passes no gradient."""

Candidate = Literal["linear", "positive"]


class MinGruOptions(Options):
    """Options of `mingru`."""

    candidate: Candidate = "linear"
    """What the gate lets in: W x + b itself, or g(W x + b) > 0, as in the paper's log-space form."""


class MinLstmOptions(Options):
    """Options of `minlstm`."""

    candidate: Candidate = "linear"
    """What the gate lets in: W x + b itself, or g(W x + b) > 0, as in the paper's log-space form."""
    forget_bias: Bias | None = None
    """First bias of the forget gate; above 0 it starts out keeping more than it lets in; null: torch's random one."""


class LruOptions(Options):
    """Options of `lru`."""

    state_size: Annotated[int, Field(ge=1, le=65536)] | None = None
    """Complex numbers in the state, two real ones each; null takes the hidden size."""
    r_min: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Smallest first |λ|: the inner radius of the ring."""
    r_max: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Largest first |λ|; a λ this close to 1 keeps for about 1/(1 - |λ|) steps."""
    max_phase: Annotated[float, Field(gt=0.0, le=tau)] = tau
    """First angles of λ lie between 0 and this, in radians a step; a small one starts without fast oscillations."""

    @model_validator(mode="after")
    def _the_ring_has_a_width(self) -> Self:
        if self.r_min >= self.r_max:
            raise ValueError(f"r_min ({self.r_min}) must be below r_max ({self.r_max})")
        return self


class RgLruOptions(Options):
    """Options of `rg-lru`."""

    min_decay: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.9
    """Smallest first factor on the state with the recurrence gate fully open."""
    max_decay: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.999
    """Largest such factor."""

    @model_validator(mode="after")
    def _the_decays_are_in_order(self) -> Self:
        if self.min_decay >= self.max_decay:
            raise ValueError(f"min_decay ({self.min_decay}) must be below max_decay ({self.max_decay})")
        return self


class SruOptions(Options):
    """Options of `sru`."""

    activation: Literal["identity", "tanh"] = "identity"
    """What the memory goes through before it is shown; the paper's first version has tanh here."""
    highway_bias: Bias = 0.0
    """First bias of the gate r; below 0 the layer starts out passing its input on."""
    rescale: bool = True
    """Scale the input that is passed on, so that a deep stack starts with an even variance."""


class LmuOptions(Options):
    """Options of `lmu`."""

    order: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Legendre polynomials in the memory; null takes the hidden size."""
    theta: Annotated[float, Field(gt=0.0, le=1e7)] | None = None
    """Time steps of the window that the memory holds; null takes the task's length."""
