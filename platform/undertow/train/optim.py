"""Optimisers and learning-rate schedules by name."""

import math
import sys
from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from undertow.config.schema import OptimConfig, Scheduler, TrainConfig


def build_optimizer(config: OptimConfig, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """Build the optimiser of a configuration for `parameters`."""
    lr, decay = config.lr, config.weight_decay
    match config.name:
        case "adam":
            return torch.optim.Adam(parameters, betas=config.betas, lr=lr, weight_decay=decay)
        case "adamw":
            return torch.optim.AdamW(parameters, betas=config.betas, lr=lr, weight_decay=decay)
        case "sgd":
            return torch.optim.SGD(parameters, momentum=config.momentum, lr=lr, weight_decay=decay)
        case "rmsprop":
            return torch.optim.RMSprop(parameters, momentum=config.momentum, lr=lr, weight_decay=decay)


def build_scheduler(config: Scheduler, train: TrainConfig, optimizer: Optimizer) -> dict[str, Any] | None:
    """Build the schedule, in the form that Lightning takes; None if the rate is constant.

    It is stepped once a training step. `plateau` is stepped once a validation, by the learner: Lightning would step it
    after the callbacks that save, and a run that continues from there would miss that step.
    """
    if config.name == "plateau":
        plateau = ReduceLROnPlateau(optimizer, factor=config.gamma, patience=config.patience)
        never = sys.maxsize
        return {"scheduler": plateau, "monitor": "val/loss", "interval": "step", "frequency": never}
    if config.name == "constant" and not config.warmup_steps:
        return None
    return {"scheduler": LambdaLR(optimizer, partial(rate, config, train.max_steps)), "interval": "step"}


def rate(config: Scheduler, max_steps: int, step: int) -> float:
    """Compute the factor of the learning rate at `step`, counted from 0: warm-up, then the schedule; in [0, 1]."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    done = step - config.warmup_steps
    share = min(1.0, done / max(1, max_steps - config.warmup_steps))
    match config.name:
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * share))
        case "linear":
            return 1 - share
        case "step":
            return float(config.gamma ** (done // config.every))
        case "exponential":
            return float(config.gamma ** (done / config.every))
        case _:
            return 1.0
