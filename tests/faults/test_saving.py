"""Harm done to a run while it saves: it is killed, the disk is full. What was saved before is kept, and it resumes."""

import json
import shutil
import signal
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from forked import Forked
from undertow._system.stopping import StopRequest
from undertow.config.load import load_mapping
from undertow.errors import DiskFull
from undertow.runs.experiment import start_record, train_and_record
from undertow.tracking import Outbox, RunFolder
from undertow.train.build import build
from undertow.train.job import train
from undertow.train.record import Record

CONFIG: dict[str, Any] = {
    "task": {"name": "adding", "length": 12},
    "cell": {"name": "lstm", "hidden_size": 24, "layers": 2, "dropout": 0.3},
    "train": {
        "max_steps": 12,
        "val_every": 4,
        "val_examples": 16,
        "batch_size": 8,
        "log_every": 1,
        "checkpoint": {"every": 2},
        "accelerator": "cpu",
        "devices": 1,
    },
    "probes": [],
}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]
    return state


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def train_in(folder: Path) -> dict[str, torch.Tensor]:
    folder.mkdir(exist_ok=True)
    train(build(load_mapping(CONFIG)), folder, record=Record(None), stop=StopRequest(), progress=False)
    return weights(folder)


# A kill. A file gets its content by a copy from the temporary folder, or is written and flushed where it is.
KILLED = """
import json, os, shutil, signal, sys, tempfile
from pathlib import Path
from undertow._system.stopping import StopRequest
from undertow.config.load import load_mapping
from undertow.train.build import build
from undertow.train.job import train
from undertow.train.record import Record

config, folder, name, at, tempfile.tempdir = sys.argv[1:]
fsync, replace, saves = os.fsync, os.replace, 0

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def count(path):
    global saves
    saves += name in Path(path).name
    return saves == 2 and name in Path(path).name

def half_a_copy(source, target, **options):
    content = Path(source).read_bytes()
    Path(target).write_bytes(content[: len(content) // 2] if count(target) else content)
    if saves == 2:
        die()
    return target

def half_a_file(fd):
    if at == "content" and count(os.readlink(f"/proc/self/fd/{fd}")):
        os.truncate(fd, os.fstat(fd).st_size // 2)
        die()
    fsync(fd)

def first_rename(source, target, **options):
    replace(source, target, **options)
    if at == "rename" and count(target):
        die()

shutil.copyfile, os.fsync, os.replace = half_a_copy, half_a_file, first_rename
train(build(load_mapping(json.loads(config))), Path(folder), record=Record(None), stop=StopRequest(), progress=False)
"""


@pytest.fixture
def other_file_system(tmp_path: Path) -> Iterator[Path]:
    """A temporary folder on another file system than the run."""
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("/dev/shm is not a file system of its own")
    folder = Path(tempfile.mkdtemp(dir=shm))
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("name", "at"), [("last.ckpt", "content"), ("best.ckpt", "content"), ("previous.ckpt", "rename")]
)
def test_a_kill_in_the_middle_of_a_save_leaves_a_checkpoint_that_loads(
    tmp_path: Path, other_file_system: Path, name: str, at: str
) -> None:
    whole = train_in(tmp_path / "whole")
    folder = tmp_path / "killed"
    folder.mkdir()
    arguments = ["-c", json.dumps(CONFIG), str(folder), name, at, str(other_file_system)]
    killed = Forked(f"import sys; sys.argv = {arguments!r}\n{KILLED}", tmp_path / "output")
    assert killed.wait() == -signal.SIGKILL
    assert any((folder / kept).exists() for kept in ("last.ckpt", "previous.ckpt"))
    for path in folder.glob("[!.]*.ckpt"):
        assert zipfile.ZipFile(path).testzip() is None, path
    assert same(whole, train_in(folder))
    assert {path.name for path in folder.iterdir()} == {"best.ckpt", "last.ckpt"}


# A full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(folder)], capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


class FillAt(StopRequest):
    """Fills the disk, up to `left` bytes, at the n-th step; it never requests a stop."""

    def __init__(self, step: int, filler: Path, left: int) -> None:
        super().__init__()
        self._steps, self._filler, self._left = step, filler, left

    @property
    def reason(self) -> str | None:
        self._steps -= 1
        if self._steps == 0:
            free = shutil.disk_usage(self._filler.parent).free
            with self._filler.open("wb", buffering=0) as file:
                file.write(bytes(free - self._left))
            while self._left == 0:  # the last page of the outbox has space, too
                try:
                    with Outbox(next(self._filler.parent.glob("*/outbox.jsonl"))) as outbox:
                        outbox.tags({"filler": "x" * 50})
                except OSError:
                    break
        return None

    @reason.setter
    def reason(self, value: str | None) -> None: ...


def records(folder: RunFolder) -> list[dict[str, Any]]:
    return [json.loads(line) for line in folder.outbox.read_text().splitlines()]


def rows(folder: RunFolder) -> list[tuple[str, float, int]]:
    return sorted((name, value, step) for r in records(folder) for name, value, step, _ in r.get("rows", []))


def started(home: Path) -> RunFolder:
    config = load_mapping(CONFIG).config
    folder = RunFolder.create(home, "run", experiment="waves", uri=None, config_yaml="seed: 0\n")
    start_record(folder, config, {})
    return folder


def train_record(folder: RunFolder, stop: StopRequest | None = None) -> Any:
    return train_and_record(folder, build(load_mapping(CONFIG)), stop or StopRequest(), progress=False)


@pytest.mark.parametrize("left", [40_000, 0])
def test_a_run_on_a_full_disk_says_so_keeps_its_checkpoints_and_resumes(
    tmp_path: Path, small_disk: Path, left: int
) -> None:
    (tmp_path / "whole").mkdir()
    whole = started(tmp_path / "whole")
    assert train_record(whole).status == "FINISHED"
    folder, filler = started(small_disk), small_disk / "filler"
    try:
        if left:
            result = train_record(folder, FillAt(6, filler, left))
            assert (result.status, result.error) == ("FAILED", "DiskFull")
            assert f"{folder.checkpoints / 'last.ckpt'} was not written" in result.reason
            assert json.loads(folder.result.read_text())["status"] == "FAILED"
            assert records(folder)[-1]["status"] == "FAILED"
            free = shutil.disk_usage(small_disk).free
            assert f"bytes are free in {folder.checkpoints}" in result.reason
            assert free < 300_000
        else:
            with pytest.raises(DiskFull, match=r"the disk is full: .* was not written, and \d+ bytes are free in"):
                train_record(folder, FillAt(6, filler, left))
        assert not (folder.path / "traceback.txt").exists()
        for path in folder.checkpoints.iterdir():
            assert zipfile.ZipFile(path).testzip() is None, path
        filler.unlink()
        assert train_record(folder).status == "FINISHED"
        assert same(weights(whole.checkpoints), weights(folder.checkpoints))
        assert rows(folder) == rows(whole)
        assert records(folder)[-1]["status"] == "FINISHED"
    finally:
        folder.release()
        whole.release()
