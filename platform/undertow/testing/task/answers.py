"""Checks of what a task states about its answers: the cues they depend on, and what the best constant answer scores.

B batch, T time read, C cues.
"""

import math

import numpy as np
import torch
from torch import Tensor

from undertow.api.contract import Answers, Batch, Task
from undertow.testing.asserts import expect
from undertow.testing.task._base import TaskChecks, indices_of
from undertow.testing.trivial_loss import answers_shape, measure_trivial_loss

_MAY_CHANGE = 1 / 3
"""The largest share of examples in which exchanging other steps than cues may change the answer: the new input can have
another meaning by chance, such as two equal keys. A missing cue changes half of the answers or more."""
_MUST_CHANGE = 0.05
"""The smallest share of examples in which exchanging a cue must change the answer: one of many cues matters rarely."""


class AnswerChecks(TaskChecks):
    """Cues, the trivial loss and the trivial scores."""

    def test_cues_are_steps(self) -> None:
        """Are the cues int64 of shape `(B, C)`, and each a step of the sequence?"""
        task = self.build()
        batch = task.batch("val", indices_of(task, "val", 5))
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
        """Does the last answer change if a cue is changed, and stay if other steps are changed?"""
        task = self.build()
        if task.size("train") is not None:
            self.skip("its examples are data: the steps that decide the answer are not known")
        if not isinstance(task, Answers):
            self.skip("it has no `answer(input)`, which returns the right answer for a changed input")
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
        other_steps_changed = _exchanged(batch.input, ~is_cue_BT)
        changed_B = _differ(answers_B, _last_answers(task, batch, task.answer(other_steps_changed))[0])
        share = changed_B.double().mean().item()
        expect(
            share <= _MAY_CHANGE,
            f"in {share:.0%} of the examples, the answer at step {last} changes when steps that are no cues are "
            "changed. `cues` leaves out a step that the answer needs.",
        )
        for slot in range(cues_BC.shape[1]):
            cue_changed = _exchanged(batch.input, _marked(cues_BC[:, slot : slot + 1], steps, task.writes))
            moved_B = (cue_changed != batch.input).flatten(1).any(1)
            if not moved_B.any():  # the cue is the same in all examples, such as a delimiter, or it is written
                continue
            changed_B = _differ(answers_B, _last_answers(task, batch, task.answer(cue_changed))[0])
            share = changed_B[moved_B].double().mean().item()
            expect(
                share > _MUST_CHANGE,
                f"cue {slot} of each example (steps such as {int(cues_BC[0, slot])}) was changed in "
                f"{int(moved_B.sum())} examples, and the answer at step {last} changed in {share:.0%} of them. It is "
                "no cue, or `answer` does not read it.",
            )

    def test_trivial_loss_is_what_guessing_costs(self) -> None:
        """Are `trivial_loss` and `trivial_scores` those of the best answer that ignores the input, to 1 %?"""
        task = self.build()
        stated = task.trivial_loss
        if stated is None:
            self.skip("it states no trivial loss")
        measured = measure_trivial_loss(task)
        self.remark = f"stated {stated:.4g}, measured {measured.loss:.4g} ± {measured.error:.1g}"
        difference = abs(measured.loss - stated)
        expect(
            difference <= 0.01 * stated + 3 * measured.error,
            f"trivial_loss is {stated:.6g}, but the loss of the best constant is {measured.loss:.6g} ± "
            f"{measured.error:.1g} (mean of {measured.examples} examples, and its standard error): "
            f"{difference / stated:.1%} apart. State the loss of the best predictor that ignores the input, as the "
            "mean over all supervised answers.",
        )
        for name, found in measured.scores.items():
            score = task.trivial_scores[name]
            error = math.sqrt(max(score * (1 - score), 0.0) / measured.examples)  # of a share
            above = found - score if self.spec.metrics[name] == "max" else score - found
            # The constant of the lowest loss need not be the sequence that is right most often.
            apart = max(above, 0.0) if task.writes else abs(above)
            expect(
                apart <= 0.01 * abs(score) + 3 * error,
                f"trivial_scores has {name} {score:.6g}, but the best constant has {found:.6g} (in "
                f"{measured.examples} examples). State the score of the best predictor that ignores the input.",
            )


def _marked(cues_BC: Tensor, steps: int, writes: int) -> Tensor:
    """Which of the steps that are read are cues, `(B, T)`."""
    none = torch.zeros(len(cues_BC), steps + writes, dtype=torch.bool)
    return none.scatter_(1, cues_BC.long(), True)[:, :steps]


def _exchanged(input: Tensor, where_BT: Tensor) -> Tensor:
    """The input with the marked steps exchanged among the examples in which the same step is marked."""
    changed = input.clone()
    for step in range(input.shape[1]):
        marked = where_BT[:, step].nonzero()[:, 0]
        changed[marked, step] = input[marked.roll(1), step]
    return changed


def _last_answers(task: Task, batch: Batch, target: Tensor) -> tuple[Tensor, int]:
    """The right answers at the last supervised step, one row per example, and the number of that step."""
    answers, steps = answers_shape(task, batch), batch.input.shape[1]
    if len(answers) == 1:
        return target, steps - 1
    mask = task.supervised(batch)
    last = answers[1] - 1 if mask is None else int(mask.any(0).nonzero().max())
    return target[:, last], last + (steps if task.writes else 0)


def _differ(one: Tensor, other: Tensor) -> Tensor:
    """Which rows are not equal; floating-point numbers up to rounding in 32 bits."""
    if one.is_floating_point():
        return ((one - other).abs() > 1e-5 * (1 + one.abs())).flatten(1).any(1)
    return (one != other).reshape(len(one), -1).any(1)
