"""Import a library without one of its parts, or one of its dependencies, that only few of its users need.

    with deferred("scipy.signal", hamming=None):
        import torchmetrics

The library finds an empty module in the place of the part. Whoever uses the part later imports it then.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType


@contextmanager
def deferred(name: str, **content: object) -> Iterator[None]:
    """Put off the import of a module that would be imported in the block, until something in it is used.

    Args:
        name: The module; nothing is put off if it was imported before.
        content: What the importing library looks for in it at once, so that this does not import it.
    """
    if name in sys.modules:
        yield
        return
    stand_in = ModuleType(name)

    def remove() -> None:
        if sys.modules.get(name) is stand_in:
            del sys.modules[name]

    def first_use(attribute: str) -> object:
        if attribute.startswith("__"):  # the import system's
            raise AttributeError(attribute)
        remove()
        return getattr(import_module(name), attribute)

    vars(stand_in).update(content, __getattr__=first_use)
    sys.modules[name] = stand_in
    try:
        yield
    finally:
        remove()
