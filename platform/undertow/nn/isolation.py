"""Run a probe without an effect on training.

    with isolated(model):
        measurement = probe.measure(subject)

Weights and their gradients are unaffected because a probe computes gradients with `torch.autograd.grad`, which stores
none. Modes, buffers and random states are restored here.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn


@contextmanager
def isolated(model: nn.Module) -> Iterator[None]:
    """Put `model` into evaluation mode, and restore modes, buffers and every random state afterwards.

    torch's recurrent kernels stay in training mode: cuDNN has no backward pass otherwise, and nothing in one layer of
    them depends on the mode.
    """
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    python_state, numpy_state = random.getstate(), np.random.get_state()
    model.eval()
    for module in model.modules():
        if isinstance(module, nn.RNNBase):
            module.train()
    try:
        with torch.random.fork_rng(devices=_gpus(model)), torch.enable_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)
        random.setstate(python_state)
        np.random.set_state(numpy_state)


def _gpus(model: nn.Module) -> list[torch.device]:
    """The GPUs that the network is on; the random states of the others are not touched, nor is their memory."""
    return [device for device in {weight.device for weight in model.parameters()} if device.type == "cuda"]
