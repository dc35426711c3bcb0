"""The chunked scan of matrix states against the loop that defines it.

T time, B batch, N heads, K size of a key, V size of a value.
"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from undertow_cells.matrix.scan import CHUNK, matrix_scan

B, N, K, V = 2, 2, 3, 4
LENGTHS = [1, 2, 3, 7, 8, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5]
FACTORS = {
    "any": lambda w: w,
    "zero": lambda w: w * 0,
    "one": lambda w: w * 0 + 1,
    "tiny": lambda w: w * 1e-300,
    "negative": lambda w: -w,
    "mixed": lambda w: torch.where(w < 0.3, 0.0, torch.where(w > 0.7, 1.0, w)),
}
KINDS = {"rows": (K, False), "head": (1, False), "rows-corrected": (K, True), "head-corrected": (1, True)}
Arguments = list[Tensor]


def loop(S: Tensor, w: Tensor, q: Tensor, k: Tensor, v: Tensor, *correction: Tensor) -> tuple[Tensor, Tensor]:
    read = []
    for t in range(len(q)):
        factor = torch.diag_embed(w[t].expand_as(q[t]))
        if correction:
            a, b = correction
            factor = factor + b[t].unsqueeze(-1) * a[t].unsqueeze(-2)
        S = factor @ S + k[t].unsqueeze(-1) * v[t].unsqueeze(-2)
        read.append((S * q[t].unsqueeze(-1)).sum(-2))
    return torch.stack(read), S


def draw(T: int, kind: str, factors: str = "any", seed: int = 0) -> Arguments:
    """The arguments; a correction removes up to twice what is stored under a key, so that the state stays bounded."""
    width, corrected = KINDS[kind]
    generator = torch.Generator().manual_seed(seed)
    rand, randn = (
        lambda *shape, of=of: of(*shape, dtype=torch.float64, generator=generator) for of in (torch.rand, torch.randn)
    )
    w = FACTORS[factors](rand(T, B, N, width))
    arguments = [randn(B, N, K, V), w, randn(T, B, N, K), randn(T, B, N, K), randn(T, B, N, V)]
    if corrected:
        a = torch.nn.functional.normalize(randn(T, B, N, K), dim=-1)
        arguments += [a, -2 * rand(T, B, N, 1) * w * a]
    return arguments


def close(got: Tensor, expected: Tensor) -> bool:
    return got.shape == expected.shape and bool((got - expected).abs().max() <= 1e-12 * max(expected.abs().max(), 1e-3))


def with_gradients(run, arguments: Arguments) -> list[Tensor]:
    leaves = [each.clone().requires_grad_() for each in arguments]
    y, S = run(*leaves)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64).to(y.dtype)
    loss = (y * weights).square().sum() + S.square().sum()
    return [y, S, *torch.autograd.grad(loss, leaves)]


def assert_equal_to_loop(arguments: Arguments) -> None:
    for got, expected in zip(with_gradients(matrix_scan, arguments), with_gradients(loop, arguments), strict=True):
        assert close(got, expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("factors", FACTORS)
@pytest.mark.parametrize("T", LENGTHS)
def test_values_and_gradients_equal_the_loop(T: int, factors: str, kind: str) -> None:
    assert_equal_to_loop(draw(T, kind, factors))


@settings(max_examples=12, deadline=None, derandomize=True)
@given(T=st.integers(1, 100), seed=st.integers(0, 1000), factors=st.sampled_from(sorted(FACTORS)))
@pytest.mark.parametrize("kind", KINDS)
def test_any_length_with_any_factors(kind: str, T: int, seed: int, factors: str) -> None:
    assert_equal_to_loop(draw(T, kind, factors, seed))


@settings(max_examples=6, deadline=None, derandomize=True)
@given(T=st.integers(2, 100), data=st.data())
@pytest.mark.parametrize("kind", KINDS)
def test_two_pieces_equal_the_whole(kind: str, T: int, data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, T - 1))
    S, *steps = draw(T, kind)
    whole, last = matrix_scan(S, *steps)
    first, between = matrix_scan(S, *(each[:cut] for each in steps))
    second, end = matrix_scan(between, *(each[cut:] for each in steps))
    assert close(torch.cat([first, second]), whole)
    assert close(end, last)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_read_depends_on_later_steps(kind: str) -> None:
    S, *steps = draw(100, kind)
    later = [torch.cat([each[:47], each[47:] / 2]) for each in steps]
    before, after = matrix_scan(S, *steps)[0], matrix_scan(S, *later)[0]
    assert torch.equal(before[:47], after[:47])
    assert (before[47:] != after[47:]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_equal_finite_differences_twice(kind: str) -> None:
    arguments = [each[..., :1, :, :].clone().requires_grad_() for each in draw(5, kind)]
    assert torch.autograd.gradcheck(matrix_scan, arguments, fast_mode=True)
    assert torch.autograd.gradgradcheck(matrix_scan, arguments, fast_mode=True)


@pytest.mark.parametrize("factor", [0.0, 1e-30, 1e-3, 0.99])
@pytest.mark.parametrize("kind", KINDS)
def test_in_32_bits_no_decay_is_too_strong(kind: str, factor: float) -> None:
    """No product of decays overflows or is divided by: the error is that of rounding, and gradients are finite."""
    exact = [each * factor if place in (1, 6) else each for place, each in enumerate(draw(100, kind, "one"))]
    single = [each.float() for each in exact]
    for got, expected in zip(with_gradients(matrix_scan, single), with_gradients(loop, exact), strict=True):
        assert (got - expected).abs().max() <= 2e-5 * expected.abs().max()


def test_reflections_stay_bounded_over_a_long_sequence() -> None:
    """With w = 1 and b = -2 a every factor has norm 1: what is stored neither grows nor fades."""
    S, w, q, k, v, a, _ = (each.float() for each in draw(4000, "head-corrected", "one"))
    _, last = matrix_scan(S, w, q, k * 0, v, a, -2 * a)
    torch.testing.assert_close(last.norm(dim=(-2, -1)), S.norm(dim=(-2, -1)), rtol=1e-4, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_state_decides_the_dtype_under_autocast_too(kind: str) -> None:
    S, *steps = (each.float() for each in draw(40, kind))
    expected, _ = matrix_scan(S, *(each.bfloat16().float() for each in steps))
    with torch.autocast("cpu", torch.bfloat16):
        got, last = matrix_scan(S, *(each.bfloat16() for each in steps))
    assert got.dtype == last.dtype == torch.float32
    assert torch.equal(got, expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("T", [1, 50])
def test_replicates_equal_single_scans(T: int, kind: str) -> None:
    drawn = [draw(T, kind, seed=seed) for seed in range(3)]
    stacks = [torch.stack(each) for each in zip(*drawn, strict=True)]
    shared = [stacks[0], stacks[1][0], *stacks[2:]]

    def singly(*of_each: Tensor) -> tuple[Tensor, Tensor]:
        runs = [matrix_scan(*each) for each in zip(*of_each, strict=True)]
        y, S = (torch.stack(results) for results in zip(*runs, strict=True))
        return y, S

    def one_decay_for_all(S: Tensor, w: Tensor, *rest: Tensor) -> tuple[Tensor, Tensor]:
        return singly(S, w.expand(3, *w.shape), *rest)

    together = torch.vmap(matrix_scan)
    with_shared_decay = torch.vmap(matrix_scan, in_dims=(0, None, *[0] * (len(stacks) - 2)))
    for run, by_loop, arguments in ((together, singly, stacks), (with_shared_decay, one_decay_for_all, shared)):
        for got, expected in zip(with_gradients(run, arguments), with_gradients(by_loop, arguments), strict=True):
            assert close(got, expected)
