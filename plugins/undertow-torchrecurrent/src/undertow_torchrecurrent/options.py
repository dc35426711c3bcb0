"""What can be set on each cell, under ``cell.options.torchrecurrent/<name>``; imports no torch.

The names and defaults are those of torchrecurrent's own arguments, and go to it as they are. Its initialisers are not
among them: every cell starts as the library starts it.
"""

from typing import Annotated, Literal

from pydantic import Field

from undertow import Options

Activation = Literal[
    "identity", "tanh", "relu", "sigmoid", "softplus", "hard_sigmoid", "gelu", "silu", "elu", "leaky_relu"
]

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Step = Annotated[float, Field(gt=0.0, le=2.0)]
Strength = Annotated[float, Field(ge=0.0, le=1000.0)]
Logit = Annotated[float, Field(ge=-20.0, le=20.0)]


class Biases(Options):
    """Options of a cell with the two biases that most have."""

    bias: bool = True
    """A bias on what comes from the input."""
    recurrent_bias: bool = True
    """A bias on what comes from the state."""


class OneNonlinearity(Biases):
    """Options of a cell whose candidate has a nonlinearity of choice."""

    nonlinearity: Activation = "tanh"
    """What the candidate goes through."""


class GateAndCandidate(OneNonlinearity):
    """Options of a cell whose gates have one as well."""

    gate_nonlinearity: Activation = "sigmoid"
    """What the gates go through."""


class Antisymmetric(OneNonlinearity):
    """Options of the antisymmetric network."""

    epsilon: Step = 1.0
    """Size of a step."""
    gamma: Strength = 0.0
    """Friction, on the diagonal."""


class GatedAntisymmetric(Biases):
    """Options of the antisymmetric network with a gate."""

    epsilon: Step = 1.0
    """Size of a step."""
    gamma: Strength = 0.0
    """Friction, on the diagonal."""


class Cornn(Biases):
    """Options of the coupled oscillators."""

    cell_bias: bool = True
    """A bias on what comes from the velocity."""
    dt: Step = 0.1
    """Time that passes in a step."""
    gamma: Strength = 1.0
    """Stiffness."""
    epsilon: Strength = 1.0
    """Damping."""


class FastRnn(OneNonlinearity):
    """Options of FastRNN."""

    alpha_init: Logit = 3.0
    """What α starts from, before its sigmoid: the share of the candidate."""
    beta_init: Logit = -3.0
    """What β starts from, before its sigmoid: the share of the old state."""


class FastGrnn(Biases):
    """Options of FastGRNN."""

    nonlinearity: Activation = "tanh"
    """What the *gate* goes through; the paper's is the sigmoid."""
    zeta_init: Logit = 3.0
    """What ζ starts from, before its sigmoid."""
    nu_init: Logit = -3.0
    """What ν starts from, before its sigmoid."""


class Intersection(Biases):
    """Options of the intersection network."""

    depth_nonlinearity: Activation = "relu"
    """What the candidate for the output goes through."""
    recurrent_nonlinearity: Activation = "tanh"
    """What the candidate for the state goes through."""
    gate_nonlinearity: Activation = "sigmoid"
    """What the gates go through."""


class Janet(Biases):
    """Options of JANET."""

    beta: Strength = 1.0
    """What β starts from, which is trained: how much more the memory takes in than it forgets, before the sigmoid."""


class Lem(Biases):
    """Options of the long expressive memory."""

    cell_bias: bool = True
    """A bias on what comes from the memory."""
    dt: Step = 1.0
    """The longest step a unit can take."""


class LiGru(Biases):
    """Options of the light GRU."""

    nonlinearity: Activation = "relu"
    """What the candidate goes through."""
    gate_nonlinearity: Activation = "sigmoid"
    """What the gate goes through."""


class Mclstm(Biases):
    """Options of the memory-controller LSTM."""

    gate_nonlinearity: Activation = "sigmoid"
    """What the gates go through."""
    cell_nonlinearity: Activation = "tanh"
    """What the candidate goes through."""


class Miru1(GateAndCandidate):
    """Options of the first MiRU."""

    update_coefficient: Share = 0.5
    """The share of the old state that stays, λ."""


class Miru2(OneNonlinearity):
    """Options of the second MiRU."""

    update_coefficient: Share = 0.5
    """The share of the old state that stays, λ."""
    reset_coefficient: Share = 0.5
    """The share of the old state that the candidate sees, β."""


class Multiplicative(Biases):
    """Options of the multiplicative LSTM."""

    multiplicative_bias: bool = True
    """A bias on what comes from the product of input and state."""


class Scrn(Biases):
    """Options of the structurally constrained network."""

    context_bias: bool = True
    """A bias on what comes from the context."""
    alpha: Share = 0.5
    """What α starts from, which is trained: the share of the context that stays."""


class Sgu(OneNonlinearity):
    """Options of the simple gated unit."""

    output_nonlinearity: Activation = "softplus"
    """What the candidate goes through in the end."""
    gate_nonlinearity: Activation = "hard_sigmoid"
    """What the gate goes through."""


class Dsgu(OneNonlinearity):
    """Options of the deep simple gated unit."""

    output_nonlinearity: Activation = "sigmoid"
    """What the candidate goes through in the end."""
    gate_nonlinearity: Activation = "hard_sigmoid"
    """What the gate goes through."""


class TauGru(GateAndCandidate):
    """Options of the GRU with a delay."""

    delay: Annotated[int, Field(ge=1, le=10_000)] = 1
    """How many steps before the last state the delayed one lies, d."""


class Trnn(Options):
    """Options of the strongly typed network."""

    bias: bool = True
    """A bias on what comes from the input."""
    gate_nonlinearity: Activation = "sigmoid"
    """What the gate goes through."""


class StronglyTyped(Biases):
    """Options of the strongly typed GRU and LSTM."""

    gate_nonlinearity: Activation = "sigmoid"
    """What the forget gate goes through."""
    output_nonlinearity: Activation = "tanh"
    """What the other gate goes through."""


class Unicornn(Options):
    """Options of the undamped oscillators."""

    bias: bool = True
    """A bias on what comes from the input."""
    recurrent_bias: bool = False
    """A second bias, on what comes from the state."""
    dt: Step = 0.1
    """The longest step a unit can learn to take."""
    alpha: Strength = 0.0
    """Stiffness."""


class Wmclstm(Biases):
    """Options of the LSTM with a working memory."""

    memory_bias: bool = True
    """A bias on what comes from the memory."""
