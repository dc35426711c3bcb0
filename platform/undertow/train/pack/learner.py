"""The LightningModule of a pack: one training step and one validation for all of its replicates.

S replicates, B batch, T time.
"""

import math
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim import Optimizer

from undertow.api.contract import Batch, Cell
from undertow.errors import Diverged
from undertow.nn.losses import supervised_losses
from undertow.nn.pack import Pack
from undertow.train.optim import build_optimizer, build_scheduler, constrain_after_steps, parameter_groups
from undertow.train.pack.choice import Choice
from undertow.train.pack.replicate import Replicate
from undertow.train.pack.saves import STATE


class PackLearner(pl.LightningModule):
    """Trains the networks of a pack, each on its own task.

    The loss is the sum of the replicates' losses. Their parameters are different rows of the stacks, so that each row
    gets the gradient of its own loss.

    Args:
        pack: The networks.
        replicates: Those in the pack, in its order. The list is shared: what leaves the pack is taken out of it.
        choice: Decides how the networks are run.
    """

    def __init__(self, pack: Pack, replicates: list[Replicate], choice: Choice) -> None:
        super().__init__()
        self.pack = pack
        self.replicates = replicates
        self.choice = choice
        self.task = replicates[0].built.task
        self.config = replicates[0].built.loaded.config
        self._of_loader = list(replicates)

    def on_fit_start(self) -> None:
        """Move the scores of the replicates to the device; their networks are there already."""
        for replicate in self.replicates:
            replicate.learner.to(self.device)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Compute the losses of a batch.

        Returns:
            ``loss``, their sum; ``task_loss``, `(S,)`: the mean of each replicate over all of its supervised steps.
        """
        self.choice.begin()
        batch = self._of_active(batch)
        losses_S = self._mean_losses(self.pack(batch.input, batch.target), batch)
        if losses_S.device.type == "cpu":
            for replicate, loss in zip(self.replicates, losses_S.tolist(), strict=True):
                if not math.isfinite(loss):
                    replicate.error = Diverged(f"the training loss became {loss} at step {self.global_step + 1}")
        return {"loss": losses_S.sum(), "task_loss": losses_S.detach()}

    def on_after_backward(self) -> None:
        """Move the gradients of networks that ran one by one into the stack."""
        if not self.pack.together:
            self.pack.collect_gradients()

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by value as a single run does, and by the norm of each replicate's own gradient."""
        if gradient_clip_algorithm != "norm" or not gradient_clip_val:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
            return
        scale_S = (gradient_clip_val / (self.pack.gradient_norms() + 1e-6)).clamp(max=1.0)
        for stack in self.pack.stack.values():
            if stack.grad is not None:
                stack.grad.mul_(scale_S.view(-1, *[1] * (stack.ndim - 1)))

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Stop after the last step; Lightning then validates, even if `val_every` does not divide `max_steps`."""
        if self.global_step >= self.config.train.max_steps:
            self.trainer.should_stop = True

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add one batch to the scores of every replicate; a network that writes reads its own output."""
        batch = self._of_active(batch)
        outputs = self.pack(batch.input)
        for place, replicate in enumerate(self.replicates):
            replicate.learner.scores.update(outputs[place], Batch(batch.input[place], batch.target[place]))

    def on_validation_epoch_end(self) -> None:
        """Give every replicate its scores; one whose loss is not a finite number has diverged."""
        for replicate in self.replicates:
            scores = replicate.learner.scores.compute()
            if not torch.isfinite(scores["loss"]):
                loss = scores["loss"].item()
                replicate.error = Diverged(f"the validation loss is {loss} after step {self.global_step}")
            replicate.metrics = {f"val/{name}": value for name, value in scores.items()}

    def configure_optimizers(self) -> Any:
        """Build the optimiser of the stack, and its schedule, as for a single run."""
        optim = self.config.optim
        base = self.pack.models[0]
        stack_of = {parameter: self.pack.stack[name] for name, parameter in base.named_parameters()}
        groups = parameter_groups(base, self.config)
        for group in groups:
            group["params"] = [stack_of[parameter] for parameter in group["params"]]
        optimizer = build_optimizer(optim, groups, self.replicates[0].built.loaded.registry)
        for model in self.pack.models:
            constrain_after_steps(model, optimizer)
        if any(type(cell).constrain is not Cell.constrain for cell in base.layers):
            optimizer.register_step_post_hook(lambda *_: self.pack.relink())
        schedule = build_scheduler(optim.scheduler, self.config.train, optimizer)
        return optimizer if schedule is None else {"optimizer": optimizer, "lr_scheduler": schedule}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save how the networks are run."""
        checkpoint[STATE] = self.choice.state()

    def on_load_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        """Run the networks as before."""
        if STATE in checkpoint:
            self.choice.load(checkpoint[STATE])

    def _of_active(self, batch: Batch) -> Batch:
        """The part of a batch that belongs to the replicates that are in the pack; the loader goes on for all."""
        if len(self.replicates) == len(self._of_loader):
            return batch
        index = torch.tensor([self._of_loader.index(replicate) for replicate in self.replicates], device=self.device)
        return Batch(batch.input[index], batch.target[index])

    def _mean_losses(self, output: Tensor, batch: Batch) -> Tensor:
        """The mean loss of each replicate over its supervised steps, `(S,)`."""
        S = len(output)
        flat = Batch(batch.input.flatten(0, 1), batch.target.flatten(0, 1))
        losses, mask = supervised_losses(self.task, output.flatten(0, 1), flat)
        if losses.numel() == mask.numel():
            return losses.view(S, -1).mean(1)
        counts = mask.view(S, -1).sum(1)
        return torch.stack([part.mean() for part in torch.split(losses, counts.tolist())])
