"""The errors of a tracking store, sorted by what the caller should do next.

with mlflow_errors():
    client.log_batch(...)      # raises one of the errors below, and nothing else
"""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from undertow._system.lock import LockTimeout
from undertow._system.redact import redacted
from undertow.errors import UndertowError

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


class Unreachable(UndertowError):
    """The store did not respond, or not as expected: try again later."""


class Rejected(UndertowError):
    """The store will never accept this."""


class MaybeRejected(UndertowError):
    """The store did not accept this, for a reason that may be temporary."""


class RunBlocked(UndertowError):
    """The run cannot be written to until a person does something."""


class ParentMissing(UndertowError):
    """The run's parent has to be in the store first."""


class RunMissing(UndertowError):
    """The store has no such run: send it again from the beginning."""


@contextmanager
def mlflow_errors() -> Iterator[None]:
    """Call MLflow inside this block: no log output, short timeouts, and its exceptions become the errors above."""
    before = {name: os.environ.get(name) for name in _ALWAYS | _UNLESS_SET}
    os.environ.update(_ALWAYS | {name: value for name, value in _UNLESS_SET.items() if before[name] is None})
    disabled_level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # MLflow logs a stack trace for each request to a store that is down
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations inside third-party packages
            yield
    except LockTimeout as error:
        raise Unreachable(str(error)) from error
    except UndertowError:
        raise
    except Exception as error:  # HTTP, SQL and cloud drivers each raise their own
        raise _translated(error) from error
    finally:
        logging.disable(disabled_level)
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
        case "BAD_REQUEST":  # a wrong value, but also a lost database connection
            return MaybeRejected(text)
        case "RESOURCE_DOES_NOT_EXIST":
            return RunMissing(text)
    return Unreachable(text)
