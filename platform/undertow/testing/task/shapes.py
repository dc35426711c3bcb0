"""Checks of what a task declares: shape, length, metrics, batches, loss. B batch, T time read, U written, O output."""

import torch

from undertow.api.contract import Batch, Tokens
from undertow.testing.asserts import expect, expect_finite, expect_shape
from undertow.testing.other_process import SPLITS
from undertow.testing.task._base import TaskChecks, indices_of
from undertow.testing.trivial_loss import answers_shape, supervised
from undertow.train.scores import update_metric


class ShapeChecks(TaskChecks):
    """Shapes, dtypes and ranges."""

    def test_is_what_its_spec_says(self) -> None:
        """Has it the shape, the length and the metrics of its spec, and a trivial loss above 0?"""
        task, spec = self.build(), self.spec
        for attribute, got, expected in (
            ("shape", task.shape, spec.shape),
            ("length", task.length, self.steps),
            ("metrics", sorted(task.metrics()), sorted(spec.metrics)),
            ("writes > 0", task.writes > 0, spec.shape in ("one-to-many", "seq2seq")),
        ):
            expect(got == expected, f"task.{attribute} is {got!r}, but the spec has {expected!r}. Make them agree.")
        one, other = task.metrics(), task.metrics()
        shared = [name for name in one if one[name] is other[name]]
        expect(
            not shared, f"metrics() returns the same {', '.join(shared)} twice. Make new ones: they accumulate counts."
        )
        stated = task.trivial_loss
        expect(stated is None or stated > 0, f"trivial_loss is {stated}; expected more than 0, or None if not known.")
        unknown = set(task.trivial_scores) - set(spec.metrics)
        expect(not unknown, f"trivial_scores has {', '.join(sorted(unknown))}, which no metric of its spec is.")

    def test_batch_has_the_declared_shapes(self) -> None:
        """Have inputs and targets the declared shape, dtype and length?"""
        task = self.build()
        for split in SPLITS:
            indices = indices_of(task, split, 5)
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
                expect_finite(batch.input, f"{split} input", "Represent a missing value by a finite number.")
            answers = answers_shape(task, batch)
            if batch.target.is_floating_point():
                expect_shape(batch.target, (*answers, task.output_size), f"{split} target")
                expect_finite(batch.target, f"{split} target", "Mask what has no target by `supervised`.")
            else:
                expect_shape(batch.target, answers, f"{split} target")
                expect(
                    batch.target.dtype == torch.int64, f"{split} target: classes are int64, not {batch.target.dtype}."
                )
                counted = batch.target[supervised(task, batch)]
                expect(
                    counted.min() >= 0 and counted.max() < task.output_size,
                    f"{split} target has classes from {counted.min()} to {counted.max()}, but output_size is "
                    f"{task.output_size}.",
                )

    def test_supervised_steps_are_marked(self) -> None:
        """Is `supervised` None, or a bool for each answer with at least one target in every example?"""
        task = self.build()
        batch = task.batch("val", indices_of(task, "val", 5))
        mask = task.supervised(batch)
        if mask is None:
            return
        expect(len(answers_shape(task, batch)) == 2, f"supervised marks steps; for {task.shape} return None.")
        expect_shape(mask, answers_shape(task, batch), "supervised(batch)")
        expect(mask.dtype == torch.bool, f"supervised(batch) is {mask.dtype}, expected bool.")
        expect(bool(mask.any(1).all()), "an example has no step with a target, so nothing can be learned from it.")

    def test_loss_and_metrics_take_what_training_gives(self) -> None:
        """Is the loss one finite, differentiable number per answer, and is the value of each metric finite?"""
        task = self.build()
        batch = task.batch("train", indices_of(task, "train", 5))
        answers = answers_shape(task, batch)
        output = torch.rand(*answers, task.output_size, generator=torch.Generator().manual_seed(0)).requires_grad_()
        losses = task.loss(output, batch.target)
        expect_shape(losses, answers, "the loss, which is not to be reduced,")
        counted = supervised(task, batch)
        expect_finite(losses[counted], "the loss", "It must be finite for every finite output.")
        (gradient,) = torch.autograd.grad(losses[counted].sum(), output)
        expect_finite(gradient, "the gradient of the loss", "Is there a root or a logarithm of 0?")
        expect(gradient.any(), "the loss does not depend on the output.")
        for name, metric in task.metrics().items():
            update_metric(metric, task, output.detach(), batch.target, counted)
            expect_finite(torch.as_tensor(metric.compute()), f"metric `{name}`", "It is recorded after every epoch.")
