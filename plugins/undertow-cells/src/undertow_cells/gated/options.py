"""The options of the gated cells, under ``cell.options.<name>``; imports no torch."""

from math import isqrt
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from undertow import Options
from undertow_cells.bias import Bias


class ForgetOptions(Options):
    """The initial bias of the forget gate: one for all units, or one per unit."""

    forget_bias: Bias | None = 1.0
    """Initial bias of the forget gate; null leaves it at 0."""
    chrono: bool = False
    """Spread the initial biases of forget and input gate over the time scales of the task's length."""

    @model_validator(mode="before")
    @classmethod
    def _exclude_forget_bias_with_chrono(cls, given: Any) -> Any:
        """Each of the two replaces the other's default; setting both is an error."""
        if not isinstance(given, dict):
            return given
        if given.get("chrono") is True:
            if given.get("forget_bias") is not None:
                raise ValueError("chrono sets the forget gate's bias: leave forget_bias out, or set it to null")
            return given | {"forget_bias": None}
        return {"chrono": False} | given if given.get("forget_bias") is not None else given


class LstmOptions(ForgetOptions):
    """Options of `lstm`."""

    forget_bias: Bias | None = 1.0
    """Initial bias of the forget gate, the sum of torch's two biases; null keeps torch's random values."""
    recurrent_init: Literal["uniform", "orthogonal"] = "uniform"
    """The initial U: torch's U(-1/√H, 1/√H), or a random rotation for each gate."""


class LstmPeepholeOptions(ForgetOptions):
    """Options of `lstm-peephole`."""


class LstmCoupledOptions(ForgetOptions):
    """Options of `lstm-coupled`."""


class LstmLayernormOptions(ForgetOptions):
    """Options of `lstm-layernorm`."""


class LstmNoForgetOptions(Options):
    """Options of `lstm-no-forget`."""

    input_bias: Bias = 0.0
    """Initial bias of the input gate; below 0 less is added to the memory, which never forgets."""
    output_bias: Bias = 0.0
    """Initial bias of the output gate; below 0 little of the memory is output at first, so no unit serves as a bias."""


class UrLstmOptions(Options):
    """Options of `ur-lstm`."""

    forget_init: Literal["uniform", "chrono"] = "uniform"
    """Initial forget gates: uniform in (1/H, 1 - 1/H), or chrono's, spread over time scales up to the task's length."""
    refine: bool = True
    """Let a second gate refine the forget gate; without it only the start differs from `lstm-coupled`."""


class GruOptions(Options):
    """Options of `gru`."""

    reset: Literal["after", "before"] = "after"
    """The reset gate after the matrix product, as in the fused kernels, or before it, which runs step by step."""
    recurrent_init: Literal["uniform", "orthogonal"] = "uniform"
    """The initial U: torch's U(-1/√H, 1/√H), or a random rotation for each gate."""


class UgrnnOptions(Options):
    """Options of `ugrnn`."""

    gate_bias: Bias = 1.0
    """Initial bias of the gate; above 0 more is kept than replaced at first."""


class MguOptions(Options):
    """Options of `mgu`."""

    gate_bias: Bias = 0.0
    """Initial bias of the gate; below 0 more is kept than replaced at first."""


class JanetOptions(ForgetOptions):
    """Options of `janet`."""

    forget_bias: Bias | None = None
    """Initial bias of the forget gate, in place of chrono's; with neither it is 0."""
    chrono: bool = True
    """Spread the initial biases of the forget gate over the time scales of the task's length."""
    beta: Annotated[float, Field(ge=-20.0, le=20.0)] = 1.0
    """How much more is written than forgotten; with 0 the share that is not kept is replaced."""


class FastgrnnOptions(Options):
    """Options of `fastgrnn`."""

    zeta: Bias = 1.0
    """Initial ζ; σ(ζ) scales the gate's share of the candidate."""
    nu: Bias = -4.0
    """Initial ν; σ(ν) of the candidate is added at any value of the gate."""


class NbrcOptions(Options):
    """Options of `nbrc`."""

    recurrent_init: Literal["orthogonal", "glorot"] = "orthogonal"
    """The initial U of each gate: a random rotation, or Glorot's uniform; the authors have published code with both."""


class BrcOptions(Options):
    """Options of `brc`."""

    recurrent_weight: Annotated[float, Field(ge=-100.0, le=100.0)] = 1.0
    """The initial weight of each unit's own state in both gates."""


class NruOptions(Options):
    """Options of `nru`."""

    memory_size: Annotated[int, Field(ge=1, le=65536)] = 64
    """Numbers in the memory; times the heads, it must be a square."""
    heads: Annotated[int, Field(ge=1, le=256)] = 4
    """Directions in which a step writes, and as many in which it erases."""
    relu: bool = True
    """Apply relu to the strengths and directions of the heads."""

    @model_validator(mode="after")
    def _validate_square(self) -> Self:
        product = self.memory_size * self.heads
        if isqrt(product) ** 2 != product:
            sizes = [m for m in range(1, 4 * self.memory_size + 1) if isqrt(m * self.heads) ** 2 == m * self.heads]
            nearest = sorted(sorted(sizes, key=lambda size: abs(size - self.memory_size))[:3])
            raise ValueError(
                f"memory_size times heads ({self.memory_size} * {self.heads} = {product}) must be a square; with "
                f"{self.heads} heads, these memory sizes are near: {', '.join(map(str, nearest))}"
            )
        return self


class SlstmOptions(Options):
    """Options of `slstm`."""

    heads: Annotated[int, Field(ge=1, le=4096)] = 1
    """Groups of units; R connects units of the same group only. Must divide the hidden size."""
    forget: Literal["sigmoid", "exponential"] = "sigmoid"
    """The forget gate's activation; the paper allows both."""
    forget_init: Literal["powerlaw", "linspace"] = "powerlaw"
    """Initial bias of the forget gate over the units of a head: falling from 5 to -7, or rising from 3 to 6."""
    recurrent_init: Literal["zeros", "uniform"] = "zeros"
    """The initial R: zeros, as in the authors' code, or U(-1/√H, 1/√H)."""
