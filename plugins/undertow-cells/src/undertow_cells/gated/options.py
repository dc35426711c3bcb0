"""What can be set on each gated cell, under ``cell.options.<name>``; imports no torch."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from undertow import Options

Bias = Annotated[float, Field(ge=-20.0, le=20.0)]
"""Beyond 20 a sigmoid in 32 bits is at its limit and passes no gradient."""


class LstmOptions(Options):
    """Options of `lstm`."""

    forget_bias: Bias | None = 1.0
    """First bias of the forget gate, both of torch's biases together; null keeps torch's random one."""
    chrono: bool = False
    """First biases of forget and input gate spread over the time scales of the task's length."""
    recurrent_init: Literal["uniform", "orthogonal"] = "uniform"
    """The first U: torch's U(-1/√H, 1/√H), or a random rotation for each gate."""

    @model_validator(mode="before")
    @classmethod
    def _chrono_chooses_the_forget_bias(cls, given: Any) -> Any:
        """Chrono takes the place of the default, and is at odds with a `forget_bias` that was asked for."""
        if not isinstance(given, dict) or given.get("chrono") is not True:
            return given
        if given.get("forget_bias") is not None:
            raise ValueError("chrono chooses the forget gate's bias itself: leave forget_bias out, or set it to null")
        return given | {"forget_bias": None}


class GruOptions(Options):
    """Options of `gru`."""

    recurrent_init: Literal["uniform", "orthogonal"] = "uniform"
    """The first U: torch's U(-1/√H, 1/√H), or a random rotation for each gate."""


class UgrnnOptions(Options):
    """Options of `ugrnn`."""

    gate_bias: Bias = 1.0
    """First bias of the gate; above 0 it starts out keeping more than it replaces."""
