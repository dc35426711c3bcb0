"""Cells with one fault each; the name of a class begins with the check that it fails, its docstring is the fault.

A scratch plugin that needs `right.py` to be loaded before it.
"""

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from undertow_scratch_right import RightCell, RightOptions, cell_spec

from undertow import CellSpec, Factors, GateKind, Options, State, hookimpl


class UndescribedOptions(Options):
    """Options of which one has no description."""

    strength: float = 1.0


class OptionsAreToldAndReadBack(RightCell):
    """Its option has no description."""


class KeepsWhatItWasMadeWith(RightCell):
    """It keeps the length less 1."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.length -= 1


class StateIsWhatTheSpecNames(RightCell):
    """Its spec names a memory c that it does not have."""


class OutputHasTheDeclaredShape(RightCell):
    """Its scan squeezes dimensions of size 1."""

    def scan(self, x_TBI: Tensor, state: State) -> tuple[Tensor, State]:
        y_TBH, last = super().scan(x_TBI, state)
        return (y_TBH.squeeze() if x_TBI.shape[:2] == (1, 1) else y_TBH), last


class StartsFiniteAtEveryLength(RightCell):
    """It computes ln(T - 1), which is not finite for T = 1."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        nn.init.constant_(self.W.bias, 0.01 * float(torch.tensor(self.length - 1.0).log()))


class OneSeedGivesOneStart(RightCell):
    """It draws from a generator with a seed of its own; little, so that it learns whatever it draws."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        generator = torch.Generator()
        generator.seed()
        with torch.no_grad():
            noise = torch.rand(self.W.weight.shape, generator=generator, dtype=self.W.weight.dtype)
            self.W.weight.add_(1e-3 * noise)


class InPiecesEqualsWhole(RightCell):
    """It counts steps from the start of each call."""

    def project(self, x_TBI: Tensor) -> Tensor:
        z = super().project(x_TBI)
        return z + 1e-4 * torch.arange(len(z), dtype=z.dtype, device=z.device).view(-1, 1, 1)


class InPiecesEqualsWholeInTraining(RightCell):
    """In training mode it keeps the mean of its states in a buffer and subtracts it."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.register_buffer("mean", torch.zeros(self.hidden_size))

    def step(self, z: Tensor, state: State) -> State:
        (h_BH,) = super().step(z, (state[0] - self.mean,))
        if self.training:
            self.mean.mul_(0.9).add_(0.1 * h_BH.detach().mean(0))
        return (h_BH,)


class ScanEqualsSteps(RightCell):
    """Its scan differs in the sixth digit."""

    def scan(self, x_TBI: Tensor, state: State) -> tuple[Tensor, State]:
        y_TBH, last = super().scan(x_TBI, state)
        return y_TBH + 1e-6, last


class ScanHasTheGradientsOfItsSteps(RightCell):
    """Its scan halves the gradient between blocks of four steps."""

    def scan(self, x_TBI: Tensor, state: State) -> tuple[Tensor, State]:
        outputs = []
        for block in x_TBI.split(4):
            y_TBH, state = super().scan(
                block, tuple((part + part.detach()) / 2 for part in state) if outputs else state
            )
            outputs.append(y_TBH)
        return torch.cat(outputs), state


class RowsAreIndependent(RightCell):
    """It scales the input by the size of the batch."""

    def project(self, x_TBI: Tensor) -> Tensor:
        return super().project(x_TBI) * (1 + 0.01 * x_TBI.shape[1])


class FutureDoesNotChangeThePast(RightCell):
    """It adds a constant if the largest input of the whole sequence is unusual."""

    def project(self, x_TBI: Tensor) -> Tensor:
        largest = x_TBI.amax()
        return super().project(x_TBI) + 0.1 * ((largest > 3) & (largest < 10)).to(x_TBI.dtype)


class PaddingDoesNotMatter(RightCell):
    """It scales by the share of steps that are not zero."""

    def project(self, x_TBI: Tensor) -> Tensor:
        return super().project(x_TBI) * x_TBI.ne(0).any(-1, keepdim=True).to(x_TBI.dtype).mean(0)


class GradientIsThatOfFiniteDifferences(RightCell):
    """Half of its state is detached."""

    def step(self, z: Tensor, state: State) -> State:
        (h_BH,) = super().step(z, state)
        return ((h_BH + h_BH.detach()) / 2,)


class GradientReachesTheFirstStep(RightCell):
    """In evaluation mode it rounds its state, so that it has no gradient."""

    def step(self, z: Tensor, state: State) -> State:
        h_BH = state[0] if self.training else (64 * state[0]).round() / 64
        return super().step(z, (h_BH,))

    def gates(self, z: Tensor, state: State) -> Mapping[str, tuple[Tensor, GateKind]]:
        return {}


class EveryParameterGetsAGradient(RightCell):
    """It has a weight that it does not use."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.spare = nn.Parameter(torch.ones(3))


class ParameterFactorsAreOfItsParameters(RightCell):
    """It names a parameter with the module that it is in."""

    def parameter_factors(self) -> Mapping[str, Factors]:
        return {"U.weight": Factors(weight_decay=0.0)}


class GatesAreInRange(RightCell):
    """It returns the input of the activation instead of its output."""

    def gates(self, z: Tensor, state: State) -> Mapping[str, tuple[Tensor, GateKind]]:
        return {"h": (z + self.U(state[0]), "tanh")}


class StateDictHoldsAllOfIt(RightCell):
    """It draws a number and keeps it in an attribute that is not saved."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.scale = 0.5 + float(torch.rand(()))

    def project(self, x_TBI: Tensor) -> Tensor:
        return self.scale * super().project(x_TBI)


class NoWeightIsSavedTwice(RightCell):
    """It registers a module under two names."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.recurrent = self.U


class CopyIsIndependentAndEqual(RightCell):
    """Its deep copy is itself."""

    def __deepcopy__(self, memo: Any) -> Any:
        return copy.copy(self)


class PickleIsEqual(RightCell):
    """It has a lambda as attribute."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.squash = lambda a: torch.tanh(a)


class Packs(RightCell):
    """It looks at the values of its state to refuse those that are not finite."""

    def step(self, z: Tensor, state: State) -> State:
        if not bool(state[0].isfinite().all()):
            raise ValueError("the state is not finite")
        return super().step(z, state)


class PacksWithItsOwnWeights(RightCell):
    """It reads a weight from a list, where no other weight can take its place."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.weights = [self.U.weight]

    def step(self, z: Tensor, state: State) -> State:
        return (torch.tanh(z + state[0] @ self.weights[0].T),)


class SurvivesAutocast(RightCell):
    """It interpolates between bfloat16 and float32, which torch refuses."""

    def step(self, z: Tensor, state: State) -> State:
        (new_BH,) = super().step(z, state)
        return (torch.lerp(state[0], new_BH, torch.full_like(state[0], 0.9)),)


class GpuEqualsCpu(RightCell):
    """Its first state is always on the CPU."""

    def initial_state(self, batch_size: int) -> State:
        return (torch.zeros(batch_size, self.hidden_size, dtype=self.U.weight.dtype),)


class LearnsToAdd(RightCell):
    """It hardly uses its state."""

    def step(self, z: Tensor, state: State) -> State:
        return (torch.tanh(z + 1e-3 * self.U(state[0])),)


BROKEN = [each for each in list(globals().values()) if isinstance(each, type) and issubclass(each, RightCell)]


@hookimpl
def undertow_register_cells() -> Iterable[CellSpec]:
    for each in BROKEN:
        if each is not RightCell:
            yield cell_spec(
                each.__name__.lower(),
                f":{each.__name__}",
                UndescribedOptions if each is OptionsAreToldAndReadBack else RightOptions,
                ("h", "c") if each is StateIsWhatTheSpecNames else ("h",),
            )
