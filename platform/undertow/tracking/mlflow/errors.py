"""The errors of a tracking store, sorted by what the caller should do next.

with mlflow_errors():
    client.log_batch(...)      # raises one of the errors below, and nothing else
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from undertow._system.lock import LockTimeout
from undertow._system.redact import redacted
from undertow.errors import UndertowError

_LONGEST = 300


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
    """Call MLflow inside this block: its exceptions become the errors above."""
    try:
        yield
    except LockTimeout as error:
        raise Unreachable(str(error)) from error
    except UndertowError:
        raise
    except Exception as error:  # HTTP, SQL and cloud drivers each raise their own
        raise _translated(error) from error


def _translated(error: Exception) -> UndertowError:
    code: Any = getattr(error, "error_code", None)
    text = redacted(" ".join(str(error).split())) or repr(error)
    if len(text) > _LONGEST:  # the cause is at the end: "... failed with exception ... Connection refused"
        text = f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 2 :]}"
    match code:
        case "INVALID_PARAMETER_VALUE" | "RESOURCE_ALREADY_EXISTS":
            return Rejected(text)
        case "BAD_REQUEST":  # a wrong value, but also a lost database connection
            return MaybeRejected(text)
        case "RESOURCE_DOES_NOT_EXIST":
            return RunMissing(text)
    return Unreachable(text)
