"""The catalogue entries of the linear recurrences; imports no torch."""

from undertow import CellSpec
from undertow_cells.linear.options import (
    LmuOptions,
    LruOptions,
    MinGruOptions,
    MinLstmOptions,
    RgLruOptions,
    S4dOptions,
    S6Options,
    SruOptions,
)

SPECS = (
    CellSpec(
        name="mingru",
        summary="Minimal GRU: one gate, which reads the input only, so that all steps run in parallel",
        factory="undertow_cells.linear.mingru:MinGRU",
        options=MinGruOptions,
        paper="Feng et al. 2024, arXiv 2410.01201",
        state=("h",),
        equation="h' = (1 - σ(z)) ∘ h + σ(z) ∘ (W x + b)",
    ),
    CellSpec(
        name="minlstm",
        summary="Minimal LSTM: forget and input gate read the input only and add up to one; runs in parallel",
        factory="undertow_cells.linear.minlstm:MinLSTM",
        options=MinLstmOptions,
        paper="Feng et al. 2024, arXiv 2410.01201",
        state=("h",),
        equation="h' = (f ∘ h + i ∘ (W x + b)) / (f + i),  f = σ(·), i = σ(·)",
    ),
    CellSpec(
        name="lru",
        summary="Linear recurrent unit: complex numbers that rotate and decay at learned rates; runs in parallel",
        factory="undertow_cells.linear.lru:LRU",
        options=LruOptions,
        paper="Orvieto et al. 2023, arXiv 2303.06349",
        state=("h",),
        equation="h' = λ ∘ h + γ ∘ (B x),  λ = exp(-e^ν + i e^θ),  y = Re(C h') + D x",
    ),
    CellSpec(
        name="rg-lru",
        summary="Real-gated linear recurrent unit of Griffin: a gate on the input slows the decay; runs in parallel",
        factory="undertow_cells.linear.rg_lru:RGLRU",
        options=RgLruOptions,
        paper="De et al. 2024, arXiv 2402.19427",
        state=("h", "t"),
        equation="h' = a ∘ h + √(1 - a²) ∘ (σ(i) ∘ x),  a = σ(Λ)^(8 σ(r))",
    ),
    CellSpec(
        name="s4d",
        summary="Diagonal state space layer S4D: several decaying rotations in each unit, sampled at learned steps",
        factory="undertow_cells.linear.s4d:S4D",
        options=S4dOptions,
        paper="Gu, Gupta, Goel & Ré 2022, arXiv 2206.11893",
        state=("h",),
        equation="h' = e^(Δ A) ∘ h + (e^(Δ A) - 1) / A ∘ u,  A = -e^α + i ω,  y = 2 Re(C · h') + D ∘ u",
    ),
    CellSpec(
        name="s6",
        summary="Selective state space of Mamba: the input sets how much of each unit's numbers is kept; also signed",
        factory="undertow_cells.linear.s6:S6",
        options=S6Options,
        paper="Gu & Dao 2023, arXiv 2312.00752; signed: Grazzi et al. 2024, arXiv 2411.12537",
        state=("h",),
        equation=(
            "h' = a ∘ h + Δ u Bᵀ,  a = e^(Δ A), or 2 e^(Δ A) - 1 if signed,  y = h' C + D ∘ u\n"
            "Δ = softplus(W u + b), B = W_B u, C = W_C u"
        ),
    ),
    CellSpec(
        name="sru",
        summary="Simple recurrent unit: a gated memory without matrices, mixed with the input; runs in parallel",
        factory="undertow_cells.linear.sru:SRU",
        options=SruOptions,
        paper="Lei et al. 2017, arXiv 1709.02755",
        state=("c",),
        equation=(
            "c' = σ(f) ∘ c + (1 - σ(f)) ∘ (W x),  y = σ(r) ∘ c' + (1 - σ(r)) ∘ α x\n"
            "f = W_f x + b_f, r = W_r x + b_r; with version 2, + v_f ∘ c and + v_r ∘ c"
        ),
    ),
    CellSpec(
        name="lmu",
        summary="Legendre memory unit: a sliding window stored as Legendre coefficients, and a tanh network",
        factory="undertow_cells.linear.lmu:LMU",
        options=LmuOptions,
        paper=(
            "Voelker, Kajić & Eliasmith 2019, Legendre Memory Units: Continuous-Time Representation in Recurrent "
            "Neural Networks, NeurIPS 32"
        ),
        state=("h", "m"),
        equation="h' = tanh(W_x x + W_h h + W_m m')\nm' = Ā m + B̄ (e_x · x + e_h · h + e_m · m)",
    ),
)
