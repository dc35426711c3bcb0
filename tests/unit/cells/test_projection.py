"""The projection of narrow and wide inputs against `functional.linear`."""

import pytest
import torch
from torch.nn import functional

from undertow_cells.projection import NARROW, blocks, projection

T, B, ROWS = 6, 3, 4
FEATURES = [1, 2, NARROW, NARROW + 1]


def leaves(features: int, bias: bool) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(features)
    shapes = [(T, B, features), (ROWS, features), *([(ROWS,)] if bias else [])]
    return [torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True) for shape in shapes]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("features", FEATURES)
def test_values_and_derivatives_are_those_of_the_linear_map(features: int, bias: bool) -> None:
    given = leaves(features, bias)
    torch.testing.assert_close(projection(*given), functional.linear(*given))
    assert torch.autograd.gradcheck(projection, given)
    assert torch.autograd.gradgradcheck(projection, given)


@pytest.mark.parametrize("features", FEATURES)
def test_gradients_have_the_strides_of_their_parameters(features: int) -> None:
    given = leaves(features, bias=True)
    projection(*given).square().sum().backward()
    assert all(each.grad is not None and each.grad.stride() == each.stride() for each in given)


@pytest.mark.parametrize("features", FEATURES)
def test_single_steps_and_strided_inputs_are_projected_too(features: int) -> None:
    x_TBI, weight_OI, bias_O = leaves(features, bias=True)
    whole = projection(x_TBI, weight_OI, bias_O)
    torch.testing.assert_close(projection(x_TBI[2], weight_OI, bias_O), whole[2])
    strided = x_TBI.detach().transpose(0, 1).contiguous().transpose(0, 1)
    torch.testing.assert_close(projection(strided, weight_OI, bias_O), whole)


@pytest.mark.parametrize("features", FEATURES)
def test_autocast_applies(features: int) -> None:
    given = [each.detach().float() for each in leaves(features, bias=True)]
    with torch.autocast("cpu", torch.bfloat16):
        assert projection(*given).dtype == torch.bfloat16


def test_blocks_equal_one_projection_and_are_contiguous() -> None:
    x_TBI, weight_OI, bias_O = (torch.randn(*size, dtype=torch.float64) for size in ((5, 3, 4), (6, 4), (6,)))
    separate = blocks(x_TBI, weight_OI, bias_O, 2)
    torch.testing.assert_close(torch.cat(separate, -1), functional.linear(x_TBI, weight_OI, bias_O))
    assert all(block.is_contiguous() for block in separate)
