"""The base of the regular languages: a counter, modulo a few states, that each symbol moves.

    state_t = (state_{t-1} + move(symbol_t)) mod n,   state_0 = 0

Delétang et al., arXiv 2207.02098, train on strings of 1 to 40 symbols and test on 41 to 500, every length equally
often: a network that has learned the rule is right at the longer ones too. The option `longest_trained` is their 40,
and the length their 500. Shorter strings have blanks in front, which move nothing, so that the answer stays at the last
step and the cues are right; no string of validation is then among those of training. Without the option, every string
fills the length, and the minimum length makes a string in two splits improbable.

B batch, T time, N states.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy

from undertow import Batch, RequestError, Split, Task, Tokens, draws
from undertow_tasks.formal.options import FormalOptions


class Counter(Task):
    """Symbols, all equally likely, in; the state after the last symbol, or, if aligned, after each, out.

    The best constant answer costs the entropy of the state. After t symbols, its distribution p_t is that of one move
    convolved t times:

        p_t(j) = 1/n Σ_k λ_k^t e^(2πijk/n),   λ_k = mean over the symbols of e^(-2πik move/n)

    Where strings differ in length, a step has the mean of the p_t that are possible at it. The trivial loss is the mean
    entropy over the answers of validation, the trivial accuracy the mean of their largest p_t.

    Attributes:
        name: The task's name.
        moves: For each symbol, how far it moves the counter. One more token is the blank.
        states: The number of states.
    """

    name: ClassVar[str]
    moves: ClassVar[tuple[int, ...]]
    states: ClassVar[int]
    solved = "val/accuracy > 0.99"

    def __init__(self, options: FormalOptions, length: int, seed: int) -> None:
        self.longest_trained = options.longest_trained
        if self.longest_trained is not None and self.longest_trained >= length:
            raise RequestError(
                f"task `{self.name}` cannot have {length} steps with training strings of up to {self.longest_trained} "
                f"symbols; allowed: {self.longest_trained + 1} or more. Raise task.length, or lower "
                f"task.options.{self.name}.longest_trained."
            )
        self.length = length
        self.seed = seed
        self.blank = len(self.moves)
        self.inputs = Tokens(len(self.moves) + 1)
        self.output_size = self.states
        self.trivial_loss, accuracy = self._guessing()
        self.trivial_scores = {"accuracy": accuracy}

    def size(self, split: Split) -> None:
        """None: examples never run out."""
        return None

    def batch(self, split: Split, indices: NDArray[Any]) -> Batch:
        """Input, tokens `(B, T)`; target, the state `(B,)` after the last step, or `(B, T)` after each if aligned."""
        x_BT = draws.integers(self.seed, f"{self.name}/{split}", indices, self.length, len(self.moves))
        fewest, most = self._symbols(split)
        if fewest < self.length:
            more_B1 = draws.integers(self.seed, f"{self.name}/{split}/symbols", indices, 1, most - fewest + 1)
            x_BT[np.arange(self.length) < self.length - fewest - more_B1] = self.blank
        input = torch.from_numpy(x_BT)
        return Batch(input, self.answer(input))

    def answer(self, input: Tensor) -> Tensor:
        """The target of an input: the state after its moves."""
        moves = torch.tensor([*self.moves, 0], device=input.device)
        states_BT = moves[input].cumsum(1) % self.states
        return states_BT if self.shape == "aligned" else states_BT[:, -1].contiguous()

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Cross entropy of each answer in nats, `(B,)` or `(B, T)`."""
        return functional.cross_entropy(output.movedim(-1, 1), target, reduction="none")

    def supervised(self, batch: Batch) -> Tensor | None:
        """The steps that are not blank, if the task is aligned and has blanks; else None."""
        return batch.input != self.blank if self.longest_trained and self.shape == "aligned" else None

    def metrics(self) -> Mapping[str, Metric]:
        """`accuracy`: share of the answers whose most likely state is right."""
        return {"accuracy": MulticlassAccuracy(num_classes=self.states, average="micro")}

    def cues(self, batch: Batch) -> Tensor:
        """Every step with a symbol, `(B, T)`; for each blank, the step of the first symbol."""
        steps_T = torch.arange(self.length, device=batch.input.device)
        return torch.maximum(steps_T, (batch.input == self.blank).sum(1, keepdim=True))

    def _symbols(self, split: Split) -> tuple[int, int]:
        """The fewest and the most symbols that a string of the split can have."""
        if self.longest_trained is None:
            return self.length, self.length
        return (1, self.longest_trained) if split == "train" else (self.longest_trained + 1, self.length)

    def _guessing(self) -> tuple[float, float]:
        """The trivial loss, in nats, and the share of right answers of the best constant. A answers."""
        one_move_N = np.bincount(np.array(self.moves) % self.states, minlength=self.states) / len(self.moves)
        powers_TN = np.fft.fft(one_move_N) ** np.arange(1, self.length + 1)[:, None]
        p_TN = np.fft.ifft(powers_TN, axis=1).real
        sums = np.concatenate([np.zeros((1, self.states)), p_TN.cumsum(axis=0)])
        fewest, most = self._symbols("val")
        steps_after_A = np.arange(self.length if self.shape == "aligned" else 1)
        least_A, greatest_A = (fewest - steps_after_A).clip(1), most - steps_after_A
        strings_A = greatest_A - least_A + 1
        p_AN = ((sums[greatest_A] - sums[least_A - 1]) / strings_A[:, None]).clip(1e-300, 1.0)
        entropy_A, most_A = -(p_AN * np.log(p_AN)).sum(axis=1), p_AN.max(axis=1)
        return float(np.average(entropy_A, weights=strings_A)), float(np.average(most_A, weights=strings_A))
