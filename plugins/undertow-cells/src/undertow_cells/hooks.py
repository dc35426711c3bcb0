"""Registers the cells; imports no torch."""

from collections.abc import Iterable

from undertow import CellSpec, hookimpl
from undertow_cells.options import GruOptions, LstmOptions, RnnOptions, UgrnnOptions


@hookimpl
def undertow_register_cells() -> Iterable[CellSpec]:
    """The cells of this distribution."""
    return (
        CellSpec(
            name="rnn",
            summary="Elman's network: one matrix and a nonlinearity; the identity start makes it an IRNN",
            factory="undertow_cells.rnn:RNN",
            options=RnnOptions,
            paper="Elman 1990, doi 10.1207/s15516709cog1402_1; Le, Jaitly & Hinton 2015, arXiv 1504.00941",
            state=("h",),
            equation="h' = tanh(W x + U h + b)",
        ),
        CellSpec(
            name="lstm",
            summary="Long short-term memory with a forget gate: a memory that is added to, not multiplied through",
            factory="undertow_cells.lstm:LSTM",
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
            factory="undertow_cells.gru:GRU",
            options=GruOptions,
            paper="Cho et al. 2014, arXiv 1406.1078",
            state=("h",),
            equation="h' = (1 - σ(z)) ∘ n + σ(z) ∘ h,  n = tanh(W x + b + σ(r) ∘ (U h + b'))",
        ),
        CellSpec(
            name="ugrnn",
            summary="Update-gate network: one gate that keeps or replaces; between an RNN and a GRU",
            factory="undertow_cells.ugrnn:UGRNN",
            options=UgrnnOptions,
            paper="Collins, Sohl-Dickstein & Sussillo 2017, arXiv 1611.09913",
            state=("h",),
            equation="h' = σ(g) ∘ h + (1 - σ(g)) ∘ tanh(W x + U h + b)",
        ),
    )
