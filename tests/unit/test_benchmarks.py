"""The benchmarks run, on tiny sizes; what they measure is for `make bench` to show, where nothing else runs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

_RUN = Path(__file__).parents[1] / "benchmarks" / "run.py"


@pytest.mark.slow
def test_quick_benchmarks_measure_every_row(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, str(_RUN), "--quick", "--json", str(file)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(file.read_text())
    assert {"device", "processor", "cores", "threads", "python", "torch", "seed"} <= document["machine"].keys()
    rows = {row["name"]: row for row in document["rows"]}
    assert {name: row["target"] for name, row in rows.items() if row["target"] and row["unit"]} == {
        "undertow --help": "<= 0.4",
        "undertow list cells": "<= 0.6",
        "lstm by steps / nn.LSTM": "<= 2",
        "gradient profile / training step, lstm": "<= 0.9",
        "gradient profile / training step, gru": "<= 0.9",
        "gradient profile / training step, rnn": "<= 0.9",
        "platform / bare loop, steps/s": ">= 0.9",
    }
    assert {
        "undertow --help, heavy imports",
        "undertow list cells, heavy imports",
        "unrolled profile / training step, lstm",
        "unrolled profile / training step, gru",
        "unrolled profile / training step, rnn",
        "torchrecurrent OriginalLSTM / nn.LSTM",
        "torchrecurrent MGU / nn.LSTM",
        "platform / bare loop, from the start",
        "Lightning + MLFlowLogger / bare loop",
    } <= rows.keys()
    for row in rows.values():
        if row["skipped"]:
            continue
        assert row["low"] <= row["value"] <= row["high"], row
        assert row["value"] > 0 if row["unit"] else row["value"] == 0, row
        assert isinstance(row["met"], bool) == bool(row["target"]), row
        assert row["name"] in done.stdout.replace("\n", " ")
