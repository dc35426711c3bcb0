"""The settings of a process that sends records to MLflow: short timeouts, no retries, no log output.

    with quiet_mlflow():
        sync(home)

They hold for the whole process, so only the main functions of processes apply them: that of the shipper, and those of
the commands `sync` and `doctor`. A `Store` changes nothing outside itself.
"""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_ALWAYS = {
    # The shipper and `sync` retry. MLflow's own retry sends the same request again: a server that created a run but
    # failed to answer would create a second one. It would also delay the runs of other stores.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
}
_UNLESS_SET = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


@contextmanager
def quiet_mlflow() -> Iterator[None]:
    """Apply the settings to this process, and restore the previous ones after the block."""
    before = {name: os.environ.get(name) for name in _ALWAYS | _UNLESS_SET}
    os.environ.update(_ALWAYS | {name: value for name, value in _UNLESS_SET.items() if before[name] is None})
    disabled_level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # MLflow logs a stack trace for each request to a store that is down
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations inside third-party packages
            yield
    finally:
        logging.disable(disabled_level)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
