"""Cost of every cell, forward and backward: against a fused LSTM, against torchrecurrent, and by scan or by steps.

Each of undertow-cells runs the fastest way it has, through the platform's loop; torchrecurrent's run by the layer that
its users call. Weights are not the same in both, and need not be: the work is.
T time, B batch, I input, H hidden.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from statistics import median

import torch
from torch import Tensor, nn

from benchmarks.row import Row
from benchmarks.timing import Seconds, device, forward_backward, in_ms, interleaved, ratios
from undertow import Cell, State
from undertow.api.contract import Scans
from undertow.nn import unroll, unroll_by_steps
from undertow.plugins.host import load_plugins

_FUSED = "nn.LSTM"
_PEERS = {
    "antisymmetric": "AntisymmetricRNN",
    "brc": "BR",
    "cornn": "coRNN",
    "fastgrnn": "FastGRNN",
    "indrnn": "IndRNN",
    "janet": "JANET",
    "lem": "LEM",
    "lstm-no-forget": "OriginalLSTM",
    "lstm-peephole": "PeepholeLSTM",
    "mgu": "MGU",
    "nbrc": "NBR",
    "ugrnn": "UGRNN",
    "unicornn": "UnICORNN",
}
"""torchrecurrent's layer for each cell that both have."""
_PARALLEL = ("undertow_cells.linear.", "undertow_cells.matrix.")
_WIDTH = 2  # of the input, as the adding task has it

Way = Callable[[Cell, Tensor, State], tuple[Tensor, State]]


def measure(quick: bool) -> list[Row]:
    """Every cell over `nn.LSTM`, torchrecurrent's over ours, and steps over scans."""
    torch.manual_seed(0)
    return [*_against_others(quick), *_scans_against_steps(quick)]


def _against_others(quick: bool) -> list[Row]:
    T, B, H = (20, 4, 8) if quick else (400, 32, 128)
    x_TBI = torch.randn(T, B, _WIDTH, device=device())
    cells, fused = _cells(H, T), nn.LSTM(_WIDTH, H).to(device())
    contestants = {_FUSED: forward_backward(fused, lambda: fused(x_TBI)[0])}
    contestants |= {name: _run(unroll, cell, x_TBI) for name, cell in cells.items()}
    if find_spec("torchrecurrent") is not None:
        library = import_module("torchrecurrent")
        for layer in _PEERS.values():
            contestants[layer] = _peer(getattr(library, layer)(_WIDTH, H).to(device()), x_TBI)
    seconds = interleaved(contestants, rounds=2 if quick else 7)
    sizes = f"T={T} B={B} I={_WIDTH} H={H}"
    rows = [
        Row(
            "cells",
            f"{name} / {_FUSED}",
            "x",
            ratios(seconds, name, _FUSED),
            detail=f"{in_ms(seconds, name, _FUSED)}; {sizes}",
        )
        for name in cells
    ]
    return [*rows, *_against_library(seconds)]


def _against_library(seconds: Seconds) -> list[Row]:
    """A row for each cell that both have, and their median, round by round."""
    summary = "torchrecurrent / ours, median of the cells that both have"
    names = {name: f"torchrecurrent {layer} / {name}" for name, layer in _PEERS.items()}
    if not set(_PEERS.values()) <= seconds.keys():
        why = "torchrecurrent is not installed"
        return [Row("cells", name, "x", skipped=why) for name in names.values()] + [
            Row("cells", summary, "x", at_least=1.5, skipped=why)
        ]
    by_cell = {name: ratios(seconds, layer, name) for name, layer in _PEERS.items()}
    rows = [
        Row("cells", names[name], "x", by_cell[name], detail=in_ms(seconds, layer, name))
        for name, layer in _PEERS.items()
    ]
    by_round = [median(each) for each in zip(*by_cell.values(), strict=True)]
    return [*rows, Row("cells", summary, "x", by_round, at_least=1.5, detail=f"{len(rows)} cells")]


def _scans_against_steps(quick: bool) -> list[Row]:
    """Of cells with a matrix, or with one number a unit: with many, as in `s6`, a step costs its arithmetic."""
    T, B, H = (64, 2, 8) if quick else (4096, 8, 64)
    x_TBI = torch.randn(T, B, _WIDTH, device=device())
    rows = []
    for name, cell in _cells(H, T, _PARALLEL).items():
        many = type(cell).__module__.startswith(_PARALLEL[0]) and cell.initial_state(1)[0].dim() > 2
        if many or not isinstance(cell, Scans):
            continue
        ways = {"steps": _run(unroll_by_steps, cell, x_TBI), "scan": _run(unroll, cell, x_TBI)}
        seconds = interleaved(ways, rounds=2 if quick else 3)
        with torch.no_grad():
            by_scan_TBH, by_steps_TBH = (
                way(cell, x_TBI, cell.initial_state(B))[0] for way in (unroll, unroll_by_steps)
            )
        apart = float((by_scan_TBH - by_steps_TBH).abs().max())
        rows.append(
            Row(
                "cells",
                f"{name} by steps / by scan",
                "x",
                ratios(seconds, "steps", "scan"),
                at_least=5.0,
                detail=f"{in_ms(seconds, 'steps', 'scan')}; T={T} B={B} I={_WIDTH} H={H}; outputs {apart:.1g} apart",
            )
        )
    return rows


def _cells(H: int, T: int, of: str | tuple[str, ...] = "") -> Mapping[str, Cell]:
    """The cells of undertow-cells with their defaults, or those whose factory begins with `of`."""
    registry = load_plugins(allow=["undertow-cells"], strict=True)
    specs = [entry.spec for _, entry in sorted(registry.cells.items()) if entry.spec.factory.startswith(of)]
    return {spec.name: registry.factory(spec)(_WIDTH, H, spec.options(), T).to(device()) for spec in specs}


def _run(way: Way, cell: Cell, x_TBI: Tensor) -> Callable[[], None]:
    def forward() -> Tensor:
        return way(cell, x_TBI, cell.initial_state(x_TBI.shape[1]))[0]

    return forward_backward(cell, forward)


def _peer(layer: nn.Module, x_TBI: Tensor) -> Callable[[], None]:
    return forward_backward(layer, lambda: layer(x_TBI)[0])
