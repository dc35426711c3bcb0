"""What plugins write to standard output, in any way and at any time, does not reach the JSON of a command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NOISY = """
import atexit, ctypes, os, subprocess, sys, threading

def noise(when):
    print("NOISE", when)
    os.write(1, b"NOISE\\n")
    ctypes.CDLL(None).printf(b"NOISE\\n")
    subprocess.run([sys.executable, "-c", "print('NOISE')"])
    print("made noise:", when, file=sys.stderr)

noise("import")
atexit.register(noise, "exit")

from undertow import CellSpec, hookimpl
from undertow_cells.gated.lstm import LSTM
from undertow_cells.gated.options import LstmOptions

class Noisy(LSTM):
    first = True

    def __init__(self, *arguments):
        noise("factory")
        super().__init__(*arguments)

    def step(self, z_BH, state):
        if Noisy.first:
            noise("training")
            Noisy.first = False
        return super().step(z_BH, state)

@hookimpl
def undertow_register_cells():
    noise("hook")
    yield CellSpec(name="noisy", summary="x", factory=":Noisy", options=LstmOptions, state=("h", "c"))
"""

COMMANDS = {
    "list cells": {"import", "hook", "exit"},
    "list cells noisy --build": {"import", "hook", "factory", "exit"},
    "plugin list": {"import", "hook", "exit"},
    "check small.yaml": {"import", "hook", "exit"},
    "show small.yaml": {"import", "hook", "exit"},
    "list cells nosy": {"import", "hook", "exit"},
    "run small.yaml": {"import", "hook", "factory", "training", "exit"},
}

CONFIG = """
task: {name: digits-by-pixel, length: 64}
cell: {name: noisy, hidden_size: 4}
train: {max_steps: 2, batch_size: 4, devices: 1, accelerator: cpu}
probes: []
"""


@pytest.mark.parametrize("command", COMMANDS)
def test_with_json_standard_output_is_one_document(runs: Path, command: str) -> None:
    Path("noisy.py").write_text(NOISY)
    Path("small.yaml").write_text(CONFIG)
    words = [sys.executable, "-m", "undertow.cli", *command.split(), "--plugin", "noisy.py", "--json"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}  # buffers of C
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert isinstance(json.loads(done.stdout), dict)
    assert done.returncode == (2 if "nosy" in command else 0), done.stderr
    made = {line.removeprefix("made noise: ") for line in done.stderr.splitlines() if line.startswith("made noise")}
    assert made == COMMANDS[command]
    assert done.stderr.count("NOISE") == 4 * done.stderr.count("made noise")


def test_a_table_has_no_noise_either(runs: Path) -> None:
    Path("noisy.py").write_text(NOISY)
    words = [sys.executable, "-m", "undertow.cli", "list", "cells", "--plugin", "noisy.py"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "noisy" in done.stdout
    assert "NOISE" not in done.stdout
