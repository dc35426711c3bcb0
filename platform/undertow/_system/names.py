"""Names of metrics, parameters and tags, as MLflow accepts them.

check_name("gradient/h/by_lag")  # returns the name
check_name("a+b")  # ValueError
"""

import posixpath
import re
from functools import lru_cache

_NAME = re.compile(r"[/\w.\- :]+")


@lru_cache(maxsize=4096)
def check_name(name: str) -> str:
    """Return `name`.

    Raises:
        ValueError: MLflow would refuse it.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"the name {name!r} cannot be tracked: letters, digits, `_`, `-`, `.`, `:`, `/` and blanks only"
        )
    if posixpath.normpath(name) != name or name == "." or name.startswith(("..", "/")):
        raise ValueError(f"the name {name!r} cannot be tracked: as a path it would mean {posixpath.normpath(name)!r}")
    return name
