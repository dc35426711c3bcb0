"""Cost of stepping: an LSTM written as one step and run by the platform's loop, against the fused kernel.

Forward and backward, weight gradients included. torchrecurrent's cells are written as steps as well.
T time, B batch, I input, H hidden.
"""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from benchmarks.row import Row
from benchmarks.timing import Seconds, device, forward_backward, in_ms, interleaved, ratios
from undertow.nn import unroll_by_steps
from undertow_cells.gated.lstm import LSTM
from undertow_cells.gated.options import LstmOptions

_STEPS = "lstm by steps"
_FUSED = "nn.LSTM"
_PEERS = {"torchrecurrent OriginalLSTM": "OriginalLSTM", "torchrecurrent MGU": "MGU"}
_LIMIT_ON_CPU = 2.0
_WIDTH = 2  # of the input, as the adding task has it


def measure(quick: bool) -> list[Row]:
    """Time of each stepped network over that of `nn.LSTM`."""
    T, B, H = (40, 8, 16) if quick else (400, 32, 128)
    torch.manual_seed(0)
    x_TBI = torch.randn(T, B, _WIDTH, device=device())
    cell = LSTM(_WIDTH, H, LstmOptions(), T).to(device())

    def stepped() -> Tensor:
        return unroll_by_steps(cell, x_TBI, cell.initial_state(B))[0]

    contestants = {
        _FUSED: forward_backward(cell.kernel, lambda: cell.kernel(x_TBI)[0]),
        _STEPS: forward_backward(cell, stepped),
    }
    if find_spec("torchrecurrent") is not None:
        peers = import_module("torchrecurrent")
        for name, layer in _PEERS.items():
            contestants[name] = _peer(getattr(peers, layer)(_WIDTH, H).to(device()), x_TBI)
    seconds = interleaved(contestants, rounds=3 if quick else 15)
    with torch.no_grad():
        apart = float((stepped() - cell.kernel(x_TBI)[0]).abs().max())
    return [
        Row(
            "steps",
            f"{_STEPS} / {_FUSED}",
            "x",
            ratios(seconds, _STEPS, _FUSED),
            at_most=_LIMIT_ON_CPU if device().type == "cpu" else None,
            detail=f"{in_ms(seconds, _STEPS, _FUSED)}; T={T} B={B} I={_WIDTH} H={H}; outputs {apart:.1g} apart",
        ),
        *(_row(name, seconds) for name in _PEERS),
    ]


def _row(peer: str, seconds: Seconds) -> Row:
    name = f"{peer} / {_FUSED}"
    if peer not in seconds:
        return Row("steps", name, "x", skipped="torchrecurrent is not installed")
    return Row("steps", name, "x", ratios(seconds, peer, _FUSED), detail=in_ms(seconds, peer, _FUSED))


def _peer(network: nn.Module, x_TBI: Tensor) -> Callable[[], None]:
    return forward_backward(network, lambda: network(x_TBI)[0])
