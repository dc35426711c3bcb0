"""Tasks with one fault each; as `broken_cells`."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics import MeanSquaredError, Metric
from undertow_scratch_right import RightOptions, RightTask, task_spec

from undertow import Batch, Options, Split, TaskSpec, Tokens, draws, hookimpl


class UndescribedOptions(Options):
    """Options of which one has no description."""

    strength: float = 1.0


class OptionsAreToldAndReadBack(RightTask):
    """Its option has no description."""


class IsWhatItsSpecSays(RightTask):
    """All its metrics are one object, which is never reset."""

    shared = MeanSquaredError()

    def metrics(self) -> Mapping[str, Metric]:
        return {"error": self.shared}


class BatchHasTheDeclaredShapes(RightTask):
    """Its input has one step too many."""

    def batch(self, split: Split, indices: Any) -> Batch:
        batch = super().batch(split, indices)
        return Batch(torch.cat([batch.input, batch.input[:, -1:]], dim=1), batch.target)


class SupervisedStepsAreMarked(RightTask):
    """Aligned: the target from the second step on is the first token; the first example has no target at all."""

    shape = "aligned"
    inputs = Tokens(3)
    output_size = 3
    trivial_loss = float(np.log(3))
    trivial_scores: ClassVar[Mapping[str, float]] = {}

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
    """A metric that is always NaN."""

    def compute(self) -> Tensor:
        return super().compute() * float("nan")


class LossAndMetricsTakeWhatTrainingGives(RightTask):
    """Its metric is NaN."""

    trivial_scores: ClassVar[Mapping[str, float]] = {}

    def metrics(self) -> Mapping[str, Metric]:
        return {"error": NotANumber()}


class ExampleIsTheSameInEveryBatch(RightTask):
    """An example depends on its place in the batch."""

    def batch(self, split: Split, indices: Any) -> Batch:
        x_BTI = super().batch(split, indices).input + 1e-4 * (torch.arange(len(indices)) % 8).view(-1, 1, 1)
        return Batch(x_BTI, self.answer(x_BTI))


class ExampleIsTheSameInEveryProcess(RightTask):
    """It uses `hash` of a text, which differs between processes."""

    def stream(self, split: Split) -> str:
        return f"first/{hash(split)}"


class SplitsAreDisjoint(RightTask):
    """Its splits are all the same examples."""

    def stream(self, split: Split) -> str:
        return "first"


class SeedDrawsAndDataStay(RightTask):
    """It does not use the seed."""

    def __init__(self, options: Options, length: int, seed: int) -> None:
        super().__init__(options, length, 0)


class SplitHoldsWhatItSays(RightTask):
    """Its size is None, but there is no example 10^8."""

    def batch(self, split: Split, indices: Any) -> Batch:
        if indices.max() >= 10**8:
            raise IndexError(f"there is no example {indices.max()}")
        return super().batch(split, indices)


class RandomStatesAreLeftAlone(RightTask):
    """It draws from NumPy's random state."""

    def batch(self, split: Split, indices: Any) -> Batch:
        np.random.rand()
        return super().batch(split, indices)


class BatchIsMadeAtOnce(RightTask):
    """It makes one example after the other in a Python loop."""

    def batch(self, split: Split, indices: Any) -> Batch:
        if len(indices) > 1000:  # the loop over so many would be slow
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
    """It states the loss of the constant 0.6; the best one is 0.5."""

    trivial_loss = 1 / 12 + 0.1**2


class TrivialLossIsWhatGuessingCostsByScore(RightTask):
    """It states the error of the constant 0.6; the best one is 0.5."""

    trivial_scores: ClassVar[Mapping[str, float]] = {"error": 1 / 12 + 0.1**2}


class IsWhatItsSpecSaysOfScores(RightTask):
    """It states a score that is no metric."""

    trivial_scores: ClassVar[Mapping[str, float]] = {"accuracy": 0.5}


BROKEN = [each for each in list(globals().values()) if isinstance(each, type) and issubclass(each, RightTask)]


@hookimpl
def undertow_register_tasks() -> Iterable[TaskSpec]:
    for each in BROKEN:
        if each is not RightTask:
            more: dict[str, Any] = {"shape": "aligned", "metrics": {}} if each is SupervisedStepsAreMarked else {}
            options = UndescribedOptions if each is OptionsAreToldAndReadBack else RightOptions
            yield task_spec(each.__name__.lower(), f":{each.__name__}", options, **more)
