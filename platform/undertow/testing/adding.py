"""The adding task at T = 10, for the check that trains: the kit needs no plugin but the one under test.

The input of each step is v ~ U(0, 1) and a marker, which is 1 at one step of each half and 0 elsewhere. The answer is
the sum of the two marked values; the loss of the best constant is the variance of that sum, 1/6. B batch, T time.
"""

import torch
from torch import Tensor

from undertow.draws import uniforms

LENGTH = 10
TRIVIAL_LOSS = 1 / 6


def adding(first: int, count: int) -> tuple[Tensor, Tensor]:
    """Examples `first`, `first + 1`, …: the input `(B, T, 2)` and the answer `(B, 1)`."""
    half = LENGTH // 2
    u_BN = torch.from_numpy(uniforms(0, "testing/adding", torch.arange(first, first + count).numpy(), LENGTH + 2))
    marked_B2 = (u_BN[:, LENGTH:] * half).long() + torch.tensor([0, half])
    v_BT = u_BN[:, :LENGTH].float()
    marker_BT = torch.zeros_like(v_BT).scatter_(1, marked_B2, 1.0)
    return torch.stack([v_BT, marker_BT], dim=2), (v_BT * marker_BT).sum(1, keepdim=True)
