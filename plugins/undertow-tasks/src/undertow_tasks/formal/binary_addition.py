"""Binary addition: read two numbers, write their sum. Delétang et al., arXiv 2207.02098. B batch, T time, N digits."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from undertow import Batch, Options, Tokens
from undertow_tasks.formal.rewriting import Rewriting

PLUS = 2


class BinaryAddition(Rewriting):
    """Two numbers in, `a+b`, least significant digit first, as in the paper; their sum out, in the same order.

        read     1 1 0 + 1 0 1        3 + 5, T = 7
        written  0 0 0 1              8

    Each number has half of the T-1 digits; if T-1 is odd, the second has one more. The sum has one digit more than the
    longer number, the carry, so that it needs no end symbol; the paper draws the numbers of digits at random, omits
    leading zeros of the sum, and ends it with a symbol. Digits are 0 or 1 with equal probability, and so are those of
    the sum except the last: with N digits in the longer and M in the shorter number, the best constant for each step
    costs

        (N ln 2 + H(p)) / (N + 1),   p = (2^M - 1)/2^(N+1), the probability of a carry, H its entropy in nats.

    The most frequent sums, from 2^M - 1 to 2^N - 1, have 2^M of the 2^(N+M) pairs of numbers each.
    """

    name = "binary-addition"
    alphabet = 2
    output_size = 2
    inputs = Tokens(3)

    def __init__(self, options: Options, length: int, seed: int) -> None:
        super().__init__(length, seed)
        self.symbols = length - 1
        self._shorter = self.symbols // 2
        self._longer = self.symbols - self._shorter
        self.writes = self._longer + 1
        carry = (1 - 2.0**-self._shorter) / 2 ** (self._longer - self._shorter + 1)
        entropy = -carry * math.log(carry) - (1 - carry) * math.log1p(-carry)
        self.trivial_loss = (self._longer * math.log(2) + entropy) / self.writes
        self.trivial_scores = {"exact_match": 2.0**-self._longer}

    def to_input(self, symbols: Tensor) -> Tensor:
        """Two numbers with a plus between them, `(B, T)`."""
        plus_B1 = torch.full_like(symbols[:, :1], PLUS)
        return torch.cat([symbols[:, : self._shorter], plus_B1, symbols[:, self._shorter :]], dim=1)

    def rewritten(self, input: Tensor) -> Tensor:
        """The sum of two numbers, `(B, N+1)`.

        The carry into a place is decided at the nearest lower place with two equal digits: it is 1 if both are ones.
        """
        first_BN = functional.pad(input[:, : self._shorter], (0, self._longer - self._shorter))
        digits_BN = first_BN + input[:, self._shorter + 1 :]
        place_N = torch.arange(self._longer, device=input.device)
        equal_BN = torch.where(digits_BN == 1, -1, place_N).cummax(1).values
        carry_BN = (digits_BN.gather(1, equal_BN.clamp(min=0)) == 2) & (equal_BN >= 0)
        return functional.pad(digits_BN, (0, 1)) + functional.pad(carry_BN.long(), (1, 0)) & 1

    def cues(self, batch: Batch) -> Tensor:
        """Every digit, `(B, T-1)`: the last digit written is the carry, which can come from any of them."""
        steps_T = torch.arange(self.length, device=batch.target.device)
        return steps_T[steps_T != self._shorter].expand(len(batch.target), self.symbols)
