"""`make gpu` on a machine without a GPU: it says what is missing, and what it does with its parts holds on a CPU."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

_TESTS = Path(__file__).parents[1]
_RUN = _TESTS / "gpu" / "run.py"


def make_gpu(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "PYTHONSAFEPATH": "1"}
    return subprocess.run(
        [sys.executable, str(_RUN), *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_without_a_gpu_it_says_so_in_one_sentence_and_writes_nothing(tmp_path: Path) -> None:
    done = make_gpu(tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("make gpu needs a GPU: torch ")
    assert len(done.stderr.splitlines()) == 1
    assert "CUDA" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.long
def test_parts_run_and_are_read(tmp_path: Path) -> None:
    done = make_gpu(tmp_path, "--device", "cpu", "--only", "study", "ddp")
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads((tmp_path / "gpu.json").read_text())
    assert {"card", "driver", "torch", "date", "commit"} <= document["facts"].keys()
    study, ddp = document["parts"]
    assert [trial["state"] for trial in study["numbers"]["trials"]] == ["complete"] * 4
    assert ddp["numbers"]["steps"] == 3
    assert ddp["numbers"]["metrics"]["val/loss"] > 0
    assert (tmp_path / "gpu.md").read_text() in done.stdout
    assert "| study | ok |" in done.stdout


def _measured(folder: Path, commands: Sequence[tuple[str, float]]) -> list[Any]:
    """Rows of parts that are a line of Python and a time limit each, in a process of its own: it adopts orphans."""
    script = (
        "import json, sys, time; from pathlib import Path\n"
        f"sys.path.insert(0, {str(_TESTS)!r})\n"
        "from gpu.parts import Part, Reading; from gpu.run import Report, measure\n"
        "read = lambda output, place: Reading(output.strip(), {'number': json.loads(output)})\n"
        f"parts = [Part(f'part{{k}}', [sys.executable, '-c', code], limit, read)\n"
        f"    for k, (code, limit) in enumerate({list(commands)!r})]\n"
        "report = Report(Path('gpu.json').absolute(), {'card': 'none'})\n"
        "measure(parts, report, Path('work'), deadline=time.monotonic() + 600)\n"
    )
    (folder / "work").mkdir()
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows: list[Any] = json.loads((folder / "gpu.json").read_text())["parts"]
    return rows


def test_part_that_fails_or_hangs_is_a_row_and_the_rest_goes_on(tmp_path: Path) -> None:
    saved = "import json, pathlib; print(len(json.loads(pathlib.Path('../../gpu.json').read_text())['parts']))"
    start = time.monotonic()
    rows = _measured(
        tmp_path,
        [
            ("print(1)", 60),
            ("raise SystemExit('no kernel image')", 60),
            ("import time; time.sleep(300)", 6),
            ("print('no number')", 60),
            ("print(1)", 1),
            (saved, 60),
        ],
    )
    assert time.monotonic() - start < 250
    assert [row["result"] for row in rows] == ["ok", "failed", "out of time", "failed", "not started", "ok"]
    assert "no kernel image" in rows[1]["error"]
    assert rows[1]["summary"].endswith("no kernel image")
    assert rows[2]["summary"] == "ended after 6 s"
    assert "cannot be read" in rows[3]["error"]
    assert rows[5]["numbers"] == {"number": 5}, "the rows before it were on the disk while it ran"
