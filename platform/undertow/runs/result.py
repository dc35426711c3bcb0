"""How the work of a run ended: `Result`, kept as ``result.json`` in the run folder."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from undertow._system.atomic import sync_folder, write_atomically
from undertow._system.tracebacks import append_traceback
from undertow.errors import RequestError, UndertowError

FinalStatus = Literal["FINISHED", "FAILED", "KILLED"]

OUT_OF_MEMORY = "OutOfMemoryError"
"""The `Result.error` of a run that could not allocate memory, on a GPU or on the CPU."""

_ALLOCATION_FAILED = (
    *("DefaultCPUAllocator", "std::bad_alloc"),
    *(
        "CUDA error: out of memory",
        "CUBLAS_STATUS_ALLOC_FAILED",
        "CUDNN_STATUS_ALLOC_FAILED",
        "CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
        "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "Cuda failure 2 'out of memory'",  # NCCL's
        "Cuda failure 'out of memory'",
        "MPS backend out of memory",
    ),
)
"""In the text of a plain RuntimeError of torch's: memory could not be allocated."""


@dataclass(frozen=True)
class Result:
    """How the work of a run ended.

    Attributes:
        status: As MLflow names it.
        reason: Why it ended so; empty when finished.
        error: The type name of the exception that ended it, if one did; `OUT_OF_MEMORY` for every kind of failed
            allocation.
        steps: Training steps done.
        metrics: The latest value of every scalar, by metric name.
        curves: The last curves, by metric name: steps of the axis, and values.
    """

    status: FinalStatus
    reason: str = ""
    error: str = ""
    steps: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, tuple[list[int], list[float]]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "Result":
        """Read what `write` wrote.

        Raises:
            RequestError: The file is damaged.
        """
        try:
            return TypeAdapter(cls).validate_python(json.loads(path.read_text("utf-8")))
        except (ValueError, RecursionError) as error:
            wrong = [": ".join([*map(str, each["loc"]), each["msg"]]) for each in _mistakes(error)]
            raise RequestError(
                f"{path} cannot be read: {'; '.join(wrong) or error}\n"
                "Restore it from a copy, or delete it to continue the run."
            ) from error

    def write(self, path: Path) -> None:
        """Write as JSON, completely or not at all; on return it has reached the disk."""
        write_atomically(path, json.dumps(asdict(self)))
        sync_folder(path.parent)


def _mistakes(error: Exception) -> list[ErrorDetails]:
    return error.errors() if isinstance(error, ValidationError) else []


def failure(error: Exception, folder: Path) -> Result:
    """The result of a run that an exception ended.

    Args:
        error: The exception. If it is not written for the user, its traceback is appended to ``traceback.txt``.
        folder: The run folder.
    """
    if isinstance(error, UndertowError):
        return Result("FAILED", str(error), error_name(error))
    path = folder / "traceback.txt"
    append_traceback(path, error, "the run failed")
    return Result("FAILED", f"{type(error).__name__}: {error} (see {path})", error_name(error))


def error_name(error: BaseException) -> str:
    """The type name of an exception; `OUT_OF_MEMORY` if it, or one that caused it, is a failed allocation."""
    return OUT_OF_MEMORY if any(map(_is_out_of_memory, _causes(error))) else type(error).__name__


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's; it is not imported here
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _ALLOCATION_FAILED)
