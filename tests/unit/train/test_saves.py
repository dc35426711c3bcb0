"""Checkpoints: written so that a power cut leaves one that loads; a damaged one is not used, and that is said."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from undertow._system.stopping import StopRequest
from undertow.config.load import load_mapping
from undertow.errors import Interrupted
from undertow.tracking import Outbox
from undertow.train.build import build
from undertow.train.callbacks.best import BestCheckpoint
from undertow.train.job import train
from undertow.train.record import Record

MORE = ["train.max_steps=9", "train.val_every=3", "train.checkpoint.every=2", "cell.dropout=0.3", "cell.layers=2"]


class StopAfter(StopRequest):
    """Requests a stop after so many looks at `reason`, one a step."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self._left = steps

    @property
    def reason(self) -> str | None:
        self._left -= 1
        return "SIGTERM" if self._left <= 0 else None

    @reason.setter
    def reason(self, value: str | None) -> None: ...


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_checkpoint_is_renamed_after_it_and_the_rows_before_it_are_on_the_disk(
    base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Simulates a power cut at every rename: what was flushed by then is what is left."""
    flushed: dict[str, int] = {}
    renamed: list[str] = []
    fsync, replace, journal = os.fsync, os.replace, tmp_path / "outbox.jsonl"

    def note_fsync(fd: int) -> None:
        path = str(Path(f"/proc/self/fd/{fd}").readlink())
        flushed[path] = os.fstat(fd).st_size
        if Path(path).is_dir():
            folder_flushed.add(path)
        fsync(fd)

    def note_replace(source: os.PathLike[str], target: os.PathLike[str], **options) -> None:
        name = Path(target).name
        if name in ("last.ckpt", "best.ckpt"):
            renamed.append(name)
            assert flushed[str(journal)] == journal.stat().st_size > 0, name
            assert flushed[str(source)] == Path(source).stat().st_size > 0, name
            folder_flushed.discard(str(Path(target).parent))
        replace(source, target, **options)

    folder_flushed: set[str] = set()
    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    checkpoints = tmp_path / "checkpoints"
    checkpoints.mkdir()
    with Outbox(journal) as outbox:
        loaded = load_mapping(base, [*MORE, "train.log_every=1"])
        train(build(loaded), checkpoints, record=Record(outbox), stop=StopRequest(), progress=False)
    assert renamed.count("last.ckpt") == 5  # steps 2, 4, 6, 8 and the last one
    assert renamed.count("best.ckpt") >= 1
    assert str(checkpoints) in folder_flushed


def flip(path: Path) -> None:
    """Change a bit of the largest tensor: one of the padding between tensors would damage nothing."""
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as file:
        largest = max(map(file.read, file.namelist()), key=len)
    content[content.index(largest) + len(largest) // 2] ^= 1
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "one bit": flip,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(
    run_job, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    whole = run_job(*MORE, folder="whole")
    with pytest.raises(Interrupted):
        run_job(*MORE, stop=StopAfter(7))
    last, previous = tmp_path / "job" / "last.ckpt", tmp_path / "job" / "previous.ckpt"
    steps = [torch.load(path, weights_only=True)["global_step"] for path in (previous, last)]
    assert steps == [6, 7]
    DAMAGES[damage](last)
    capsys.readouterr()
    with pytest.raises(Interrupted, match="after step 7"):  # a second time, with the damaged one out of the way
        run_job(*MORE, stop=StopAfter(1))
    [line] = capsys.readouterr().err.splitlines()
    assert f"{last} is damaged" in line
    assert f"the run continues from {previous}" in line
    assert torch.load(previous, weights_only=True)["global_step"] == 6
    resumed = run_job(*MORE)
    assert same(whole.weights, resumed.weights)
    assert not previous.exists()


def test_a_run_without_a_checkpoint_that_loads_starts_again_and_says_so(
    run_job, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = run_job(*MORE, folder="whole")
    with pytest.raises(Interrupted):
        run_job(*MORE, stop=StopAfter(7))
    for name in ("last.ckpt", "previous.ckpt"):
        (tmp_path / "job" / name).write_bytes(b"PK")
    capsys.readouterr()
    resumed = run_job(*MORE)
    assert same(whole.weights, resumed.weights)
    assert whole.journal.rows == resumed.journal.rows
    tag = resumed.journal.tagged["undertow.checkpoint"]
    assert tag.endswith("the run continues from its beginning")
    assert capsys.readouterr().err == tag + "\n"


def test_a_process_killed_between_two_renames_leaves_the_checkpoint_before(run_job, tmp_path: Path) -> None:
    whole = run_job(*MORE, folder="whole")
    with pytest.raises(Interrupted):
        run_job(*MORE, stop=StopAfter(7))
    (tmp_path / "job" / "last.ckpt").replace(tmp_path / "job" / "previous.ckpt")
    (tmp_path / "job" / ".last.ckpt.draft").write_bytes(b"PK")
    resumed = run_job(*MORE)
    assert same(whole.weights, resumed.weights)
    assert list(resumed.journal.series("val/loss")) == [9]
    assert {path.name for path in (tmp_path / "job").iterdir()} == {"best.ckpt", "last.ckpt"}


def test_the_best_score_is_kept_in_a_folder_with_another_path(tmp_path: Path) -> None:
    """Lightning's own callback forgets it, and the next validation would replace the best checkpoint."""
    first, moved = (BestCheckpoint(dirpath=tmp_path / name, filename="best", monitor="val/loss") for name in "ab")
    first.best_model_score, first.kth_value = torch.tensor(0.25), torch.tensor(0.25)
    path = str(tmp_path / "a" / "best.ckpt")
    first.best_model_path = first.kth_best_model_path = path
    first.best_k_models = {path: torch.tensor(0.25)}
    state = first.state_dict()
    moved.load_state_dict(state)
    here = str(tmp_path / "b" / "best.ckpt")
    assert (moved.best_model_score, moved.best_model_path) == (torch.tensor(0.25), here)
    assert moved.best_k_models == {here: torch.tensor(0.25)}
    assert moved.state_key == ModelCheckpoint(dirpath=tmp_path, filename="best", monitor="val/loss").state_key
