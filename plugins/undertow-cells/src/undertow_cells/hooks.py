"""Registers the cells, family by family; imports no torch."""

from collections.abc import Iterable

from undertow import CellSpec, hookimpl
from undertow_cells.gated.specs import SPECS as GATED
from undertow_cells.linear.specs import SPECS as LINEAR
from undertow_cells.matrix.specs import SPECS as MATRIX
from undertow_cells.oscillators.specs import SPECS as OSCILLATORS
from undertow_cells.plain.specs import SPECS as PLAIN


@hookimpl
def undertow_register_cells() -> Iterable[CellSpec]:
    """Return the cells of this distribution."""
    return (*PLAIN, *GATED, *OSCILLATORS, *LINEAR, *MATRIX)
