"""The base of the cells with a matrix state. T time, B batch, I input, H hidden, N heads, K key size, V = H / N."""

from abc import abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from undertow import Cell, RequestError, State
from undertow_cells.heads import head_size
from undertow_cells.matrix.options import MatrixOptions
from undertow_cells.matrix.scan import matrix_scan
from undertow_cells.projection import projection


class MatrixCell(Cell):
    """Each head has a matrix S, whose rows belong to the entries of a key; all terms are computed from the input alone:

        S' = diag(w) S + k vᵀ,  or with `corrected`  S' = (diag(w) + b aᵀ) S + k vᵀ
        y  = output(S'ᵀ q)

    A subclass defines `terms`, their sizes in `widths`, and `output`. The sequence is run by the chunked scan.

    Args:
        input_size: I.
        hidden_size: H, the width of the output.
        options: The cell's options.
        length: Time steps of the task.
        name: The cell's name, for errors.

    Attributes:
        heads: N.
        key_size: K.
        value_size: V.
        widths: Numbers a head of each term, in the order of `terms`.

    Raises:
        RequestError: The number of heads does not divide the hidden size.
    """

    corrected = False
    widths: list[int]

    def __init__(self, input_size: int, hidden_size: int, options: MatrixOptions, length: int, *, name: str) -> None:
        super().__init__(input_size, hidden_size, options, length)
        self.heads = options.heads
        self.value_size = head_size(name, options.heads, hidden_size)
        self.key_size = options.key_size or self.value_size

    @abstractmethod
    def terms(self, x_TBI: Tensor) -> tuple[Tensor, ...]:
        """w, q, k, v, if `corrected` a and b, and then what `output` and `gates` need: `(T, B, N, …)` each."""

    def output(self, read: Tensor, *rest: Tensor) -> Tensor:
        """The layer's output, `(…, H)`, from what the query reads, `(…, N, V)`, and the terms after those of S'."""
        return read.flatten(-2)

    def initial_state(self, batch_size: int) -> State:
        """Zeros, `(B, N, K, V)`."""
        return (next(self.parameters()).new_zeros(batch_size, self.heads, self.key_size, self.value_size),)

    def project(self, x_TBI: Tensor) -> Tensor:
        """All `terms` side by side, `(T, B, N, …)`."""
        return torch.cat(self.terms(x_TBI), -1)

    def step(self, z: Tensor, state: State) -> State:
        """One step."""
        (S_BNKV,) = state
        w, _, k, v, *rest = torch.split(z.to(S_BNKV.dtype), self.widths, -1)
        kept = w.unsqueeze(-1) * S_BNKV
        if self.corrected:
            a, b, *_ = rest
            u = (a.unsqueeze(-2) @ S_BNKV).to(kept.dtype)
            kept = torch.addcmul(kept, b.unsqueeze(-1), u)
        return (torch.addcmul(kept, k.unsqueeze(-1), v.unsqueeze(-2)),)

    def readout(self, z: Tensor, state: State) -> Tensor:
        """The output for the state after the step."""
        _, q, _, _, *rest = torch.split(z, self.widths, -1)
        (S_BNKV,) = state
        read = (q.to(S_BNKV.dtype).unsqueeze(-2) @ S_BNKV).squeeze(-2)  # in 16 bits under autocast
        return self.output(read.to(S_BNKV.dtype), *rest[2 * self.corrected :])

    def scan(self, x_TBI: Tensor, state: State) -> tuple[Tensor, State]:
        """All steps in the chunked scan."""
        terms = self.terms(x_TBI)
        own = 6 if self.corrected else 4
        read_TBNV, S_BNKV = matrix_scan(state[0], *terms[:own])
        return self.output(read_TBNV, *terms[own:]), (S_BNKV,)

    def _weight(self, rows: int, columns: int) -> nn.Parameter:
        """Torch's start of a linear layer: U(-1/√columns, 1/√columns)."""
        bound = columns**-0.5
        return nn.Parameter(torch.empty(rows, columns).uniform_(-bound, bound))

    def _by_head(self, x_TBI: Tensor, weight_OI: Tensor, *sizes: int, bias: Tensor | None = None) -> list[Tensor]:
        """W x + b, a block of rows for each of several terms, `(T, B, N, size)` each."""
        parts = torch.split(projection(x_TBI, weight_OI, bias), [self.heads * size for size in sizes], -1)
        return [torch.unflatten(part, -1, (self.heads, -1)) for part in parts]


def unit(x: Tensor) -> Tensor:
    """Vectors of length 1 along the last dimension, shorter where x is shorter than about 1e-3."""
    return x * (x.square().sum(-1, keepdim=True) + 1e-6).rsqrt()


class HeadNorm(nn.Module):
    """What each head reads, scaled to a mean square of one, with a learned weight for every unit.

    Args:
        cell: The cell's name, for the error.
        heads: N.
        size: V.
        kind: ``layer`` also subtracts the mean, ``rms`` does not.
        eps: Added to the mean square.
        bias: Whether a learned number is added.

    Raises:
        RequestError: A head has one unit, of which nothing is left without its mean.
    """

    def __init__(
        self, cell: str, heads: int, size: int, kind: Literal["layer", "rms"], *, eps: float = 1e-5, bias: bool = False
    ) -> None:
        super().__init__()
        if kind == "layer" and size == 1:
            raise RequestError(
                f"cell.options.{cell}.heads: with {heads} heads each has one unit, and its norm would always give 0; "
                f"take fewer heads, or cell.options.{cell}.norm: false"
            )
        self.kind, self.eps = kind, eps
        self.weight = nn.Parameter(torch.ones(heads, size))
        self.bias = nn.Parameter(torch.zeros(heads, size)) if bias else None

    def forward(self, read: Tensor) -> Tensor:
        """Scale `(…, N, V)`."""
        shape = read.shape[-1:]
        if self.kind == "layer":
            scaled = functional.layer_norm(read, shape, eps=self.eps) * self.weight
        else:
            scaled = functional.rms_norm(read, shape, eps=self.eps) * self.weight
        return scaled if self.bias is None else scaled + self.bias
