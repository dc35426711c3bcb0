"""Registers the cells of torchrecurrent; imports neither torchrecurrent nor torch."""

from collections.abc import Iterable

from undertow import CellSpec, hookimpl
from undertow_torchrecurrent.table import TABLE


@hookimpl
def undertow_register_cells() -> Iterable[CellSpec]:
    """Return one spec for each line of the table."""
    return [
        CellSpec(
            name=f"torchrecurrent/{line.name}",
            summary=f"torchrecurrent's {line.summary}",
            factory=f"undertow_torchrecurrent.cells:{line.cell}",
            options=line.options,
            paper=line.paper,
            state=line.state,
            equation=line.equation,
        )
        for line in TABLE
    ]
