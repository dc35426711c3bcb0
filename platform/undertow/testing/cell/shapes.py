"""Checks of what a new cell is: its attributes, state, output, and weights at the start."""

import math
from collections.abc import Sequence

import torch

from undertow.api.contract import Cell, Factors
from undertow.nn.loop import unroll
from undertow.nn.model import parameter_key
from undertow.testing.asserts import expect, expect_finite, expect_shape
from undertow.testing.cell._base import IN, B, CellChecks, H, T, noise


class ShapeChecks(CellChecks):
    """Sizes, shapes and dtypes."""

    def test_keeps_what_it_was_made_with(self) -> None:
        """Does it keep its sizes, options and length, and are all its parameters trained?"""
        cell, options = self.build(), self.made_options()
        expect(isinstance(cell, Cell), f"the factory made a {type(cell).__name__}, not an `undertow.Cell`.")
        for attribute, got, given in (
            ("input_size", cell.input_size, IN),
            ("hidden_size", cell.hidden_size, H),
            ("length", cell.length, T),
            ("options", cell.options, options),
        ):
            expect(
                got == given,
                f"cell.{attribute} is {got!r}, but it was made with {given!r}. Call "
                "`super().__init__(input_size, hidden_size, options, length)` first.",
            )
        frozen = [name for name, parameter in cell.named_parameters() if not parameter.requires_grad]
        expect(not frozen, f"{', '.join(frozen)}: parameters that are not trained. Make them buffers.")

    def test_parameter_factors_are_of_its_parameters(self) -> None:
        """Are the factors that it declares for the optimiser of its own parameters, and numbers from 0 on?"""
        cell = self.build()
        known = {parameter_key(name) for name, _ in cell.named_parameters()}
        for name, factors in cell.parameter_factors().items():
            expect(
                name in known,
                f"parameter_factors names `{name}`; its parameters are {', '.join(sorted(known)) or 'none'}. Name them "
                "without the modules that they are in.",
            )
            legal = isinstance(factors, Factors) and all(0 <= factor < math.inf for factor in factors)
            expect(legal, f"parameter_factors: `{name}` has {factors!r}. Write undertow.Factors of numbers from 0 on.")

    def test_state_is_what_the_spec_names(self) -> None:
        """Has every state the parts that the spec names, with constant shape and dtype, in separate memory?"""
        names = self.spec.state
        for dtype in (torch.float32, torch.float64):
            cell = self.build(dtype=dtype)
            x_TBI = noise(T, B, cell.input_size, dtype=dtype)
            first = cell.initial_state(B)
            _expect_parts(first, names, "initial_state")
            for name, part in zip(names, first, strict=True):
                expect_shape(part, (B, *part.shape[1:]), f"initial_state({B}), part `{name}`")
                expect_finite(part, f"initial_state, part `{name}`", "Start from finite numbers.")
                expect(
                    part.dtype in (dtype, dtype.to_complex()) or not (part.is_floating_point() or part.is_complex()),
                    f"initial_state, part `{name}` is {part.dtype} in a cell of {dtype}. Make it from a parameter: "
                    "`self.weight.new_zeros(batch_size, …)`.",
                )
            alone = cell.initial_state(1)
            for name, one, several in zip(names, alone, first, strict=True):
                expect_shape(one, (1, *several.shape[1:]), f"initial_state(1), part `{name}`")
                expect(
                    all(torch.equal(row, one[0]) for row in several),
                    f"initial_state, part `{name}`: the examples of a batch start with different values.",
                )
            addresses = [part.data_ptr() for part in first if part.numel()]
            expect(
                len(set(addresses)) == len(addresses),
                "initial_state returns one tensor for two parts. Make one for each: writing to one changes the other.",
            )
            states = {"step": cell.step(cell.project(x_TBI)[0], first)}
            states |= {f"the last state, {how}": run(cell, x_TBI, first)[1] for how, run in self.unrolls(cell).items()}
            for label, state in states.items():
                _expect_parts(state, names, label)
                for name, part, like in zip(names, state, first, strict=True):
                    expect_shape(part, like.shape, f"{label}, part `{name}`")
                    expect(
                        part.dtype == like.dtype,
                        f"{label}, part `{name}` is {part.dtype}, but {like.dtype} in initial_state.",
                    )

    def test_output_has_the_declared_shape(self) -> None:
        """Is the output `(T, B, output_size)` in the cell's precision, for all sizes and also for a single step?"""
        for dtype in (torch.float32, torch.float64):
            for input_size, hidden_size, steps, batch in ((IN, H, T, B), (1, 2 * H, 1, 1), (2 * H, H, 2, B)):
                cell = self.build(input_size, hidden_size, dtype=dtype)
                x_TBI = noise(steps, batch, input_size, dtype=dtype)
                for how, run in self.unrolls(cell).items():
                    y_TBH, _ = run(cell, x_TBI, cell.initial_state(batch))
                    expect_shape(y_TBH, (steps, batch, cell.output_size), f"the output, {how}")
                    expect(y_TBH.dtype == dtype, f"the output, {how}, is {y_TBH.dtype} in a cell of {dtype}.")

    def test_starts_finite_at_every_length(self) -> None:
        """Are its weights finite at the start for tasks of every length, also of 1 and 2 steps?"""
        for length in (1, 2, 3, 10_000):
            for name, parameter in self.build(length=length).named_parameters():
                expect_finite(
                    parameter,
                    f"`{name}` of a cell for a task of {length} time steps",
                    "An initialisation that depends on the length must have a value for a task of one step.",
                )

    def test_one_seed_gives_one_start(self) -> None:
        """Does one seed always give the same cell and output, and another seed a different cell?"""
        one, same, other = (self.build(seed=seed) for seed in (0, 0, 1))
        start = one.state_dict()
        if not start:
            self.skip("it has no weights")
        for name, value in same.state_dict().items():
            expect(
                torch.equal(value, start[name]),
                f"`{name}` differs between two cells made with the same seed. Draw from torch's random state alone.",
            )
        expect(
            any(not torch.equal(value, start[name]) for name, value in other.state_dict().items()),
            "two cells made with different seeds have equal weights. Draw them: a study's seeds are its replicates.",
        )
        first, second = (unroll(one, noise(), one.initial_state(B))[0] for _ in range(2))
        expect(
            torch.equal(first, second),
            "the same cell run twice gives two outputs. What a step needs from the past must be in the state.",
        )


def _expect_parts(state: object, names: Sequence[str], label: str) -> None:
    expect(isinstance(state, tuple), f"{label} gave a {type(state).__name__}, expected a tuple with a tensor per part.")
    assert isinstance(state, tuple)
    expect(
        len(state) == len(names),
        f"{label} has {len(state)} parts, but the spec names {len(names)}: {', '.join(names)}. Make them agree.",
    )
