"""What a store's answer means: whose move it is next.

with mlflow_errors():
    client.log_batch(...)      # raises one of the errors below, and nothing else
"""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from undertow._system.redact import redacted
from undertow.errors import UndertowError

_ALWAYS = {
    # The retrying is ours. MLflow's own sends the same request again, and a server that made a run but failed to say
    # so then makes a second one; and it would hold up the runs of other stores.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
}
_UNLESS_SET = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


class Unreachable(UndertowError):
    """The store did not answer, or not as it should: try again later."""


class Rejected(UndertowError):
    """The store will never take this."""


class MaybeRejected(UndertowError):
    """The store would not take this, for a reason that may pass."""


class RunBlocked(UndertowError):
    """The run cannot be written to until a person does something."""


class ParentMissing(UndertowError):
    """The run's parent has to be in the store first."""


class RunMissing(UndertowError):
    """The store does not know the run: it has to be sent again from the beginning."""


@contextmanager
def mlflow_errors() -> Iterator[None]:
    """Ask MLflow quietly, with short patience, and turn what it raises into the errors above."""
    before = {name: os.environ.get(name) for name in _ALWAYS | _UNLESS_SET}
    os.environ.update(_ALWAYS | {name: value for name, value in _UNLESS_SET.items() if before[name] is None})
    loud = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # its stack traces of a store that is down would bury everything else
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # third parties' deprecations; none is ours to act on
            yield
    except UndertowError:
        raise
    except Exception as error:  # HTTP, SQL and cloud drivers each raise their own
        raise _translated(error) from error
    finally:
        logging.disable(loud)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _translated(error: Exception) -> UndertowError:
    code: Any = getattr(error, "error_code", None)
    text = redacted(" ".join(str(error).split()))[:300] or repr(error)
    match code:
        case "INVALID_PARAMETER_VALUE" | "RESOURCE_ALREADY_EXISTS":
            return Rejected(text)
        case "BAD_REQUEST":  # a wrong value, but also a database connection that was lost
            return MaybeRejected(text)
        case "RESOURCE_DOES_NOT_EXIST":
            return RunMissing(text)
    return Unreachable(text)
