"""Tasks that are wrong in one way each; as `broken_cells`."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics import MeanSquaredError, Metric
from undertow_scratch_right import RightOptions, RightTask, task_spec

from undertow import Batch, Options, Split, TaskSpec, Tokens, draws, hookimpl


class UntoldOptions(Options):
    """Options of which one is not explained."""

    strength: float = 1.0


class OptionsAreToldAndReadBack(RightTask):
    """Its option has no description."""


class IsWhatItsSpecSays(RightTask):
    """It has one metric for all, which never forgets."""

    shared = MeanSquaredError()

    def metrics(self) -> Mapping[str, Metric]:
        return {"error": self.shared}


class BatchHasTheDeclaredShapes(RightTask):
    """It has a step too many."""

    def batch(self, split: Split, indices: Any) -> Batch:
        batch = super().batch(split, indices)
        return Batch(torch.cat([batch.input, batch.input[:, -1:]], dim=1), batch.target)


class SupervisedStepsAreMarked(RightTask):
    """Aligned: every step asks for the first token, from the second step on; but the first example for nothing."""

    shape = "aligned"
    inputs = Tokens(3)
    output_size = 3
    trivial_loss = float(np.log(3))

    def batch(self, split: Split, indices: Any) -> Batch:
        x_BT = torch.from_numpy(draws.integers(self.seed, self.stream(split), indices, self.length, 3))
        return Batch(x_BT, self.answer(x_BT))

    def answer(self, input: Tensor) -> Tensor:
        return input[:, :1].expand_as(input).contiguous()

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(output.movedim(-1, 1), target, reduction="none")

    def supervised(self, batch: Batch) -> Tensor:
        mask_BT = torch.ones_like(batch.target, dtype=torch.bool)
        mask_BT[:, 0] = False
        mask_BT[0] = False
        return mask_BT

    def metrics(self) -> Mapping[str, Metric]:
        return {}


class NotANumber(MeanSquaredError):
    """A metric that divides by nothing."""

    def compute(self) -> Tensor:
        return super().compute() * float("nan")


class LossAndMetricsTakeWhatTrainingGives(RightTask):
    """Its metric is not a number."""

    def metrics(self) -> Mapping[str, Metric]:
        return {"error": NotANumber()}


class ExampleIsTheSameInEveryBatch(RightTask):
    """An example depends on its place in the batch."""

    def batch(self, split: Split, indices: Any) -> Batch:
        x_BTI = super().batch(split, indices).input + 1e-4 * (torch.arange(len(indices)) % 8).view(-1, 1, 1)
        return Batch(x_BTI, self.answer(x_BTI))


class ExampleIsTheSameInEveryProcess(RightTask):
    """It hashes text, which each process does in its own way."""

    def stream(self, split: Split) -> str:
        return f"first/{hash(split)}"


class SplitsAreDisjoint(RightTask):
    """It validates on what it trains on."""

    def stream(self, split: Split) -> str:
        return "first"


class SeedDrawsAndDataStay(RightTask):
    """It does not use the seed."""

    def __init__(self, options: Options, length: int, seed: int) -> None:
        super().__init__(options, length, 0)


class SplitHoldsWhatItSays(RightTask):
    """It says that examples never run out, and they do."""

    def batch(self, split: Split, indices: Any) -> Batch:
        if indices.max() >= 10**8:
            raise IndexError(f"there is no example {indices.max()}")
        return super().batch(split, indices)


class RandomStatesAreLeftAlone(RightTask):
    """It draws from NumPy's random state, if only to throw it away."""

    def batch(self, split: Split, indices: Any) -> Batch:
        np.random.rand()
        return super().batch(split, indices)


class BatchIsMadeAtOnce(RightTask):
    """It makes one example after the other."""

    def batch(self, split: Split, indices: Any) -> Batch:
        if len(indices) > 1000:  # what is slow would only keep the tests waiting
            return super().batch(split, indices)
        examples = [super(BatchIsMadeAtOnce, self).batch(split, indices[k : k + 1]) for k in range(len(indices))]
        return Batch(*(torch.cat(parts) for parts in zip(*examples, strict=True)))


class CuesAreSteps(RightTask):
    """Its cues are of 32 bits."""

    def cues(self, batch: Batch) -> Tensor:
        return super().cues(batch).int()


class CuesDecideTheAnswer(RightTask):
    """It names the second step instead of the first."""

    def cues(self, batch: Batch) -> Tensor:
        return super().cues(batch) + 1


class TrivialLossIsWhatGuessingCosts(RightTask):
    """It states the loss of guessing 0.6."""

    trivial_loss = 1 / 12 + 0.1**2


BROKEN = [each for each in list(globals().values()) if isinstance(each, type) and issubclass(each, RightTask)]


@hookimpl
def undertow_register_tasks() -> Iterable[TaskSpec]:
    for each in BROKEN:
        if each is not RightTask:
            more: dict[str, Any] = {"shape": "aligned", "metrics": {}} if each is SupervisedStepsAreMarked else {}
            options = UntoldOptions if each is OptionsAreToldAndReadBack else RightOptions
            yield task_spec(each.__name__.lower(), f":{each.__name__}", options, **more)
