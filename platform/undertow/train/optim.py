"""Optimisers and learning-rate schedules by name."""

import math
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau
from torch.optim.optimizer import ParamsT

from undertow.api.contract import Cell
from undertow.config.schema import OptimConfig, Scheduler, TrainConfig
from undertow.nn.model import SequenceModel, parameter_key


def parameter_groups(model: SequenceModel, scales: Mapping[str, float], lr: float) -> list[dict[str, Any]]:
    """The parameters of a network, by learning rate.

    Args:
        model: The network.
        scales: `cell.lr_scale`: the factor on the learning rate of each parameter of the cells that is named here.
        lr: The learning rate of all others, which are the first group.
    """
    scaled = {
        parameter: scales[parameter_key(name)]
        for cell in model.layers
        for name, parameter in cell.named_parameters()
        if parameter_key(name) in scales
    }
    groups: dict[float, list[nn.Parameter]] = {1.0: []}
    for parameter in model.parameters():
        groups.setdefault(scaled.get(parameter, 1.0), []).append(parameter)
    return [{"params": parameters, "lr": factor * lr} for factor, parameters in groups.items()]


def constrain_after_steps(model: SequenceModel, optimizer: Optimizer) -> None:
    """Call `Cell.constrain` of every layer after each step of the optimiser, where a cell has defined it."""
    constrained = [cell for cell in model.layers if type(cell).constrain is not Cell.constrain]

    def constrain(*_: Any) -> None:
        with torch.no_grad():
            for cell in constrained:
                cell.constrain()

    if constrained:
        optimizer.register_step_post_hook(constrain)


def build_optimizer(config: OptimConfig, parameters: ParamsT) -> Optimizer:
    """Build the optimiser of a configuration for `parameters`, or for groups of them."""
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
