"""When not to look for garbage: while modules are imported, which leave none, and at the end of a process.

Python's collector looks through everything that has come in, again and again: a fifth of the time of long imports, and
most of the time that a process with torch or MLflow takes to end.
"""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Do not look for it meanwhile."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def skip_final_collection() -> None:
    """Have this process end without a last look: its memory goes as a whole."""
    atexit.register(gc.freeze)
