"""How the work of a run ends: with a readable reason, and the name of the exception that ended it."""

from pathlib import Path

import pytest
import torch

from undertow.errors import Diverged, UndertowError
from undertow.runs.result import OUT_OF_MEMORY, Result, error_name, failure


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


ALLOCATION = (
    "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 8 EiB"),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError(ALLOCATION),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        RuntimeError("NCCL error in: NCCLUtils.cpp:94\nLast error:\nCuda failure 2 'out of memory'"),
        caused(UndertowError("probe `jacobian` failed"), RuntimeError(ALLOCATION)),
    ],
)
def test_every_failed_allocation_has_one_name(error: Exception, tmp_path: Path) -> None:
    assert error_name(error) == OUT_OF_MEMORY == "OutOfMemoryError"
    assert failure(error, tmp_path).error == OUT_OF_MEMORY


@pytest.mark.parametrize(
    "error", [Diverged("nan"), ValueError("the allocation of seats"), RuntimeError("no alloc here")]
)
def test_any_other_exception_has_its_own_name(error: Exception) -> None:
    assert error_name(error) == type(error).__name__


def test_a_failed_allocation_of_torch_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert error_name(caught.value) == OUT_OF_MEMORY


def test_tracebacks_of_several_failures_are_all_kept(tmp_path: Path) -> None:
    for number in (1, 2):
        result = failure(KeyError(f"number {number}"), tmp_path)
    assert result == Result("FAILED", f"KeyError: 'number 2' (see {tmp_path / 'traceback.txt'})", "KeyError")
    text = (tmp_path / "traceback.txt").read_text()
    assert "number 1" in text
    assert "number 2" in text
