"""The contract of a cell, check by check, a module for each subject.

Values are compared in 64 bits, where two correct computations agree up to rounding, and from a state that the cell
itself reached, for cells whose state parts only make sense together. The cell is in evaluation mode unless a check says
otherwise. Real, complex and integer state parts and complex weights are all allowed; integer parts have no gradient.
"""

from undertow.testing.cell.devices import DeviceChecks
from undertow.testing.cell.gates import GateChecks
from undertow.testing.cell.gradients import GradientChecks
from undertow.testing.cell.packs import PackChecks
from undertow.testing.cell.saving import SavingChecks
from undertow.testing.cell.sequences import SequenceChecks
from undertow.testing.cell.shapes import ShapeChecks
from undertow.testing.cell.training import TrainingChecks

__all__ = ["CellConformance"]


class CellConformance(
    ShapeChecks, SequenceChecks, GradientChecks, GateChecks, SavingChecks, PackChecks, DeviceChecks, TrainingChecks
):
    """What every cell must do.

    Attributes:
        training_steps: The most steps in which the cell must learn the adding task at T = 10, 32 examples each.
    """
