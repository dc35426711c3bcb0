"""What the catalogue says of the gated cells; imports no torch."""

from undertow import CellSpec
from undertow_cells.gated.options import GruOptions, LstmOptions, UgrnnOptions

SPECS = (
    CellSpec(
        name="lstm",
        summary="Long short-term memory with a forget gate: a memory that is added to, not multiplied through",
        factory="undertow_cells.gated.lstm:LSTM",
        options=LstmOptions,
        paper=(
            "Hochreiter & Schmidhuber 1997, doi 10.1162/neco.1997.9.8.1735; Gers, Schmidhuber & Cummins 2000, "
            "doi 10.1162/089976600300015015; chrono: Tallec & Ollivier 2018, arXiv 1804.11188"
        ),
        state=("h", "c"),
        equation="h' = σ(o) ∘ tanh(c')\nc' = σ(f) ∘ c + σ(i) ∘ tanh(g)",
    ),
    CellSpec(
        name="gru",
        summary="Gated recurrent unit, the reset gate after the matrix product: the form of the fused kernels",
        factory="undertow_cells.gated.gru:GRU",
        options=GruOptions,
        paper="Cho et al. 2014, arXiv 1406.1078",
        state=("h",),
        equation="h' = (1 - σ(z)) ∘ n + σ(z) ∘ h,  n = tanh(W x + b + σ(r) ∘ (U h + b'))",
    ),
    CellSpec(
        name="ugrnn",
        summary="Update-gate network: one gate that keeps or replaces; between an RNN and a GRU",
        factory="undertow_cells.gated.ugrnn:UGRNN",
        options=UgrnnOptions,
        paper="Collins, Sohl-Dickstein & Sussillo 2017, arXiv 1611.09913",
        state=("h",),
        equation="h' = σ(g) ∘ h + (1 - σ(g)) ∘ tanh(W x + U h + b)",
    ),
)
