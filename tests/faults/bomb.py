"""A cell that fails, waits or is slow as its option `mode` says; a scratch plugin for studies with faults."""

import os
import signal
import time
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from undertow import Cell, CellSpec, Options, hookimpl


class BombOptions(Options):
    mode: Literal["fine", "raise", "die", "memory", "nan", "hang", "once", "slow", "busy", "wait"] = "fine"
    pause: float = 0.05  # seconds at each step of a slow one, CPU seconds of a busy one


class Bomb(Cell):
    def __init__(self, input_size, hidden_size, options, length):
        super().__init__(input_size, hidden_size, options, length)
        self.mode, self.pause, self.steps = options.mode, options.pause, 0
        self.input_map = nn.Linear(input_size, hidden_size)

    def initial_state(self, batch_size):
        return (self.input_map.weight.new_zeros(batch_size, self.hidden_size),)

    def project(self, x_TBI):
        return self.input_map(x_TBI)

    def step(self, z_BH, state):
        self.steps += self.training
        if self.mode == "slow" and self.training and not Path("fast").exists():
            time.sleep(self.pause)
        if self.mode == "busy" and self.training:  # side by side is then faster: a step of all costs that of one
            end = time.process_time() + self.pause
            while time.process_time() < end:
                pass
        if self.steps > 5:
            self.fail()
        h_BH = torch.tanh(z_BH)
        return (h_BH * float("nan") if self.mode == "nan" and self.steps > 5 else h_BH,)

    def fail(self):
        if self.mode == "raise":
            raise ValueError("it broke")
        if self.mode == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.mode == "memory":
            torch.ones(2**28)
        if self.mode == "hang":
            time.sleep(3600)
        while self.mode == "wait" and Path("shut").exists():
            time.sleep(0.05)
        if self.mode == "once" and not Path("failed-once").exists():
            Path("failed-once").touch()
            os.kill(os.getpid(), signal.SIGKILL)


@hookimpl
def undertow_register_cells():
    yield CellSpec(name="bomb", summary="fails on request", factory=":Bomb", options=BombOptions, state=("h",))
