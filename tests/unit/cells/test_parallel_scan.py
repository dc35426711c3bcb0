"""The parallel scan against the loop that defines it. T time, B batch, N units."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow_cells.linear.scan import SHORT, WIDE, linear_scan

B, N = 2, 3
LENGTHS = [1, 2, 3, SHORT - 1, SHORT, SHORT + 1, 47, 64, 100, 121, 256, 299, 300, SHORT**2 - 1, SHORT**2 + SHORT]
FACTORS = {
    "any": lambda a: a,
    "zero": lambda a: a * 0,
    "one": lambda a: a * 0 + 1,
    "tiny": lambda a: a * 1e-300,
    "negative": lambda a: -a,
    "mixed": lambda a: torch.where(a < 0.3, 0.0, torch.where(a > 0.7, 1.0, a)),
}


def loop(a_TBN: torch.Tensor, b_TBN: torch.Tensor, h_BN: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    states = []
    for a, b in zip(a_TBN.expand_as(b_TBN), b_TBN, strict=True):
        h_BN = a * h_BN + b
        states.append(h_BN)
    return torch.stack(states), h_BN


def draw(
    T: int, dtype: torch.dtype = torch.float64, seed: int = 0, shape: tuple[int, int] = (B, N)
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """a with |a| <= 1, b, and the state before the first step."""
    generator = torch.Generator().manual_seed(seed)
    a = torch.rand(T, *shape, generator=generator, dtype=torch.float64).to(dtype)
    if dtype.is_complex:
        a = a * torch.exp(1j * torch.rand(T, *shape, generator=generator, dtype=torch.float64) * 7)
    b, h = (torch.randn(*each, generator=generator, dtype=dtype) for each in ((T, *shape), shape))
    return a, b, h


def close(got: torch.Tensor, expected: torch.Tensor) -> bool:
    return got.shape == expected.shape and bool((got - expected).abs().max() <= 1e-12 * max(expected.abs().max(), 1e-3))


def assert_equal_to_loop(a: torch.Tensor, b: torch.Tensor, h: torch.Tensor) -> None:
    results = []
    for run in (linear_scan, loop):
        leaves = [each.clone().requires_grad_() for each in (a, b, h)]
        h_TBN, last_BN = run(*leaves)
        weights_TBN = torch.randn(h_TBN.shape, generator=torch.Generator().manual_seed(9), dtype=h_TBN.dtype)
        loss = (h_TBN * weights_TBN).abs().square().sum() + last_BN.abs().square().sum()
        results.append([h_TBN, last_BN, *torch.autograd.grad(loss, leaves)])
    for got, expected in zip(*results, strict=True):
        assert close(got, expected)


@pytest.mark.parametrize("factors", FACTORS)
@pytest.mark.parametrize("T", LENGTHS)
def test_values_and_gradients_equal_the_loop(T: int, factors: str) -> None:
    a, b, h = draw(T)
    assert_equal_to_loop(FACTORS[factors](a), b, h)


@pytest.mark.parametrize("T", [1, 30, 150])
def test_complex_values_and_gradients_equal_the_loop(T: int) -> None:
    assert_equal_to_loop(*draw(T, torch.complex128))


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_constant_factors_may_be_given_without_a_time_dimension(dtype: torch.dtype) -> None:
    a, b, h = draw(130, dtype)
    assert_equal_to_loop(a[0, 0], b, h)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(T=st.integers(1, 300), seed=st.integers(0, 1000), factors=st.sampled_from(sorted(FACTORS)))
def test_any_length_with_any_factors(T: int, seed: int, factors: str) -> None:
    a, b, h = draw(T, seed=seed)
    assert_equal_to_loop(FACTORS[factors](a), b, h)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(T=st.integers(2, 300), data=st.data())
def test_two_pieces_equal_the_whole(T: int, data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, T - 1))
    a, b, h = draw(T)
    whole_TBN, last_BN = linear_scan(a, b, h)
    first_TBN, between_BN = linear_scan(a[:cut], b[:cut], h)
    second_TBN, end_BN = linear_scan(a[cut:], b[cut:], between_BN)
    assert close(torch.cat([first_TBN, second_TBN]), whole_TBN)
    assert close(end_BN, last_BN)


def test_no_state_depends_on_later_inputs() -> None:
    a, b, h = draw(200)
    later_a, later_b = a.clone(), b.clone()
    later_a[77:] *= 0.5
    later_b[77:] += 1
    before, after = linear_scan(a, b, h)[0], linear_scan(later_a, later_b, h)[0]
    assert torch.equal(before[:77], after[:77])
    assert (before[77:] != after[77:]).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("T", [1, 2, SHORT + 8])
def test_gradients_equal_finite_differences(T: int, dtype: torch.dtype) -> None:
    """For one unit: every unit is computed alike, and the cost grows with the square of the numbers."""
    leaves = [each.requires_grad_() for each in draw(T, dtype, shape=(1, 1))]
    assert torch.autograd.gradcheck(linear_scan, leaves)
    assert torch.autograd.gradcheck(lambda *args: linear_scan(*args)[0], leaves)
    assert torch.autograd.gradcheck(lambda *args: linear_scan(*args)[1], leaves)


@pytest.mark.parametrize("width", [1, WIDE // B, WIDE // B + 1])
def test_wide_states_equal_the_loop(width: int) -> None:
    a, b, h = (torch.cat([each] * -(-width // N), -1)[..., :width] for each in draw(600))
    assert all(close(got, expected) for got, expected in zip(linear_scan(a, b, h), loop(a, b, h), strict=True))


def test_gradient_of_the_initial_state_alone() -> None:
    a, b, h = draw(100)
    h.requires_grad_()
    (gradient,) = torch.autograd.grad(linear_scan(a, b, h)[1].sum(), h)
    assert close(gradient, a.prod(0))


def test_inputs_need_not_be_contiguous() -> None:
    a, b, h = draw(90)
    strided_a, strided_b = (each.transpose(0, 1).contiguous().transpose(0, 1) for each in (a, b))
    assert not strided_a.is_contiguous()
    assert_equal_to_loop(torch.cat([strided_a, strided_b], -1)[..., :N], strided_b, h)


def test_result_has_the_widest_dtype() -> None:
    a, b, h = draw(40)
    h_TBN, last_BN = linear_scan(a.float(), b.bfloat16(), h.float())
    assert h_TBN.dtype == last_BN.dtype == torch.float32


def test_second_derivative_is_refused() -> None:
    a, b, h = (each.requires_grad_() for each in draw(5))
    (gradient,) = torch.autograd.grad(linear_scan(a, b, h)[0].square().sum(), a, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


# --- replicates side by side ------------------------------------------------------------------------------------------


def assert_replicates_equal_single_scans(leaves: tuple[torch.Tensor, ...], dims: tuple[int | None, ...]) -> None:
    """By values and gradients; an argument whose dimension is None is the same for all replicates."""
    size = next(leaf.shape[dim] for leaf, dim in zip(leaves, dims, strict=True) if dim is not None)

    def single(*arguments: torch.Tensor) -> tuple[torch.Tensor, ...]:
        of_each = (
            [a if d is None else a.select(d, i) for a, d in zip(arguments, dims, strict=True)] for i in range(size)
        )
        return tuple(torch.stack(results) for results in zip(*(linear_scan(*each) for each in of_each), strict=True))

    found = []
    for run in (torch.vmap(linear_scan, in_dims=dims), single):
        arguments = [leaf.clone().requires_grad_() for leaf in leaves]
        h_RTBN, last_RBN = run(*arguments)
        generator = torch.Generator().manual_seed(9)
        weights_RTBN = torch.randn(h_RTBN.shape, generator=generator, dtype=h_RTBN.dtype)
        loss = (h_RTBN * weights_RTBN).abs().square().sum() + last_RBN.abs().square().sum()
        found.append([h_RTBN, last_RBN, *torch.autograd.grad(loss, arguments)])
    for got, expected in zip(*found, strict=True):
        assert close(got, expected)


def replicates(of: tuple[bool, ...], dtype: torch.dtype, T: int, *, constant: bool) -> tuple[torch.Tensor, ...]:
    """The arguments of the scan, those named with three replicates in front."""
    drawn = [draw(T, dtype, seed) for seed in range(3)]
    if constant:
        drawn = [(a[0, 0], b, h) for a, b, h in drawn]
    return tuple(
        torch.stack(each) if many else each[0] for each, many in zip(zip(*drawn, strict=True), of, strict=True)
    )


SOME = [of for of in itertools.product((True, False), repeat=3) if any(of)]


@pytest.mark.parametrize("of", SOME, ids=lambda of: "".join(name for name, many in zip("abh", of, strict=True) if many))
@pytest.mark.parametrize("constant", [False, True], ids=["by-step", "constant"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("T", [1, 30, 150])
def test_replicates_equal_single_scans(of: tuple[bool, ...], constant: bool, dtype: torch.dtype, T: int) -> None:
    leaves = replicates(of, dtype, T, constant=constant)
    assert_replicates_equal_single_scans(leaves, tuple(0 if many else None for many in of))


def test_replicates_in_any_dimension_equal_single_scans() -> None:
    a, b, h = replicates((True, True, True), torch.float64, 60, constant=False)
    assert_replicates_equal_single_scans((a.movedim(0, 3), b.movedim(0, 2), h.movedim(0, 1)), (3, 2, 1))
    a, b, h = replicates((True, True, True), torch.float64, 60, constant=True)
    assert_replicates_equal_single_scans((a.movedim(0, 1), b, h), (1, 0, 0))


def test_replicates_of_replicates_equal_single_scans() -> None:
    a, b, h = replicates((True, True, True), torch.float64, 60, constant=True)
    inner = torch.vmap(linear_scan, in_dims=(0, None, None))
    outer_RRTBN, last_RRBN = torch.vmap(inner, in_dims=(None, 0, 0))(a, b, h)
    for i, j in itertools.product(range(3), repeat=2):
        expected_TBN, expected_BN = linear_scan(a[j], b[i], h[i])
        assert close(outer_RRTBN[i, j], expected_TBN)
        assert close(last_RRBN[i, j], expected_BN)
