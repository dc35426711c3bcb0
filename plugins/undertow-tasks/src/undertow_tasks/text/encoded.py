"""Texts as token numbers, end to end in one tensor. N texts, S tokens of all texts, B batch, T time."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from undertow_tasks.text.tokens import PAD, Vocabulary


class Encoded(NamedTuple):
    """The texts of a split.

    Attributes:
        flat: The tokens of all texts, end to end, `(S,)`.
        start: Where each text starts, `(N,)`.
        end: Where each text ends, `(N,)`: one past its last token.
    """

    flat: Tensor
    start: Tensor
    end: Tensor

    @classmethod
    def of(cls, texts: Sequence[Sequence[str]], vocabulary: Vocabulary) -> "Encoded":
        """Encode texts that are split into tokens."""
        flat_S, bounds = vocabulary.encode(texts)
        bound = torch.from_numpy(bounds)
        return cls(torch.from_numpy(flat_S), bound[:-1], bound[1:])

    @property
    def longest(self) -> int:
        """The number of tokens of the longest text."""
        return int((self.end - self.start).max())

    def last(self, chosen_B: Tensor, length: int) -> Tensor:
        """The last `length` tokens of the chosen texts, `(B, T)`; a shorter text has pads in front."""
        at_BT = self.end[chosen_B, None] - length + torch.arange(length)
        token_BT = self.flat[at_BT.clamp(min=0)].long()
        token_BT[at_BT < self.start[chosen_B, None]] = PAD
        return token_BT


def token_steps(input: Tensor) -> Tensor:
    """The steps with a token, `(B, T)`, of an input with pads in front; the first of them in place of each pad."""
    first_B1 = (input == PAD).sum(1, keepdim=True)
    return torch.arange(input.shape[1], device=input.device).maximum(first_B1)
