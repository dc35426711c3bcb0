"""W x + b for all steps of a sequence at once: the `project` of most cells. T time, B batch, I input, O output."""

import torch
from torch import Tensor
from torch.nn import functional

NARROW = 16
"""Up to this many features, the order of W in memory matters more to the cost of its gradient than the arithmetic."""


def projection(x_TBI: Tensor, weight_OI: Tensor, bias_O: Tensor | None = None) -> Tensor:
    """As `functional.linear`, but on a CPU in half the time or less where the input has 2 to 16 features.

    The gradient of W is one product over all T·B rows. Torch computes it in the order in which W is stored, which is
    the slower of the two with few columns; so W is transposed in memory before it is used.

    Returns:
        `(T, B, O)`.
    """
    if not 1 < x_TBI.shape[-1] <= NARROW:
        return functional.linear(x_TBI, weight_OI, bias_O)
    rows, weight_IO = x_TBI.flatten(0, -2), weight_OI.t().contiguous()
    projected = rows @ weight_IO if bias_O is None else torch.addmm(bias_O, rows, weight_IO)
    return projected.view(*x_TBI.shape[:-1], len(weight_OI))


def blocks(x_TBI: Tensor, weight_OI: Tensor, bias_O: Tensor, count: int) -> list[Tensor]:
    """W x + b by blocks of rows, each in a tensor of its own.

    On slices of one wide tensor, whose gradients must be joined again, elementwise operations take a tenth longer.

    Returns:
        `count` tensors, `(T, B, O / count)` each.
    """
    rows = zip(weight_OI.chunk(count), bias_O.chunk(count), strict=True)
    return [projection(x_TBI, weight, bias) for weight, bias in rows]
