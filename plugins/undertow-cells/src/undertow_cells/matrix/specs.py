"""The catalogue entries of the cells with a matrix state; imports no torch."""

from undertow import CellSpec
from undertow_cells.matrix.options import GlaOptions

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
)
