"""What the catalogue says of the plain networks; imports no torch."""

from undertow import CellSpec
from undertow_cells.plain.options import RnnOptions

SPECS = (
    CellSpec(
        name="rnn",
        summary="Elman's network: one matrix and a nonlinearity; the identity start makes it an IRNN",
        factory="undertow_cells.plain.rnn:RNN",
        options=RnnOptions,
        paper="Elman 1990, doi 10.1207/s15516709cog1402_1; Le, Jaitly & Hinton 2015, arXiv 1504.00941",
        state=("h",),
        equation="h' = tanh(W x + U h + b)",
    ),
)
