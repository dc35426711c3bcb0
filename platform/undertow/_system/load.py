"""How loaded the machine is: what else it does changes every measured time.

load_text()                   # "5.06 of 2 processors": the processes that wanted to run, mean of the last minute
load_of("5.06 of 2 processors")       # 2.53 for each processor
"""

import os
import re


def load_text() -> str | None:
    """The load average of the last minute and the processors of the machine; None where the system has none."""
    try:
        load = os.getloadavg()[0]
    except (AttributeError, OSError):  # another system than POSIX
        return None
    return f"{load:.2f} of {os.cpu_count() or 1} processors"


def load_of(text: str) -> float | None:
    """The load for each processor in a text of `load_text`; None in any other text."""
    found = re.fullmatch(r"([\d.]+) of (\d+) processors", text)
    return float(found[1]) / int(found[2]) if found and int(found[2]) else None
