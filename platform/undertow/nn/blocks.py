"""Blocks: what surrounds the cell of a layer, and the layers of a network that have them.

    y = block.after(x, cell(block.before(x)))

Without a block, a deep stack of linear cells computes a linear function. These three come with the platform; others
are plugins, registered by `undertow_register_blocks`. There is no norm after the last block, as in the authors' network
of the LRU; S4's code has one.

T time, B batch, H hidden, C width of a cell's readout, or of both in a bidirectional layer.
"""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn
from torch.nn import functional

from undertow.api.contract import Block
from undertow.api.spec import Options

_EPS = 1e-5

NORMS: dict[str, Callable[[int], nn.Module]] = {
    "layer": partial(nn.LayerNorm, eps=_EPS),
    "rms": partial(nn.RMSNorm, eps=_EPS),
}
"""The values of `cell.norm`: layer norm (arXiv 1607.06450) and RMS norm (arXiv 1910.07467)."""


class Plain(Block):
    """The cell alone. The input is not projected, and a layer reads the width of the one below."""

    @property
    def output_size(self) -> int:
        """C."""
        return self.cell_size

    def after(self, x: Tensor, u: Tensor) -> Tensor:
        """The cell's readout."""
        return u


class Residual(Block):
    """y = x + W cell(norm(x)), with W `(H, C)`: pre-norm, as in arXiv 2002.04745."""

    def __init__(self, hidden_size: int, cell_size: int, options: Options, norm: Callable[[int], nn.Module]) -> None:
        super().__init__(hidden_size, cell_size, options, norm)
        self.norm = norm(hidden_size)
        self.out = nn.Linear(cell_size, hidden_size, bias=False)

    def before(self, x: Tensor) -> Tensor:
        """norm(x)."""
        normed: Tensor = self.norm(x)
        return normed

    def after(self, x: Tensor, u: Tensor) -> Tensor:
        """x + W u."""
        added: Tensor = self.out(u)
        return x + added


class Glu(Block):
    """u = gelu(cell(norm(x))), y = x + (W₁ u + b₁) ∘ σ(W₂ u + b₂): the block of S4 and LRU.

    Gu, Goel & Ré 2022, arXiv 2111.00396; Orvieto et al. 2023, arXiv 2303.06349. The gate is that of Dauphin et
    al. 2017, arXiv 1612.08083. W₁ and W₂ are one matrix, `(2H, C)`.
    """

    def __init__(self, hidden_size: int, cell_size: int, options: Options, norm: Callable[[int], nn.Module]) -> None:
        super().__init__(hidden_size, cell_size, options, norm)
        self.norm = norm(hidden_size)
        self.out = nn.Linear(cell_size, 2 * hidden_size)

    def before(self, x: Tensor) -> Tensor:
        """norm(x)."""
        normed: Tensor = self.norm(x)
        return normed

    def after(self, x: Tensor, u: Tensor) -> Tensor:
        """x + (W₁ u + b₁) ∘ σ(W₂ u + b₂), of the activated u."""
        return x + functional.glu(self.out(functional.gelu(u)), dim=-1)
