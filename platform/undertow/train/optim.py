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

from undertow.api.contract import Cell, Factors
from undertow.config.load import LoadedExperiment
from undertow.config.schema import ExperimentConfig, OptimConfig, Scheduler, TrainConfig
from undertow.errors import RequestError
from undertow.nn.model import SequenceModel, parameter_key
from undertow.plugins.builtin import OPTIMIZERS
from undertow.plugins.registry import Registry, describe_error

Group = dict[str, Any]
"""A group of parameters as torch's optimisers take it: ``params``, ``lr``, ``weight_decay``."""


def parameter_groups(model: SequenceModel, config: ExperimentConfig) -> list[Group]:
    """The parameters of a network by learning rate and weight decay; the first group has those of `optim`.

    A factor of `cell.lr_scale` or `cell.decay_scale` takes precedence over the one that the cell declares.
    """
    cell, optim = config.cell, config.optim
    rates: dict[nn.Parameter, tuple[float, float]] = {}
    for layer in model.layers:
        declared = layer.parameter_factors()
        for name, parameter in layer.named_parameters():
            key = parameter_key(name)
            own = declared.get(key, Factors())
            lr = cell.lr_scale.get(key, own.lr)
            rates[parameter] = (lr * optim.lr, cell.decay_scale.get(key, own.weight_decay) * optim.weight_decay)
    usual = (optim.lr, optim.weight_decay)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {usual: []}
    for parameter in model.parameters():
        groups.setdefault(rates.get(parameter, usual), []).append(parameter)
    return [{"params": parameters, "lr": lr, "weight_decay": decay} for (lr, decay), parameters in groups.items()]


def constrain_after_steps(model: SequenceModel, optimizer: Optimizer) -> None:
    """Call `Cell.constrain` of every layer after each step of the optimiser, where a cell has defined it."""
    constrained = [cell for cell in model.layers if type(cell).constrain is not Cell.constrain]

    def constrain(*_: Any) -> None:
        with torch.no_grad():
            for cell in constrained:
                cell.constrain()

    if constrained:
        optimizer.register_step_post_hook(constrain)


def build_optimizer(
    config: OptimConfig, parameters: Iterable[nn.Parameter] | list[Group], registry: Registry
) -> Optimizer:
    """Build the optimiser of a configuration.

    Args:
        config: Its name and its keys, with all options of a plugin's.
        parameters: From `parameter_groups`; or only parameters, for `adam` and the others that torch has.
        registry: What the plugins offer.

    Raises:
        RequestError: The plugin's class cannot be imported.
    """
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
    spec = registry.optimizer(config.name)
    optimizer: Optimizer = registry.factory(spec)(parameters, spec.options.model_validate(config.options[spec.name]))
    return optimizer


def try_optimizer(loaded: LoadedExperiment) -> None:
    """Build the optimiser of an experiment for two small parameters, and take one step.

    Raises:
        RequestError: The plugin cannot be loaded, or breaks its contract; the message names its class.
    """
    config = loaded.config.optim
    if config.name in OPTIMIZERS:
        return
    where = f"optimizer `{config.name}` ({loaded.registry.optimizer(config.name).factory})"
    parameters = [nn.Parameter(torch.ones(2, 2)) for _ in range(2)]
    rates = [{"lr": lr, "weight_decay": config.weight_decay} for lr in (config.lr, 0.5 * config.lr)]
    groups: list[Group] = [{"params": [one], **rate} for one, rate in zip(parameters, rates, strict=True)]
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    with torch.random.fork_rng(devices=()):
        try:
            optimizer = build_optimizer(config, groups, loaded.registry)
            optimizer.step()
        except RequestError:
            raise
        except Exception as error:  # a plugin's code may raise anything
            raise RequestError(f"{where}: a first step fails: {describe_error(error)}") from error
    for group, rate in zip(optimizer.param_groups, rates, strict=False):
        if any(group.get(key) != value for key, value in rate.items()):
            got = {key: group.get(key) for key in rate}
            raise RequestError(
                f"{where}: a group has {got}, expected {rate}. Pass the groups on to torch.optim.Optimizer unchanged"
            )


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
