"""A forkserver that has rehearsed is fit to be forked."""

import os
import subprocess
import sys
from pathlib import Path

from undertow.studies.work.executor import _PRELOAD

REHEARSED = """
import os
import threading
import torch
from psutil import Process

def fit():
    torch.set_num_threads(2)
    network = torch.nn.LSTM(8, 64)
    loss = network(torch.ones(400, 32, 8))[0].square().mean()
    loss.backward()
    assert all(p.grad.abs().sum() > 0 for p in network.parameters())

before = Process().num_threads(), threading.active_count(), os.environ.get('CUDA_VISIBLE_DEVICES')
import undertow.train.rehearsal as rehearsal
after = Process().num_threads(), threading.active_count(), os.environ.get('CUDA_VISIBLE_DEVICES')
assert after == before, after
assert not torch.cuda.is_initialized()
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "always", "-c", code],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "3"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_it_comes_after_all_that_trials_need() -> None:
    assert _PRELOAD[-1] == "undertow.train.rehearsal"


def test_a_process_that_is_forked_from_it_trains_on_several_threads() -> None:
    forked = "if (child := os.fork()) == 0:\n    fit()\n    os._exit(7)\nassert os.waitpid(child, 0)[1] >> 8 == 7"
    done = run(f"{REHEARSED}\n{forked}")
    assert done.returncode == 0, done.stderr
    assert done.stdout + done.stderr == ""


def test_a_failing_one_is_told_and_costs_the_study_nothing(tmp_path: Path) -> None:
    done = run(f"import tempfile\ntempfile.tempdir = {str(tmp_path / 'none')!r}\n{REHEARSED}\nfit()")
    assert done.returncode == 0, done.stderr
    assert "trials will start more slowly" in done.stderr
    assert "none" in done.stderr
