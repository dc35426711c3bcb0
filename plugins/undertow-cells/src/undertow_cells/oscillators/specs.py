"""The catalogue entries of the oscillators; imports no torch."""

from undertow import CellSpec
from undertow_cells.oscillators.options import CornnOptions, LemOptions, UnicornnOptions

SPECS = (
    CellSpec(
        name="cornn",
        summary="Coupled oscillatory network: damped pendulums that drive each other, so that states stay bounded",
        factory="undertow_cells.oscillators.cornn:CoRNN",
        options=CornnOptions,
        paper="Rusch & Mishra 2021, arXiv 2010.00951",
        state=("y", "z"),
        equation="y' = y + dt z'\nz' = z + dt (tanh(U y + 𝒰 z + V x + b) - γ y - ε z)",
    ),
    CellSpec(
        name="unicornn",
        summary="Independent oscillators without damping: a Hamiltonian step, which can be undone",
        factory="undertow_cells.oscillators.unicornn:UnICORNN",
        options=UnicornnOptions,
        paper="Rusch & Mishra 2021, arXiv 2103.05487",
        state=("y", "z"),
        equation="y' = y + dt σ(a) ∘ z'\nz' = z - dt σ(a) ∘ (tanh(w ∘ y + V x + b) + α y)",
    ),
    CellSpec(
        name="lem",
        summary="Long expressive memory: two coupled states, each with a time scale that the input sets",
        factory="undertow_cells.oscillators.lem:LEM",
        options=LemOptions,
        paper="Rusch, Mishra, Erichson & Mahoney 2022, arXiv 2110.04744",
        state=("y", "z"),
        equation="y' = (1 - d̄) ∘ y + d̄ ∘ tanh(W z' + V x + b)\nz' = (1 - d) ∘ z + d ∘ tanh(W' y + V' x + b')",
    ),
)
