"""The garbage collector at the end of a process.

Before it ends, Python collects garbage among all objects that were ever imported. With torch or MLflow that takes most
of the time of the shutdown, and frees memory that the kernel frees anyway. Only the main functions of processes call
this module: the command line, the shipper, the forkserver of a study.
"""

import atexit
import gc


def skip_final_collection() -> None:
    """Skip the collections at the end of this process."""
    atexit.register(gc.freeze)
