"""Assertions that hold under `python -O` too, and that say what was compared, by how much it differs and what to do."""

from collections.abc import Sequence

import torch
from torch import Tensor

ROUNDING = 1e-10
"""Two ways to compute one thing in 64 bits may differ by this share of the largest value, and no more."""


def expect(condition: object, message: str) -> None:
    """Fail with a message unless a condition holds.

    Raises:
        AssertionError: It does not hold.
    """
    if not condition:
        raise AssertionError(message)


def expect_shape(got: object, shape: Sequence[int], what: str) -> None:
    """Fail unless something is a tensor of a shape.

    Raises:
        AssertionError: It is not.
    """
    expect(isinstance(got, Tensor), f"{what} is of type {type(got).__name__}, expected a tensor.")
    assert isinstance(got, Tensor)
    expect(tuple(got.shape) == tuple(shape), f"{what} has shape {tuple(got.shape)}, expected {tuple(shape)}.")


def expect_close(got: Tensor, expected: Tensor, what: str, remedy: str, tolerance: float = ROUNDING) -> None:
    """Fail unless two tensors are equal, up to a share of the largest value of the second.

    Args:
        got: One.
        expected: The other.
        what: What is compared, for the message.
        remedy: What to do if they differ.
        tolerance: The share.

    Raises:
        AssertionError: They differ in shape or value, or one of them is not finite.
    """
    expect_shape(got, expected.shape, what)
    if not got.numel():
        return
    got, expected = got.detach(), expected.detach()
    difference, scale = float((got - expected).abs().max()), float(expected.abs().max())
    allowed = tolerance * max(scale, 1e-3)
    expect(
        difference <= allowed,  # not so where one of them is NaN
        f"{what}: they differ by up to {difference:.3g}, where values are up to {scale:.3g} and {allowed:.1g} is "
        f"allowed. {remedy}",
    )


def expect_all_close(
    got: Sequence[Tensor], expected: Sequence[Tensor], what: str, remedy: str, tolerance: float = ROUNDING
) -> None:
    """As `expect_close`, for each of several; `what` may hold ``{}``, the number of the one that differs."""
    expect(len(got) == len(expected), f"{what.format('all')}: {len(got)} against {len(expected)}. {remedy}")
    for index, (one, other) in enumerate(zip(got, expected, strict=True)):
        expect_close(one, other, what.format(index), remedy, tolerance)


def expect_finite(tensor: Tensor, what: str, remedy: str) -> None:
    """Fail unless every number is finite.

    Raises:
        AssertionError: One is not.
    """
    wrong = int((~torch.isfinite(tensor)).sum())
    expect(not wrong, f"{what}: {wrong} of {tensor.numel()} numbers are not finite. {remedy}")
