"""The options of the cells, under ``cell.options.torchrecurrent/<name>``; imports no torch.

Names and defaults are those of torchrecurrent's arguments, and the values are passed on unchanged. Its initialisers are
no options: every cell has the library's initialisation.
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
    """Options of a cell with the two biases that most cells have."""

    bias: bool = True
    """Add a bias to the input's projection."""
    recurrent_bias: bool = True
    """Add a bias to the state's projection."""


class OneNonlinearity(Biases):
    """Options of a cell whose candidate's nonlinearity can be chosen."""

    nonlinearity: Activation = "tanh"
    """Nonlinearity of the candidate."""


class GateAndCandidate(OneNonlinearity):
    """Options of a cell whose candidate's and gates' nonlinearities can be chosen."""

    gate_nonlinearity: Activation = "sigmoid"
    """Nonlinearity of the gates."""


class Antisymmetric(OneNonlinearity):
    """Options of the antisymmetric network."""

    epsilon: Step = 1.0
    """Step size."""
    gamma: Strength = 0.0
    """Friction, on the diagonal."""


class GatedAntisymmetric(Biases):
    """Options of the antisymmetric network with a gate."""

    epsilon: Step = 1.0
    """Step size."""
    gamma: Strength = 0.0
    """Friction, on the diagonal."""


class Cornn(Biases):
    """Options of the coupled oscillators."""

    cell_bias: bool = True
    """Add a bias to the velocity's projection."""
    dt: Step = 0.1
    """Time per step."""
    gamma: Strength = 1.0
    """Stiffness."""
    epsilon: Strength = 1.0
    """Damping."""


class FastRnn(OneNonlinearity):
    """Options of FastRNN."""

    alpha_init: Logit = 3.0
    """Initial α, before its sigmoid: the share of the candidate."""
    beta_init: Logit = -3.0
    """Initial β, before its sigmoid: the share of the old state."""


class FastGrnn(Biases):
    """Options of FastGRNN."""

    nonlinearity: Activation = "tanh"
    """Nonlinearity of the *gate*; the paper's is the sigmoid."""
    zeta_init: Logit = 3.0
    """Initial ζ, before its sigmoid."""
    nu_init: Logit = -3.0
    """Initial ν, before its sigmoid."""


class Intersection(Biases):
    """Options of the intersection network."""

    depth_nonlinearity: Activation = "relu"
    """Nonlinearity of the candidate for the output."""
    recurrent_nonlinearity: Activation = "tanh"
    """Nonlinearity of the candidate for the state."""
    gate_nonlinearity: Activation = "sigmoid"
    """Nonlinearity of the gates."""


class Janet(Biases):
    """Options of JANET."""

    beta: Strength = 1.0
    """Initial β, which is trained: how much more is written than forgotten, before the sigmoid."""


class Lem(Biases):
    """Options of the long expressive memory."""

    cell_bias: bool = True
    """Add a bias to the memory's projection."""
    dt: Step = 1.0
    """Upper limit of the step length."""


class LiGru(Biases):
    """Options of the light GRU."""

    nonlinearity: Activation = "relu"
    """Nonlinearity of the candidate."""
    gate_nonlinearity: Activation = "sigmoid"
    """Nonlinearity of the gate."""


class Mclstm(Biases):
    """Options of the memory-controller LSTM."""

    gate_nonlinearity: Activation = "sigmoid"
    """Nonlinearity of the gates."""
    cell_nonlinearity: Activation = "tanh"
    """Nonlinearity of the candidate."""


class Miru1(GateAndCandidate):
    """Options of the first MiRU."""

    update_coefficient: Share = 0.5
    """The share of the old state that is kept, λ."""


class Miru2(OneNonlinearity):
    """Options of the second MiRU."""

    update_coefficient: Share = 0.5
    """The share of the old state that is kept, λ."""
    reset_coefficient: Share = 0.5
    """The share of the old state that the candidate reads, β."""


class Multiplicative(Biases):
    """Options of the multiplicative LSTM."""

    multiplicative_bias: bool = True
    """Add a bias to the projection of the product of input and state."""


class Scrn(Biases):
    """Options of the structurally constrained network."""

    context_bias: bool = True
    """Add a bias to the context's projection."""
    alpha: Share = 0.5
    """Initial α, which is trained: the share of the context that is kept."""


class Sgu(OneNonlinearity):
    """Options of the simple gated unit."""

    output_nonlinearity: Activation = "softplus"
    """Last nonlinearity of the candidate."""
    gate_nonlinearity: Activation = "hard_sigmoid"
    """Nonlinearity of the gate."""


class Dsgu(OneNonlinearity):
    """Options of the deep simple gated unit."""

    output_nonlinearity: Activation = "sigmoid"
    """Last nonlinearity of the candidate."""
    gate_nonlinearity: Activation = "hard_sigmoid"
    """Nonlinearity of the gate."""


class TauGru(GateAndCandidate):
    """Options of the GRU with a delay."""

    delay: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Number of steps between the last state and the delayed one, d."""


class Trnn(Options):
    """Options of the strongly typed network."""

    bias: bool = True
    """Add a bias to the input's projection."""
    gate_nonlinearity: Activation = "sigmoid"
    """Nonlinearity of the gate."""


class StronglyTyped(Biases):
    """Options of the strongly typed GRU and LSTM."""

    gate_nonlinearity: Activation = "sigmoid"
    """Nonlinearity of the forget gate."""
    output_nonlinearity: Activation = "tanh"
    """Nonlinearity of the output gate."""


class Unicornn(Options):
    """Options of the undamped oscillators."""

    bias: bool = True
    """Add a bias to the input's projection."""
    recurrent_bias: bool = False
    """Add a second bias, to the state's term."""
    dt: Step = 0.1
    """Upper limit of the step length that a unit can learn."""
    alpha: Strength = 0.0
    """Stiffness."""


class Wmclstm(Biases):
    """Options of the LSTM with a working memory."""

    memory_bias: bool = True
    """Add a bias to the memory's projection."""
