"""The catalogue entries of the cells with a matrix state; imports no torch."""

from undertow import CellSpec
from undertow_cells.matrix.options import DeltanetOptions, GlaOptions, Hgrn2Options, MlstmOptions, Rwkv7Options

SPECS = (
    CellSpec(
        name="gla",
        summary="Gated linear attention: a matrix whose rows decay at rates read from the input; RetNet by option",
        factory="undertow_cells.matrix.gla:GLA",
        options=GlaOptions,
        paper="Yang et al. 2023, arXiv 2312.06635; constant decay: Sun et al. 2023, arXiv 2307.08621",
        state=("S",),
        equation="S' = diag(α) S + k vᵀ,  y = swish(r) ∘ LN(S'ᵀ q),  α = σ(·)^(1/16)",
    ),
    CellSpec(
        name="hgrn2",
        summary="HGRN2: a gated linear recurrence with a matrix state, where the key is what the gate forgets",
        factory="undertow_cells.matrix.hgrn2:HGRN2",
        options=Hgrn2Options,
        paper="Qin et al. 2024, arXiv 2404.07904",
        state=("S",),
        equation="S' = diag(f) S + (1 - f) vᵀ,  y = RMSNorm(S'ᵀ swish(q)),  f = β + (1 - β) σ(·)",
    ),
    CellSpec(
        name="mlstm",
        summary="mLSTM of xLSTM: a matrix memory with an exponential input gate, read by a query",
        factory="undertow_cells.matrix.mlstm:MLSTM",
        options=MlstmOptions,
        paper="Beck et al. 2024, arXiv 2405.04517",
        state=("C", "n", "m"),
        equation=(
            "y = σ(o) ∘ C'ᵀ q / max(|n'ᵀ q|, exp(-m'))\n"
            "C' = exp(log f + m - m') C + exp(i - m') k vᵀ\n"
            "n' = exp(log f + m - m') n + exp(i - m') k\n"
            "m' = max(log f + m, i)"
        ),
    ),
    CellSpec(
        name="deltanet",
        summary="Gated DeltaNet: what is stored under a key is replaced, and the whole matrix decays",
        factory="undertow_cells.matrix.deltanet:DeltaNet",
        options=DeltanetOptions,
        paper="Yang, Kautz & Hatamizadeh 2024, arXiv 2412.06464; β up to 2: Grazzi et al. 2024, arXiv 2411.12537",
        state=("S",),
        equation="S' = α (I - β k kᵀ) S + β k vᵀ,  y = swish(g) ∘ RMSNorm(S'ᵀ q),  |k| = |q| = 1",
    ),
    CellSpec(
        name="rwkv7",
        summary="RWKV-7: a delta rule whose decay and learning rate differ between the entries of the key",
        factory="undertow_cells.matrix.rwkv7:RWKV7",
        options=Rwkv7Options,
        paper="Peng et al. 2025, arXiv 2503.14456",
        state=("S",),
        equation="S' = (diag(w) - (a ∘ κ) κᵀ) S + k vᵀ,  y = g ∘ (LN(S'ᵀ r) + (rᵀ(ρ ∘ k)) v),  |κ| = 1",
    ),
)
