"""The catalogue entries of the plain networks; imports no torch."""

from undertow import CellSpec
from undertow_cells.plain.options import (
    AntisymmetricOptions,
    ClockworkOptions,
    IndrnnOptions,
    OrthogonalOptions,
    RnnOptions,
)

SPECS = (
    CellSpec(
        name="rnn",
        summary="Elman's network: one matrix and a nonlinearity; with the identity initialisation an IRNN",
        factory="undertow_cells.plain.rnn:RNN",
        options=RnnOptions,
        paper="Elman 1990, doi 10.1207/s15516709cog1402_1; Le, Jaitly & Hinton 2015, arXiv 1504.00941",
        state=("h",),
        equation="h' = tanh(W x + U h + b)",
    ),
    CellSpec(
        name="indrnn",
        summary="Independently recurrent network: each unit reads only its own state, by a weight that is bounded",
        factory="undertow_cells.plain.indrnn:IndRNN",
        options=IndrnnOptions,
        paper="Li, Li, Cook, Zhu & Gao 2018, arXiv 1803.04831",
        state=("h",),
        equation="h' = relu(W x + u ∘ h + b),  |u| ≤ 2^(1/T)",
    ),
    CellSpec(
        name="clockwork",
        summary="Clockwork network: groups of units that move every 1, 2, 4, … steps and keep their value in between",
        factory="undertow_cells.plain.clockwork:Clockwork",
        options=ClockworkOptions,
        paper="Koutník, Greff, Gomez & Schmidhuber 2014, arXiv 1402.3511",
        state=("h", "t"),
        equation="h' = tanh(W x + U h + b) where t mod T_i = 0, or h;  U block-triangular",
    ),
    CellSpec(
        name="antisymmetric",
        summary="Antisymmetric network: small steps along a skew-symmetric matrix, so states neither grow nor shrink",
        factory="undertow_cells.plain.antisymmetric:AntisymmetricRNN",
        options=AntisymmetricOptions,
        paper="Chang, Chen, Haber & Chi 2019, arXiv 1902.09689",
        state=("h",),
        equation="h' = h + ε tanh((W - Wᵀ - γ I) h + V x + b)",
    ),
    CellSpec(
        name="orthogonal",
        summary="Orthogonal network: its matrix stays a rotation in training, so that gradients keep their size",
        factory="undertow_cells.plain.orthogonal:OrthogonalRNN",
        options=OrthogonalOptions,
        paper=(
            "Lezcano-Casado & Martínez-Rubio 2019, arXiv 1901.08428; Helfrich, Willmott & Ye 2018, arXiv 1707.09520; "
            "modReLU: Arjovsky, Shah & Bengio 2016, arXiv 1511.06464"
        ),
        state=("h",),
        equation="h' = sign(a) ∘ relu(|a| + b),  a = W x + exp(A) h,  A = -Aᵀ",
    ),
)
