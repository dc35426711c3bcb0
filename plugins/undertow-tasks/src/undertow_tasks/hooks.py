"""Registers the tasks, family by family; imports neither torch nor scikit-learn."""

from collections.abc import Iterable

from undertow import TaskSpec, hookimpl
from undertow_tasks.digits.specs import SPECS as DIGITS
from undertow_tasks.formal.specs import SPECS as FORMAL
from undertow_tasks.memory.specs import SPECS as MEMORY
from undertow_tasks.series.specs import SPECS as SERIES
from undertow_tasks.text.specs import SPECS as TEXT


@hookimpl
def undertow_register_tasks() -> Iterable[TaskSpec]:
    """Return the tasks of this distribution."""
    return (*DIGITS, *FORMAL, *MEMORY, *SERIES, *TEXT)
