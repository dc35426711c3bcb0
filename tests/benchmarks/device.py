"""Training step, gradient profile and memory of five cells of one size: by steps against a fused kernel.

The rows for a GPU, where stepping costs the launches of many small kernels and a fused kernel is one launch. `rnn`,
`lstm` and `gru` have a fused kernel; `mgu` and `lem` are stepped and compared with that of `lstm`.
T time, B batch, H hidden, K lags.
"""

from collections.abc import Callable, Mapping
from unittest.mock import patch

from benchmarks.profiled import profiled
from benchmarks.row import Row
from benchmarks.timing import device, in_ms, interleaved, peak_bytes, ratios, training_step
from undertow.nn import unroll_by_steps

_FUSED, _STEPPED = ("rnn", "lstm", "gru"), ("mgu", "lem")
_STEP, _PROFILE = "training step", "gradient profile"
_PAIRS = [(f"{cell} by steps", cell) for cell in _FUSED] + [(cell, "lstm") for cell in _STEPPED]
"""What is stepped, and the fused network that it is compared with."""

Contestants = Mapping[str, Callable[[], object]]


def measure(quick: bool) -> list[Row]:
    """Time and memory of a training step and of a gradient profile, for each cell."""
    T, B, H, K = sizes = (24, 4, 8, 4) if quick else (256, 64, 64, 32)
    contestants: dict[str, Callable[[], object]] = {}
    for cell in (*_FUSED, *_STEPPED):
        contestants |= _contestants(cell, *sizes)
    seconds = interleaved(contestants, rounds=2 if quick else 8)
    compared = [(f"{what}, {one}", f"{what}, {other}") for what in (_STEP, _PROFILE) for one, other in _PAIRS]
    in_steps = [(f"{_PROFILE}, {cell}", f"{_STEP}, {cell}") for cell in (*_FUSED, *_STEPPED)]
    times = [
        Row(
            "device",
            f"{one} / {other}",
            "x",
            ratios(seconds, one, other),
            detail=f"{in_ms(seconds, one, other)}; {T=} {B=} {H=} {K=}",
        )
        for one, other in (*compared, *in_steps)
    ]
    return [*times, *(_memory(contestants, one, other) for one, other in compared)]


def _memory(contestants: Contestants, one: str, other: str) -> Row:
    """The ratio of the memory that both take on the GPU."""
    name = f"memory: {one} / {other}"
    if device().type != "cuda":
        return Row("device", name, "x", skipped="there is no GPU, and the CPU's allocator does not count")
    peaks = [peak_bytes(contestants[each]) for each in (one, other)]
    detail = " / ".join(f"{peak / 2**20:.3g}" for peak in peaks) + " MiB"
    return Row("device", name, "x", [peaks[0] / peaks[1]], detail=detail)


def _contestants(cell: str, T: int, B: int, H: int, K: int) -> Contestants:
    """A training step and a gradient profile of one cell, the fastest way it has and, if that is fused, by steps."""
    one = profiled(cell, T, B, H, K)
    ways = {f"{_STEP}, {cell}": training_step(one.model, one.batch), f"{_PROFILE}, {cell}": one.profile}
    if cell in _FUSED:
        ways |= {f"{name} by steps": _by_steps(way) for name, way in ways.items()}
    return ways


def _by_steps(way: Callable[[], object]) -> Callable[[], object]:
    """The same, without the cell's `scan`."""

    def stepped() -> object:
        with patch("undertow.nn.model.unroll", unroll_by_steps):
            return way()

    return stepped
