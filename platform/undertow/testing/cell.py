"""The contract of a cell, check by check. T time (8), B batch (3), I input (2), H hidden (4).

Everything is compared in 64 bits, where two right ways to compute one thing agree to rounding, from a state that the
cell itself reached, so that a cell may have states that only make sense together. Dropout and the like inside a cell
are off: evaluation mode. *Both ways* means by `scan` (or whatever is fastest) and step by step.
"""

import copy
import io
import math
import pickle
from collections import deque
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor

from undertow.api.contract import Cell, GateKind, Scans, State, Vector
from undertow.api.spec import CellSpec
from undertow.nn.isolation import isolated
from undertow.nn.loop import trajectory, unroll, unroll_by_steps
from undertow.nn.model import SequenceModel
from undertow.testing.adding import LENGTH, TRIVIAL_LOSS, adding
from undertow.testing.asserts import expect, expect_all_close, expect_close, expect_finite, expect_shape
from undertow.testing.conformance import Conformance

T, B, IN, H = 8, 3, 2, 4

Way = Callable[[Cell, Tensor, State], tuple[Tensor, State]]

_LIMITS: dict[GateKind, tuple[float, float]] = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "relu": (0.0, math.inf)}

_BOTH = "`step`, `project` and `scan` must be one and the same update."


class CellConformance(Conformance):
    """What every cell must do.

    Attributes:
        training_steps: How many steps the cell is given to learn the adding task at T = 10, 32 examples each.
    """

    kind = "cell"
    training_steps: int = 800

    @property
    def spec(self) -> CellSpec:
        """The cell's spec."""
        return cast(CellSpec, self.entry.spec)

    def build(
        self,
        input_size: int = IN,
        hidden_size: int = H,
        length: int = T,
        *,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
    ) -> Cell:
        """A new cell in evaluation mode; torch's random state is as it was."""
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            cell: Cell = self.registry.factory(self.spec)(input_size, hidden_size, self.made_options(), length)
        return cell.to(dtype).eval()

    def ways(self, cell: Cell) -> dict[str, Way]:
        """Both ways to run it, or the only one."""
        steps: dict[str, Way] = {"step by step": unroll_by_steps}
        return {"by scan": unroll, **steps} if isinstance(cell, Scans) else steps

    # --- what it is --------------------------------------------------------------------------------------------------

    def test_keeps_what_it_was_made_with(self) -> None:
        """Does it hold its sizes, options and length, and are all its parameters trained?"""
        cell, options = self.build(), self.made_options()
        expect(isinstance(cell, Cell), f"the factory made a {type(cell).__name__}, not an `undertow.Cell`.")
        for what, got, made_with in (
            ("input_size", cell.input_size, IN),
            ("hidden_size", cell.hidden_size, H),
            ("length", cell.length, T),
            ("options", cell.options, options),
        ):
            expect(
                got == made_with,
                f"cell.{what} is {got!r}, but it was made with {made_with!r}. Call "
                "`super().__init__(input_size, hidden_size, options, length)` first.",
            )
        frozen = [name for name, parameter in cell.named_parameters() if not parameter.requires_grad]
        expect(not frozen, f"{', '.join(frozen)}: parameters that are not trained. Make them buffers.")

    def test_state_is_what_the_spec_names(self) -> None:
        """Does every state have the parts that the spec names, of one size and kind, each in memory of its own?"""
        names = self.spec.state
        for dtype in (torch.float32, torch.float64):
            cell = self.build(dtype=dtype)
            x_TBI = _noise(T, B, cell.input_size, dtype=dtype)
            first = cell.initial_state(B)
            _expect_parts(first, names, "initial_state")
            for name, part in zip(names, first, strict=True):
                expect_shape(part, (B, *part.shape[1:]), f"initial_state({B}), part `{name}`")
                expect_finite(part, f"initial_state, part `{name}`", "Start from finite numbers.")
                expect(
                    not part.is_floating_point() or part.dtype == dtype,
                    f"initial_state, part `{name}` is {part.dtype} in a cell of {dtype}. Make it from a parameter: "
                    "`self.weight.new_zeros(batch_size, …)`.",
                )
            alone = cell.initial_state(1)
            for name, one, several in zip(names, alone, first, strict=True):
                expect_shape(one, (1, *several.shape[1:]), f"initial_state(1), part `{name}`")
                expect(
                    all(torch.equal(row, one[0]) for row in several),
                    f"initial_state, part `{name}`: the examples of a batch do not start alike.",
                )
            where = [part.data_ptr() for part in first if part.numel()]
            expect(
                len(set(where)) == len(where),
                "initial_state returns one tensor for two parts. Make one for each: writing to one changes the other.",
            )
            steps = {"step": cell.step(cell.project(x_TBI)[0], first)}
            steps |= {f"the last state, {way}": run(cell, x_TBI, first)[1] for way, run in self.ways(cell).items()}
            for what, state in steps.items():
                _expect_parts(state, names, what)
                for name, part, like in zip(names, state, first, strict=True):
                    expect_shape(part, like.shape, f"{what}, part `{name}`")
                    expect(
                        part.dtype == like.dtype,
                        f"{what}, part `{name}` is {part.dtype}, but {like.dtype} in initial_state.",
                    )

    def test_output_has_the_declared_shape(self) -> None:
        """Is the output `(T, B, output_size)` in the cell's precision, for every size, a single step included?"""
        for dtype in (torch.float32, torch.float64):
            for input_size, hidden_size, steps, batch in ((IN, H, T, B), (1, 2 * H, 1, 1), (2 * H, H, 2, B)):
                cell = self.build(input_size, hidden_size, dtype=dtype)
                x_TBI = _noise(steps, batch, input_size, dtype=dtype)
                for way, run in self.ways(cell).items():
                    y_TBH, _ = run(cell, x_TBI, cell.initial_state(batch))
                    expect_shape(y_TBH, (steps, batch, cell.output_size), f"the output, {way}")
                    expect(y_TBH.dtype == dtype, f"the output, {way}, is {y_TBH.dtype} in a cell of {dtype}.")

    def test_starts_finite_at_every_length(self) -> None:
        """Does it start with finite weights whatever the task's length, 1 and 2 included?"""
        for length in (1, 2, 3, 10_000):
            for name, parameter in self.build(length=length).named_parameters():
                expect_finite(
                    parameter,
                    f"`{name}` of a cell for a task of {length} time steps",
                    "An initialisation that depends on the length must have a value for a task without time.",
                )

    def test_one_seed_gives_one_start(self) -> None:
        """Does one seed give one cell and one output, and another seed another?"""
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
        first, second = (unroll(one, _noise(), one.initial_state(B))[0] for _ in range(2))
        expect(
            torch.equal(first, second), "the same cell run twice gives two outputs. A cell has no memory but its state."
        )

    # --- what it computes --------------------------------------------------------------------------------------------

    def test_in_pieces_equals_whole(self) -> None:
        """Does a sequence run in pieces, handing the state on, give what it gives whole?"""
        cell, x_TBI = self.build(), _noise()
        for way, run in self.ways(cell).items():
            start = _reached(cell)
            whole_TBH, last = run(cell, x_TBI, start)
            for cuts in ([1], [3, 4], list(range(1, T))):
                state, pieces = start, []
                for piece in x_TBI.tensor_split(cuts):
                    y_TBH, state = run(cell, piece, state)
                    pieces.append(y_TBH)
                what = f"whole against cut before step {', '.join(map(str, cuts))}, {way}"
                remedy = "All that a later step needs must be in the state: the gradient profile rests on it."
                expect_close(torch.cat(pieces), whole_TBH, f"output, {what}", remedy)
                for name, got, expected in zip(self.spec.state, state, last, strict=False):
                    expect_close(got, expected, f"state part `{name}`, {what}", remedy)

    def test_scan_equals_steps(self) -> None:
        """Does `scan` give the output and the last state of `project` and `step` in a loop?"""
        cell, x_TBI = self.build(), _noise()
        self._need_scan(cell)
        state = _reached(cell)
        (y_TBH, last), (expected_TBH, expected) = unroll(cell, x_TBI, state), unroll_by_steps(cell, x_TBI, state)
        expect_close(y_TBH, expected_TBH, "output, by scan against step by step", _BOTH)
        for name, got, stepped in zip(self.spec.state, last, expected, strict=False):
            expect_close(got, stepped, f"state part `{name}`, by scan against step by step", _BOTH)

    def test_scan_has_the_gradients_of_its_steps(self) -> None:
        """Does `scan` pass the gradients that the steps pass, to the input, the state and every weight?"""
        cell = self.build()
        self._need_scan(cell)
        by_scan, by_steps = (_gradients(cell, run) for run in (unroll, unroll_by_steps))
        for name, got in by_scan.items():
            remedy = "Something between them is detached, or a backward written by hand is not that of the forward."
            expect_close(got, by_steps[name], f"gradient of {name}, by scan against step by step", remedy)

    def test_rows_are_independent(self) -> None:
        """Does an example give the same alone as in a batch?"""
        cell, x_TBI = self.build(), _noise()
        state = _reached(cell)
        for way, run in self.ways(cell).items():
            y_TBH, last = run(cell, x_TBI, state)
            for row in range(B):
                alone = slice(row, row + 1)
                one_TBH, one = run(cell, x_TBI[:, alone], tuple(part[alone] for part in state))
                what, remedy = f"example {row} alone against in a batch of {B}, {way}", "Never reduce over the batch."
                expect_close(one_TBH, y_TBH[:, alone], f"output, {what}", remedy)
                expect_all_close(one, [part[alone] for part in last], f"state part {{}}, {what}", remedy)

    def test_future_does_not_change_the_past(self) -> None:
        """Is every output the same whatever the inputs after it?"""
        cell, x_TBI = self.build(), _noise()
        state = _reached(cell)
        for way, run in self.ways(cell).items():
            y_TBH, _ = run(cell, x_TBI, state)
            for step in (1, T // 2, T - 1):
                changed_TBI = torch.cat([x_TBI[:step], x_TBI[step:] + 1])
                changed_TBH, _ = run(cell, changed_TBI, state)
                expect_close(
                    changed_TBH[:step],
                    y_TBH[:step],
                    f"outputs before step {step}, after the inputs from there on were changed, {way}",
                    "`project` and `scan` must not mix time steps backwards: no statistics over time, no reversal.",
                )

    def test_padding_does_not_matter(self) -> None:
        """In a batch of different lengths, are each example's result and gradient the same whatever its padding?"""
        cell = self.build()
        lengths = (T, T - 3, 2)
        seen_TB1 = torch.tensor([[[step < length] for length in lengths] for step in range(T)])
        weights_TBH = seen_TB1 * _noise(T, B, cell.output_size, seed=3)
        x_TBI, state, parameters = _noise(), _reached(cell), list(cell.parameters())
        for way, run in self.ways(cell).items():
            results: list[list[Tensor]] = []
            for padding_TBI in (x_TBI, torch.zeros_like(x_TBI), 100 * _noise(seed=4)):
                padded_TBI = torch.where(seen_TB1, x_TBI, padding_TBI).requires_grad_()
                y_TBH, _ = run(cell, padded_TBI, state)
                of_x, *of_weights = _grad((y_TBH * weights_TBH).sum(), [padded_TBI, *parameters])
                results.append([y_TBH * seen_TB1, of_x, *of_weights])
            for kind, found in zip(("zeros", "noise"), results[1:], strict=True):
                places = [
                    "output",
                    "gradient of the input",
                    *(f"gradient of `{n}`" for n, _ in cell.named_parameters()),
                ]
                for place, got, expected in zip(places, found, results[0], strict=True):
                    expect_close(
                        got,
                        expected,
                        f"{place} up to each example's own end (after {', '.join(map(str, lengths))} steps), padded "
                        f"with {kind} against with other data, {way}",
                        "No step may look at those after it, nor tell padding from data.",
                    )

    # --- what it passes back -----------------------------------------------------------------------------------------

    def test_gradient_is_that_of_finite_differences(self) -> None:
        """Is the gradient of input, state and every weight the one that finite differences give, both ways?"""
        cell = self.build()
        x_TBI, start, parameters = _noise(3).requires_grad_(), _leaves(_reached(cell)), list(cell.parameters())
        differentiable = [part for part in start if part.requires_grad]
        for way, run in self.ways(cell).items():

            def output(x_TBI: Tensor, *rest: Tensor, run: Way = run) -> tuple[Tensor, ...]:
                given = iter(rest)
                state = tuple(next(given) if part.requires_grad else part for part in start)
                y_TBH, last = run(cell, x_TBI, state)
                return (y_TBH, *(part for part in last if part.requires_grad))

            try:
                torch.autograd.gradcheck(output, (x_TBI, *differentiable, *parameters), fast_mode=True)
            except RuntimeError as error:
                raise AssertionError(
                    f"the gradient is not that of finite differences, {way}. Is something detached, changed in place, "
                    f"or given a backward by hand? {str(error).strip()}"
                ) from error

    def test_gradient_reaches_the_first_step(self) -> None:
        """Does a gradient come from every output to every input before it, and to the initial state?"""
        cell, x_TBI = self.build(), _noise().requires_grad_()
        for way, run in self.ways(cell).items():
            start = _leaves(_reached(cell))
            y_TBH, _ = run(cell, x_TBI, start)
            weights_TBH = _noise(T, B, cell.output_size, seed=3)
            for step in range(T):
                seen = [x_TBI, *(part for part in start if part.requires_grad)]
                of_x, *of_state = _grad((y_TBH * weights_TBH)[step].sum(), seen, retain=True)
                lost = [early for early in range(step + 1) if not of_x[early].any()]
                remedy = "Is the state detached, rounded, or not used?"
                expect(not lost, f"{way}: no gradient from output {step} to input {lost[:1]}. {remedy}")
                expect(any(part.any() for part in of_state), f"{way}: none from output {step} to the state. {remedy}")

    def test_every_parameter_gets_a_gradient(self) -> None:
        """Is every parameter part of the last output, as training on several devices (DDP) needs it?"""
        cell = self.build()
        for way, run in self.ways(cell).items():
            y_TBH, _ = run(cell, _noise(), cell.initial_state(B))
            loss = y_TBH[-1].square().sum()
            names, parameters = zip(*cell.named_parameters(), strict=True) if [*cell.parameters()] else ((), ())
            if not parameters:
                self.skip("it has no parameters")
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
            unused = [name for name, gradient in zip(names, gradients, strict=True) if gradient is None]
            expect(
                not unused,
                f"{', '.join(unused)}: no gradient from the last output, {way}. DDP waits for it for ever: use it, or "
                "do not make it.",
            )
            for name, gradient in zip(names, gradients, strict=True):
                expect_finite(gradient, f"the gradient of `{name}`, {way}", "Is there a root or a logarithm of 0?")

    # --- what it shows -----------------------------------------------------------------------------------------------

    def test_gates_are_in_range(self) -> None:
        """Do the gates have the leading dimensions of their arguments, and values that their kind can have?"""
        cell = self.build()
        for scale in (1.0, 20.0):
            x_TBI = scale * _noise()
            z_TB, before = cell.project(x_TBI), trajectory(cell, x_TBI, _reached(cell))
            gates = cell.gates(z_TB, before)
            keeper = cell.keeps.removeprefix("1 - ")
            expect(
                not keeper or gates.get(keeper, (None, ""))[1] == "sigmoid",
                f"cell.keeps is {cell.keeps!r}; expected one of its sigmoid gates, or '1 - ' and one: it has "
                f"{', '.join(name for name, (_, kind) in gates.items() if kind == 'sigmoid') or 'none'}.",
            )
            if not gates:
                self.skip("no gates")
            one_step = cell.gates(z_TB[0], tuple(part[0] for part in before))
            expect(
                one_step.keys() == gates.keys(),
                f"gates of all steps at once are {[*gates]}, of one step {[*one_step]}.",
            )
            for name, (values, kind) in gates.items():
                expect(kind in _LIMITS, f"gate `{name}` is of kind {kind!r}, expected one of {', '.join(_LIMITS)}.")
                low, high = _LIMITS[kind]
                expect_shape(values, (T, B, *values.shape[2:]), f"gate `{name}` of all steps at once")
                expect_finite(values, f"gate `{name}`", "It is the activation that the saturation probe looks at.")
                least, most = float(values.detach().min()), float(values.detach().max())
                expect(
                    low <= least and most <= high,
                    f"gate `{name}` has values from {least:.4g} to {most:.4g}; a {kind} has {low:g} to {high:g}. "
                    "Return the activated values, or name the kind that it is.",
                )
                remedy = "`gates` takes any leading dimensions: split along the last one."
                expect_close(one_step[name][0], values[0], f"gate `{name}`, one step against all at once", remedy)

    # --- how it is kept ----------------------------------------------------------------------------------------------

    def test_state_dict_holds_all_of_it(self) -> None:
        """Does a cell that loads another's `state_dict` from a file compute the same?"""
        cell = self.build()
        saved = io.BytesIO()
        torch.save(cell.state_dict(), saved)
        saved.seek(0)
        twin = self.build(seed=9)
        twin.load_state_dict(torch.load(saved, weights_only=True))
        remedy = "Keep drawn numbers in parameters or buffers: a plain tensor is not saved, and not moved to a GPU."
        self._expect_twin(cell, twin, "a cell and one that loaded its state_dict", remedy)

    def test_no_weight_is_saved_twice(self) -> None:
        """Is every number of the `state_dict` there once?"""
        seen: dict[int, str] = {}
        for name, value in self.build().state_dict().items():
            if isinstance(value, Tensor) and value.numel():
                other = seen.setdefault(value.data_ptr(), name)
                expect(other == name, f"`{other}` and `{name}` of the state_dict are one tensor. Register it once.")

    def test_copy_is_independent_and_equal(self) -> None:
        """Does `copy.deepcopy` give a cell that computes the same from weights of its own?"""
        cell = self.build()
        twin = copy.deepcopy(cell)
        self._expect_twin(cell, twin, "a cell and its deep copy", "Hold no modules or tensors outside of the cell.")

    def test_pickle_is_equal(self) -> None:
        """Does a cell that went through pickle compute the same?"""
        cell = self.build()
        try:
            twin = pickle.loads(pickle.dumps(cell))
        except Exception as error:
            raise AssertionError(
                f"it cannot be pickled: {type(error).__name__}: {error}. Keep functions without a name (lambdas, "
                "closures) out of its attributes: processes hand cells to each other."
            ) from error
        self._expect_twin(cell, twin, "a cell and its pickled twin", "See what its attributes come back as.")

    # --- where it runs -----------------------------------------------------------------------------------------------

    def test_survives_autocast(self) -> None:
        """In mixed precision (bfloat16), does it run in pieces and back, near to what it gives in 32 bits?"""
        cell = self.build(dtype=torch.float32)
        x_TBI = _noise(dtype=torch.float32)
        for way, run in self.ways(cell).items():
            expected_TBH, _ = run(cell, x_TBI, cell.initial_state(B))
            try:
                with torch.autocast("cpu", torch.bfloat16):
                    first_TBH, state = run(cell, x_TBI[: T // 2], cell.initial_state(B))
                    second_TBH, _ = run(cell, x_TBI[T // 2 :], state)
                y_TBH = torch.cat([first_TBH.float(), second_TBH.float()])
                gradients = _grad(y_TBH.square().sum(), list(cell.parameters()))
            except RuntimeError as error:
                raise AssertionError(
                    f"it fails under torch.autocast, {way}: {error}. There matrix products come out in bfloat16 while "
                    "the state is in 32 bits: bring what you mix to one kind, as in `h.to(z.dtype)`."
                ) from error
            for gradient in gradients:
                expect_finite(gradient, f"a gradient under torch.autocast, {way}", "Keep exponentials in 32 bits.")
            remedy = "Keep what must be exact in 32 bits: `with torch.autocast(x.device.type, enabled=False)`."
            expect_close(y_TBH, expected_TBH, f"output, bfloat16 against 32 bits, {way}", remedy, tolerance=0.1)

    def test_gpu_equals_cpu(self) -> None:
        """Does a GPU give the CPU's output, state and gradients?"""
        if not torch.cuda.is_available():
            self.skip("no CUDA device")
        cell, there = self.build(), self.build()
        there.load_state_dict(cell.state_dict())
        there = there.cuda()
        for way, run in self.ways(cell).items():
            with isolated(there):  # torch's fused kernels have no backward in evaluation mode
                on_gpu = _gradients(there, run)
            for name, expected in _gradients(cell, run).items():
                remedy = "Make every tensor on the cell's own device, from a parameter or a buffer."
                expect_close(on_gpu[name].cpu(), expected, f"gradient of {name}, GPU against CPU, {way}", remedy, 1e-8)
        for part in there.initial_state(B):
            expect(part.is_cuda, "initial_state of a cell on a GPU is on the CPU. Make it from a parameter.")

    def test_learns_to_add(self) -> None:
        """Does it learn the adding task at T = 10 to well below the loss of guessing?"""
        cell = self.build(2, 16, LENGTH, dtype=torch.float32).train()
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(0)
            model = SequenceModel([cell], inputs=Vector(2), output_size=1, shape="many-to-one")
            optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
            recent: deque[float] = deque(maxlen=20)
            for step in range(self.training_steps):
                x_BTI, target_B1 = adding(32 * step, 32)
                loss = (model(x_BTI) - target_B1).square().mean()
                expect(math.isfinite(loss.item()), f"training: the loss became {loss.item()} at step {step + 1}.")
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                recent.append(loss.item())
                if len(recent) == 20 and sum(recent) / 20 < 0.75 * TRIVIAL_LOSS:
                    self.remark = f"{step + 1} steps"
                    return
        raise AssertionError(
            f"after {self.training_steps} steps of 32 examples (Adam, 0.01) the loss on the adding task at T = 10 is "
            f"{sum(recent) / len(recent):.3g}; guessing costs {TRIVIAL_LOSS:.3g}, and {0.75 * TRIVIAL_LOSS:.3g} was "
            "asked for. See whether its gates start open, and whether its state is used."
        )

    # -----------------------------------------------------------------------------------------------------------------

    def _need_scan(self, cell: Cell) -> None:
        if not isinstance(cell, Scans):
            self.skip("no scan")

    def _expect_twin(self, cell: Cell, twin: Cell, what: str, remedy: str) -> None:
        """Fail unless both compute the same, and go on doing so when the other's weights are gone."""
        x_TBI, state = _noise(), _reached(cell)
        with torch.no_grad():
            expected = {way: run(cell, x_TBI, state) for way, run in self.ways(cell).items()}
            for way, run in self.ways(twin).items():
                y_TBH, last = run(twin, x_TBI, state)
                expect_close(y_TBH, expected[way][0], f"output of {what}, {way}", remedy)
                expect_all_close(last, expected[way][1], f"state part {{}} of {what}, {way}", remedy)
            for parameter in twin.parameters():
                parameter.zero_()
            for way, run in self.ways(cell).items():
                expect_close(
                    run(cell, x_TBI, state)[0],
                    expected[way][0],
                    f"output of {what}, before and after the second's weights were set to 0, {way}",
                    "They share memory. " + remedy,
                )


def _noise(
    steps: int = T, batch: int = B, width: int = IN, *, seed: int = 0, dtype: torch.dtype = torch.float64
) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(steps, batch, width, dtype=torch.float64, generator=generator).to(dtype)


def _reached(cell: Cell) -> State:
    """A state that the cell comes to from its first one, in three steps of noise."""
    with torch.no_grad():
        like = next((p for p in cell.parameters()), torch.empty(0, dtype=torch.float64))
        x_TBI = _noise(3, B, cell.input_size, seed=1, dtype=like.dtype).to(like.device)
        _, state = unroll_by_steps(cell, x_TBI, cell.initial_state(B))
    return tuple(part.detach().clone() for part in state)


def _leaves(state: State) -> State:
    """The same state as a place where gradients arrive; whole numbers get none."""
    return tuple(part.clone().requires_grad_(part.is_floating_point() or part.is_complex()) for part in state)


def _grad(loss: Tensor, inputs: Sequence[Tensor], *, retain: bool = False) -> list[Tensor]:
    """The gradients; zero where there is none."""
    if not inputs:
        return []
    found = torch.autograd.grad(loss, inputs, retain_graph=retain, allow_unused=True, materialize_grads=True)
    return list(found)


def _gradients(cell: Cell, run: Way) -> dict[str, Tensor]:
    """The gradients of a loss over all outputs and the last state, by what they belong to; and the output itself."""
    device = next((p.device for p in cell.parameters()), torch.device("cpu"))
    x_TBI = _noise().to(device).requires_grad_()
    start = _leaves(_reached(cell))
    y_TBH, last = run(cell, x_TBI, start)
    loss = (y_TBH * torch.arange(1, T + 1, device=device).view(T, 1, 1)).sum()
    loss = loss + sum(part.abs().square().sum() for part in last)
    places = {"the input": x_TBI} | {f"state part {i}": part for i, part in enumerate(start) if part.requires_grad}
    places |= {f"`{name}`": parameter for name, parameter in cell.named_parameters()}
    return dict(zip(places, _grad(loss, list(places.values())), strict=True))


def _expect_parts(state: object, names: Sequence[str], what: str) -> None:
    expect(isinstance(state, tuple), f"{what} gave a {type(state).__name__}, expected a tuple with one tensor a part.")
    assert isinstance(state, tuple)
    expect(
        len(state) == len(names),
        f"{what} has {len(state)} parts, but the spec names {len(names)}: {', '.join(names)}. Make them agree.",
    )
