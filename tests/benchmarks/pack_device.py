"""Training steps of packs of several sizes on a GPU: how many more replicate steps a second than of one.

Also once in mixed precision. On a CPU the sizes are tiny, to see that it runs, or there are no rows.
S replicates, T time, B batch, H hidden.
"""

from benchmarks.packs import PackSteps
from benchmarks.row import Row
from benchmarks.timing import device, interleaved
from undertow.train.pack.choice import ROUNDS

_FUSED, _STEPPED = ("rnn", "lstm", "gru"), ("mgu", "lem")
_SIZES = (8, 16, 32)
_TARGET = 16  # the size that has one


def measure(quick: bool) -> list[Row]:
    """Replicate steps a second of a pack over those of a pack of one, for each cell and size."""
    gpu = device().type == "cuda"
    cases = [(cell, "32-true") for cell in (*_FUSED, *_STEPPED)] + [("mgu", "bf16-mixed")]
    if gpu or quick:
        return [row for cell, precision in cases for row in _rows(cell, precision, quick)]
    return [Row("pack_device", _name(*case, S), "x", skipped="there is no GPU") for case in cases for S in _SIZES]


def _rows(cell: str, precision: str, quick: bool) -> list[Row]:
    T, B, H, sizes = (10, 4, 8, (2, 4)) if quick else (256, 32, 64, _SIZES)
    kind = device().type
    packs = {S: PackSteps(cell, S, T, B, H, kind, mixed=precision == "bf16-mixed") for S in (1, *sizes)}
    for pack in packs.values():
        for _ in range(2 * ROUNDS):
            pack.step()
    seconds = interleaved({str(S): pack.step for S, pack in packs.items()}, rounds=2 if quick else 8)
    return [
        Row(
            "pack_device",
            _name(cell, precision, S),
            "x",
            [S * one / each for one, each in zip(seconds["1"], seconds[str(S)], strict=True)],
            at_least=8.0 if kind == "cuda" and S == _TARGET and cell in _STEPPED and precision == "32-true" else None,
            detail=f"{S / min(seconds[str(S)]):.4g} / {1 / min(seconds['1']):.4g} replicate steps a second; "
            f"{packs[S].way}; {T=} {B=} {H=}",
        )
        for S in sizes
    ]


def _name(cell: str, precision: str, S: int) -> str:
    return f"replicate steps/s, S={S} / S=1, {cell}{'' if precision == '32-true' else f', {precision}'}"
