"""Assertions that also run under `python -O`; messages have what was compared, the difference and the remedy."""

from collections.abc import Sequence

import torch
from torch import Tensor

ROUNDING = 1e-10
"""The difference allowed between two computations of the same values in 64 bits, relative to the largest value."""


def expect(condition: object, message: str) -> None:
    """Fail with a message unless a condition holds.

    Raises:
        AssertionError: The condition is false.
    """
    if not condition:
        raise AssertionError(message)


def expect_shape(got: object, shape: Sequence[int], label: str) -> None:
    """Fail unless an object is a tensor of a shape.

    Raises:
        AssertionError: It is no tensor, or its shape is another.
    """
    expect(isinstance(got, Tensor), f"{label} is of type {type(got).__name__}, expected a tensor.")
    assert isinstance(got, Tensor)
    expect(tuple(got.shape) == tuple(shape), f"{label} has shape {tuple(got.shape)}, expected {tuple(shape)}.")


def expect_close(got: Tensor, expected: Tensor, label: str, remedy: str, tolerance: float = ROUNDING) -> None:
    """Fail unless two tensors are equal, up to a share of the largest value of the second.

    Args:
        got: The tensor under test; real, complex, integer or bool.
        expected: The reference.
        label: What is compared, for the message.
        remedy: What to do if they differ.
        tolerance: The share.

    Raises:
        AssertionError: They differ in shape or value, or one of them is not finite.
    """
    expect_shape(got, expected.shape, label)
    if not got.numel():
        return
    got, expected = _comparable(got), _comparable(expected)
    difference, scale = float((got - expected).abs().max()), float(expected.abs().max())
    allowed = tolerance * max(scale, 1e-3)
    expect(
        difference <= allowed,  # false if one of them is NaN
        f"{label}: the largest difference is {difference:.3g}, the largest value {scale:.3g}, and {allowed:.1g} is "
        f"allowed. {remedy}",
    )


def expect_all_close(
    got: Sequence[Tensor], expected: Sequence[Tensor], label: str, remedy: str, tolerance: float = ROUNDING
) -> None:
    """Apply `expect_close` to each pair; `label` may hold ``{}``, the number of the pair."""
    expect(len(got) == len(expected), f"{label.format('all')}: {len(got)} against {len(expected)}. {remedy}")
    for index, (one, other) in enumerate(zip(got, expected, strict=True)):
        expect_close(one, other, label.format(index), remedy, tolerance)


def expect_finite(tensor: Tensor, label: str, remedy: str) -> None:
    """Fail unless every number is finite.

    Raises:
        AssertionError: At least one is not.
    """
    wrong = int((~torch.isfinite(tensor)).sum())
    expect(not wrong, f"{label}: {wrong} of {tensor.numel()} numbers are not finite. {remedy}")


def _comparable(tensor: Tensor) -> Tensor:
    """Without its graph; integers and bools as float64, which has a difference and a size for them too."""
    tensor = tensor.detach()
    return tensor if tensor.is_floating_point() or tensor.is_complex() else tensor.double()
