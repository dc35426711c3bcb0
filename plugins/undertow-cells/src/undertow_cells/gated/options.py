"""What can be set on each gated cell, under ``cell.options.<name>``; imports no torch."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from undertow import Options

Bias = Annotated[float, Field(ge=-20.0, le=20.0)]
"""Beyond 20 a sigmoid in 32 bits is at its limit and passes no gradient."""


class ForgetOptions(Options):
    """How the forget gate starts: from one bias for all units, or from one of its own for each."""

    forget_bias: Bias | None = 1.0
    """First bias of the forget gate; null leaves it at 0."""
    chrono: bool = False
    """First biases of forget and input gate spread over the time scales of the task's length."""

    @model_validator(mode="before")
    @classmethod
    def _chrono_or_a_forget_bias(cls, given: Any) -> Any:
        """Either takes the place of the other as the default, and is at odds with it if both are asked for."""
        if not isinstance(given, dict):
            return given
        if given.get("chrono") is True:
            if given.get("forget_bias") is not None:
                raise ValueError(
                    "chrono chooses the forget gate's bias itself: leave forget_bias out, or set it to null"
                )
            return given | {"forget_bias": None}
        return {"chrono": False} | given if given.get("forget_bias") is not None else given


class LstmOptions(ForgetOptions):
    """Options of `lstm`."""

    forget_bias: Bias | None = 1.0
    """First bias of the forget gate, both of torch's biases together; null keeps torch's random one."""
    recurrent_init: Literal["uniform", "orthogonal"] = "uniform"
    """The first U: torch's U(-1/√H, 1/√H), or a random rotation for each gate."""


class LstmPeepholeOptions(ForgetOptions):
    """Options of `lstm-peephole`."""


class LstmCoupledOptions(ForgetOptions):
    """Options of `lstm-coupled`."""


class LstmLayernormOptions(ForgetOptions):
    """Options of `lstm-layernorm`."""


class LstmNoForgetOptions(Options):
    """Options of `lstm-no-forget`."""

    input_bias: Bias = 0.0
    """First bias of the input gate; below 0 the memory, which never forgets, fills up more slowly."""
    output_bias: Bias = 0.0
    """First bias of the output gate; below 0 the memory is hidden at first, and not used in place of a bias."""


class GruOptions(Options):
    """Options of `gru`."""

    reset: Literal["after", "before"] = "after"
    """The reset gate after the matrix product, as the fused kernels have it, or before: then step by step."""
    recurrent_init: Literal["uniform", "orthogonal"] = "uniform"
    """The first U: torch's U(-1/√H, 1/√H), or a random rotation for each gate."""


class UgrnnOptions(Options):
    """Options of `ugrnn`."""

    gate_bias: Bias = 1.0
    """First bias of the gate; above 0 it starts out keeping more than it replaces."""


class MguOptions(Options):
    """Options of `mgu`."""

    gate_bias: Bias = 0.0
    """First bias of the gate; below 0 it starts out keeping more than it replaces."""


class JanetOptions(ForgetOptions):
    """Options of `janet`."""

    forget_bias: Bias | None = None
    """First bias of the forget gate, in place of chrono's; without either it is 0."""
    chrono: bool = True
    """First biases of the forget gate spread over the time scales of the task's length."""
    beta: Annotated[float, Field(ge=-20.0, le=20.0)] = 1.0
    """How much more than it forgets the gate writes; 0 makes it one share, kept or replaced."""


class FastgrnnOptions(Options):
    """Options of `fastgrnn`."""

    zeta: Bias = 1.0
    """First ζ; its sigmoid scales what the gate lets in."""
    nu: Bias = -4.0
    """First ν; its sigmoid is let in whatever the gate says."""


class SlstmOptions(Options):
    """Options of `slstm`."""

    heads: Annotated[int, Field(ge=1, le=4096)] = 1
    """Groups of units that see only each other through R; must divide the hidden size."""
    forget: Literal["sigmoid", "exponential"] = "sigmoid"
    """The forget gate's activation; the paper allows both."""
    forget_init: Literal["powerlaw", "linspace"] = "powerlaw"
    """First bias of the forget gate over the units of a head: falling from 5 to -7, or rising from 3 to 6."""
    recurrent_init: Literal["zeros", "uniform"] = "zeros"
    """The first R: zeros, as the authors have it, or U(-1/√H, 1/√H)."""
