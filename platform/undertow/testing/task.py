"""The contract of a task, check by check. B batch, T time read, U time written, I input, O output, C cues."""

import random
import sys
from itertools import combinations
from types import FrameType
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor

from undertow.api.contract import Answers, Batch, Split, Task, Tokens
from undertow.api.spec import TaskSpec
from undertow.testing.asserts import expect, expect_finite, expect_shape
from undertow.testing.conformance import Conformance
from undertow.testing.other_process import SPLITS, Elsewhere, digest
from undertow.testing.trivial_loss import answers_shape, guess

_SOME = (4, 0, 7, 7)
"""Numbers of examples, out of order and one twice."""
_MANY = 200
_BY_CHANCE = 1 / 3
"""Share of examples in which exchanging what does not matter may make an input that means something else, such as a key
that is there twice; a cue that is left out changes half of the answers or more."""
_AT_LEAST = 0.05
"""Share of examples in which exchanging a cue must change the answer: of many cues, each may matter now and then."""


class TaskConformance(Conformance):
    """What every task must do.

    Attributes:
        length: The time steps at which it is checked; the default of its spec when None.
    """

    kind = "task"
    length: int | None = None
    _elsewhere: ClassVar[dict[tuple[str, ...], Elsewhere]] = {}

    @property
    def spec(self) -> TaskSpec:
        """The task's spec."""
        return cast(TaskSpec, self.entry.spec)

    @property
    def steps(self) -> int:
        """The length under test."""
        return self.length or self.spec.lengths.default

    def build(self, seed: int = 0) -> Task:
        """A new task."""
        task: Task = self.registry.factory(self.spec)(self.made_options(), self.steps, seed)
        return task

    # --- what it is --------------------------------------------------------------------------------------------------

    def test_is_what_its_spec_says(self) -> None:
        """Has it the shape, the length and the metrics of its spec, and a trivial loss that is a loss?"""
        task, spec = self.build(), self.spec
        for what, got, said in (
            ("shape", task.shape, spec.shape),
            ("length", task.length, self.steps),
            ("metrics", sorted(task.metrics()), sorted(spec.metrics)),
            ("writes > 0", task.writes > 0, spec.shape in ("one-to-many", "seq2seq")),
        ):
            expect(got == said, f"task.{what} is {got!r}, but the spec says {said!r}. Make them agree.")
        one, other = task.metrics(), task.metrics()
        shared = [name for name in one if one[name] is other[name]]
        expect(not shared, f"metrics() gives the same {', '.join(shared)} twice. Make new ones: they hold counts.")
        stated = task.trivial_loss
        expect(stated is None or stated > 0, f"trivial_loss is {stated}; guessing cannot cost that. None: not known.")

    def test_batch_has_the_declared_shapes(self) -> None:
        """Are inputs and targets of the declared shape and kind, the length to the step?"""
        task = self.build()
        for split in SPLITS:
            indices = _indices(task, split, 5)
            batch, count = task.batch(split, indices), len(indices)
            expect(isinstance(batch, Batch), f"batch gave a {type(batch).__name__}, expected an `undertow.Batch`.")
            steps = 1 if task.shape in ("one-to-one", "one-to-many") else self.steps
            if isinstance(task.inputs, Tokens):
                expect_shape(batch.input, (count, steps), f"{split} input")
                expect(batch.input.dtype == torch.int64, f"{split} input: tokens are int64, not {batch.input.dtype}.")
                least, most = int(batch.input.min()), int(batch.input.max())
                expect(
                    least >= 0 and most < task.inputs.vocabulary,
                    f"{split} input has tokens from {least} to {most}; the vocabulary has {task.inputs.vocabulary}.",
                )
            else:
                expect_shape(batch.input, (count, steps, task.inputs.width), f"{split} input")
                expect(batch.input.dtype == torch.float32, f"{split} input is {batch.input.dtype}, expected float32.")
                expect_finite(batch.input, f"{split} input", "A missing value needs a number of its own.")
            answers = answers_shape(task, batch)
            if batch.target.is_floating_point():
                expect_shape(batch.target, (*answers, task.output_size), f"{split} target")
                expect_finite(batch.target, f"{split} target", "Mask what has no target by `supervised`.")
            else:
                expect_shape(batch.target, answers, f"{split} target")
                expect(
                    batch.target.dtype == torch.int64, f"{split} target: classes are int64, not {batch.target.dtype}."
                )
                counted = batch.target[_answered(task, batch)]
                expect(
                    counted.min() >= 0 and counted.max() < task.output_size,
                    f"{split} target has classes from {counted.min()} to {counted.max()}, but output_size is "
                    f"{task.output_size}.",
                )

    def test_supervised_steps_are_marked(self) -> None:
        """Is `supervised` None, or bool for each step that can be answered, with a target in every example?"""
        task = self.build()
        batch = task.batch("val", _indices(task, "val", 5))
        mask = task.supervised(batch)
        if mask is None:
            return
        expect(len(answers_shape(task, batch)) == 2, f"supervised marks steps; for {task.shape} return None.")
        expect_shape(mask, answers_shape(task, batch), "supervised(batch)")
        expect(mask.dtype == torch.bool, f"supervised(batch) is {mask.dtype}, expected bool.")
        expect(bool(mask.any(1).all()), "an example has no step with a target: it can teach nothing.")

    def test_loss_and_metrics_take_what_training_gives(self) -> None:
        """Is the loss finite, of one number an answer and differentiable, and do the metrics come to a number?"""
        task = self.build()
        batch = task.batch("train", _indices(task, "train", 5))
        answers = answers_shape(task, batch)
        output = torch.rand(*answers, task.output_size, generator=torch.Generator().manual_seed(0)).requires_grad_()
        losses = task.loss(output, batch.target)
        expect_shape(losses, answers, "the loss, which is not to be reduced,")
        counted = _answered(task, batch)
        expect_finite(losses[counted], "the loss", "It must be finite for every finite output.")
        (gradient,) = torch.autograd.grad(losses[counted].sum(), output)
        expect_finite(gradient, "the gradient of the loss", "Is there a root or a logarithm of 0?")
        expect(gradient.any(), "the loss does not depend on the output.")
        for name, metric in task.metrics().items():
            if task.writes:
                metric.update(output.detach(), batch.target.where(counted, -1))
            else:
                metric.update(output.detach()[counted], batch.target[counted])
            expect_finite(torch.as_tensor(metric.compute()), f"metric `{name}`", "It is recorded after every epoch.")

    # --- its examples ------------------------------------------------------------------------------------------------

    def test_example_is_the_same_in_every_batch(self) -> None:
        """Is example 7 the same in whatever batch and order, and in a task that was made anew?"""
        task = self.build()
        for split in SPLITS:
            indices = _indices(task, split, _SOME)
            together = task.batch(split, indices)
            for position, index in enumerate(indices):
                alone = self.build().batch(split, np.array([index]))
                row = Batch(*(part[position : position + 1] for part in together))
                expect(
                    _same(alone, row),
                    f"example {index} of {split} is one alone and another in the batch {indices.tolist()}. Draw it "
                    "from (seed, split, index) alone, as `undertow.draws` does: ranks make different batches.",
                )

    def test_example_is_the_same_in_every_process(self) -> None:
        """Does another process, as a rank or a resumed run is one, make the same examples?"""
        task = self.build()
        indices = {split: _indices(task, split, _SOME).tolist() for split in SPLITS}
        where = tuple(sys.path)
        if where not in self._elsewhere:
            self._elsewhere[where] = Elsewhere()
        question = {
            "files": [str(file) for file in self.plugins],
            "name": self.name,
            "options": self.made_options().model_dump_json(),
            "length": self.steps,
            "seed": 0,
            "indices": indices,
        }
        expect(
            self._elsewhere[where].digest(question) == digest(task, indices),
            "another process makes other examples from the same seed. Look for `hash`, the order of a set, the time, "
            "or files listed in no order.",
        )

    def test_splits_are_disjoint(self) -> None:
        """Are examples different from each other, and those of one split not in another?"""
        task = self.build()
        made = {split: _bytes(task.batch(split, _indices(task, split, _MANY))) for split in SPLITS}
        drawn = task.size("train") is None
        small = drawn and len(set(made["train"])) < 0.98 * _MANY
        for split, examples in made.items():
            expect(len(set(examples)) > 1, f"all examples of {split} are alike.")
            expect(
                len(set(examples)) >= 0.5 * len(examples) or not drawn or self.steps < self.spec.lengths.default,
                f"only {len(set(examples))} of {len(examples)} examples of {split} are different. At its default "
                "length a task should not run out of them.",
            )
        for one, other in combinations(SPLITS, 2):
            if small:  # by chance the splits have examples in common, but not one after the other
                alike = [x == y for x, y in zip(made[one], made[other], strict=False)]
                expect(
                    sum(alike) < 0.9 * len(alike),
                    f"{one} and {other} are the same examples. Draw from a stream for each split.",
                )
            else:
                common = len(set(made[one]) & set(made[other]))
                expect(not common, f"{common} examples are in both {one} and {other}, out of {_MANY} of each.")

    def test_seed_draws_and_data_stay(self) -> None:
        """Does another seed give other examples where they are drawn, and the same where they are data?"""
        one, again, other = (self.build(seed) for seed in (0, 0, 1))
        indices = _indices(one, "val", 5)
        first = one.batch("val", indices)
        expect(_same(first, again.batch("val", indices)), "two tasks made with one seed give different examples.")
        changed = not _same(first, other.batch("val", indices))
        if one.size("train") is None:
            expect(
                changed, "examples do not depend on the seed. Draw them from it: a study's seeds are its replicates."
            )
        else:
            expect(
                not changed,
                "examples of a set that is counted depend on the seed. Split data the same way for every seed, so that "
                "runs can be compared; the platform shuffles.",
            )

    def test_split_holds_what_it_says(self) -> None:
        """Is there a last example of every split, and one of any number where they never run out?"""
        task = self.build()
        for split in SPLITS:
            size = task.size(split)
            expect(size is None or size >= 1, f"size({split!r}) is {size}. A split without examples is of no use.")
            last = 10**9 if size is None else size - 1
            found = len(task.batch(split, np.array([last])).target)
            expect(found == 1, f"asked for example {last} of {split}, the batch has {found}.")

    def test_random_states_are_left_alone(self) -> None:
        """Does making a batch leave the random states of torch, NumPy and Python as they were?"""
        before = _random_states()
        task = self.build()
        task.cues(task.batch("train", _indices(task, "train", 5)))
        for name, one, other in zip(("torch", "NumPy", "Python"), before, _random_states(), strict=True):
            expect(one == other, f"making a batch draws from {name}'s random state. Draw with `undertow.draws`.")

    def test_batch_is_made_at_once(self) -> None:
        """Does a batch of 300 take no more lines of Python than a batch of 3?"""
        task = self.build()
        many, few = _indices(task, "val", 300), _indices(task, "val", 3)
        if len(many) <= 2 * len(few):
            self.skip(f"its validation has {len(many)} examples, too few to tell")
        task.batch("val", many)  # what is loaded once is loaded now
        lines = [_lines(task, indices) for indices in (few, many)]
        expect(
            lines[1] - lines[0] < len(many) - len(few),
            f"{len(few)} examples take {lines[0]} lines of Python, {len(many)} take {lines[1]}. Make a batch with "
            "array operations, not example by example: training waits for it.",
        )

    # --- the truth about it ------------------------------------------------------------------------------------------

    def test_cues_are_steps(self) -> None:
        """Are the cues `(B, C)` whole numbers, each a step of the sequence?"""
        task = self.build()
        batch = task.batch("val", _indices(task, "val", 5))
        cues, steps = task.cues(batch), batch.input.shape[1] + task.writes
        expect(cues.dtype == torch.int64, f"cues are {cues.dtype}, expected int64.")
        expect(
            cues.ndim == 2 and len(cues) == len(batch.target), f"cues have shape {tuple(cues.shape)}, expected (B, C)."
        )
        expect(cues.shape[1] >= 1, "there is no cue. If every step matters, name every step.")
        expect(
            cues.min() >= 0 and cues.max() < steps,
            f"cues are steps from {cues.min()} to {cues.max()}, of a sequence with steps 0 to {steps - 1}.",
        )

    def test_cues_decide_the_answer(self) -> None:
        """Does changing a cue change the last answer, and changing anything else not?"""
        task = self.build()
        if task.size("train") is not None:
            self.skip("its examples are data: what they hinge on is not known")
        if not isinstance(task, Answers):
            self.skip("it has no `answer(input)`, which says what is right for a changed input")
        batch = task.batch("val", np.arange(256))
        answers_B, last = _last_answers(task, batch, batch.target)
        again_B, _ = _last_answers(task, batch, task.answer(batch.input))
        wrong = int(_differ(answers_B, again_B).sum())
        expect(
            not wrong,
            f"answer(batch.input) is not batch.target in {wrong} of 256 examples, at step {last}. Make them agree.",
        )
        cues_BC = task.cues(batch)
        steps = batch.input.shape[1]
        is_cue_BT = _marked(cues_BC, steps, task.writes)
        elsewhere = _exchanged(batch.input, ~is_cue_BT)
        changed_B = _differ(answers_B, _last_answers(task, batch, task.answer(elsewhere))[0])
        share = changed_B.double().mean().item()
        expect(
            share <= _BY_CHANCE,
            f"in {share:.0%} of the examples, the answer at step {last} changes when steps that are no cues are "
            "changed. `cues` leaves out a step that the answer needs.",
        )
        for slot in range(cues_BC.shape[1]):
            with_cue = _exchanged(batch.input, _marked(cues_BC[:, slot : slot + 1], steps, task.writes))
            moved_B = (with_cue != batch.input).flatten(1).any(1)
            if not moved_B.any():  # it never differs where it could be exchanged, as a delimiter, or it is written
                continue
            changed_B = _differ(answers_B, _last_answers(task, batch, task.answer(with_cue))[0])
            share = changed_B[moved_B].double().mean().item()
            expect(
                share > _AT_LEAST,
                f"cue {slot} of each example (steps such as {int(cues_BC[0, slot])}) was changed in "
                f"{int(moved_B.sum())} examples, and the answer at step {last} changed in {share:.0%} of them. It is "
                "no cue, or `answer` does not look at it.",
            )

    def test_trivial_loss_is_what_guessing_costs(self) -> None:
        """Does the best answer that ignores the input cost what `trivial_loss` says, to 1 %?"""
        task = self.build()
        stated = task.trivial_loss
        if stated is None:
            self.skip("it states no trivial loss")
        measured = guess(task)
        self.remark = f"stated {stated:.4g}, measured {measured.loss:.4g} ± {measured.error:.1g}"
        off = abs(measured.loss - stated)
        expect(
            off <= 0.01 * stated + 3 * measured.error,
            f"trivial_loss is {stated:.6g}, but the best constant costs {measured.loss:.6g} ± {measured.error:.1g} "
            f"(mean of {measured.examples} examples, and its standard error): {off / stated:.1%} off. State the loss "
            "of the best predictor that ignores the input, as the mean over all supervised answers.",
        )


def _indices(task: Task, split: Split, wanted: int | tuple[int, ...]) -> Any:
    """The first so many, or these; of a split that has fewer, those that there are."""
    size = task.size(split)
    if isinstance(wanted, int):
        return np.arange(wanted if size is None else min(size, wanted))
    return np.array([index if size is None else index % size for index in wanted])


def _answered(task: Task, batch: Batch) -> Tensor:
    """Which answers count, as training takes them."""
    mask = task.supervised(batch)
    return torch.ones(answers_shape(task, batch), dtype=torch.bool) if mask is None else mask


def _same(one: Batch, other: Batch) -> bool:
    return all(x.dtype == y.dtype and torch.equal(x, y) for x, y in zip(one, other, strict=True))


def _bytes(batch: Batch) -> list[bytes]:
    """Each example as bytes."""
    return [x.numpy().tobytes() + y.numpy().tobytes() for x, y in zip(batch.input, batch.target, strict=True)]


def _random_states() -> tuple[object, object, object]:
    return torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()


def _lines(task: Task, indices: Any) -> int:
    """How many lines of Python making a batch takes."""
    executed = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal executed
        executed += event == "line"
        return trace

    outer = sys.gettrace()
    sys.settrace(trace)
    try:
        task.batch("val", indices)
    finally:
        sys.settrace(outer)
    return executed


def _marked(cues_BC: Tensor, steps: int, writes: int) -> Tensor:
    """Which of the steps that are read are cues, `(B, T)`."""
    none = torch.zeros(len(cues_BC), steps + writes, dtype=torch.bool)
    return none.scatter_(1, cues_BC.long(), True)[:, :steps]


def _exchanged(input: Tensor, where_BT: Tensor) -> Tensor:
    """The input with the marked steps exchanged among the examples in which the same step is marked."""
    changed = input.clone()
    for step in range(input.shape[1]):
        alike = where_BT[:, step].nonzero()[:, 0]
        changed[alike, step] = input[alike.roll(1), step]
    return changed


def _last_answers(task: Task, batch: Batch, target: Tensor) -> tuple[Tensor, int]:
    """What is right at the last supervised step, one row an example, and which step that is."""
    answers, steps = answers_shape(task, batch), batch.input.shape[1]
    if len(answers) == 1:
        return target, steps - 1
    mask = task.supervised(batch)
    last = answers[1] - 1 if mask is None else int(mask.any(0).nonzero().max())
    return target[:, last], last + (steps if task.writes else 0)


def _differ(one: Tensor, other: Tensor) -> Tensor:
    """Which rows are not equal, numbers up to the rounding of 32 bits."""
    if one.is_floating_point():
        return ((one - other).abs() > 1e-5 * (1 + one.abs())).flatten(1).any(1)
    return (one != other).reshape(len(one), -1).any(1)
