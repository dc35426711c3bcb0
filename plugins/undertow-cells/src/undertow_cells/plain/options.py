"""What can be set on each plain network, under ``cell.options.<name>``; imports no torch."""

from typing import Annotated, Literal

from pydantic import Field

from undertow import Options


class RnnOptions(Options):
    """Options of `rnn`."""

    nonlinearity: Literal["tanh", "relu"] = "tanh"
    """What the new state goes through."""
    recurrent_init: Literal["uniform", "orthogonal", "identity"] = "uniform"
    """The first U: torch's U(-1/√H, 1/√H), a random rotation, or the IRNN's identity with zero biases."""
    recurrent_scale: Annotated[float, Field(gt=0.0, le=10.0)] = 1.0
    """Factor on the first U: its singular values set whether gradients vanish or explode."""
    input_scale: Annotated[float, Field(gt=0.0, le=1000.0)] = 1.0
    """Factor on the first W and biases: a large one saturates the units, whatever U is."""
