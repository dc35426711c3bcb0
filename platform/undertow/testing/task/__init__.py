"""The contract of a task, check by check, a module for each subject."""

from undertow.testing.task.answers import AnswerChecks
from undertow.testing.task.examples import ExampleChecks
from undertow.testing.task.shapes import ShapeChecks

__all__ = ["TaskConformance"]


class TaskConformance(ShapeChecks, ExampleChecks, AnswerChecks):
    """What every task must do.

    Attributes:
        length: The time steps at which it is checked; the default of its spec when None.
    """
