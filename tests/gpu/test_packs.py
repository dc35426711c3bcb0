"""Packs on a GPU: each replicate as alone, in mixed precision too, and resumed bit for bit."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch

from undertow.config.load import load_mapping
from undertow.errors import Interrupted
from undertow.train.build import Built, build
from undertow.train.callbacks.checkpoints import LAST, StopRequest
from undertow.train.job import train
from undertow.train.pack.job import train_pack
from undertow.train.pack.replicate import Replicate
from undertow.train.record import Record

pytestmark = pytest.mark.gpu
DEVICE = "cuda"
SEEDS = (0, 1, 2)
CELLS = ("rnn", "lstm", "gru", "mgu", "lem")

Weights = Mapping[str, torch.Tensor]


def built(cell: str, seed: int, **train_options) -> Built:
    options = {"max_steps": 12, "val_every": 4, "val_examples": 64, "batch_size": 32, "log_every": 1} | train_options
    one = build(
        load_mapping(
            {
                "task": {"name": "adding", "length": 60},
                "cell": {"name": cell, "hidden_size": 32},
                "optim": {"name": "adam", "lr": 1e-3, "clip_norm": 1.0},
                "train": {"devices": 1, **options},
                "probes": [{"name": "gradient-profile", "every": 4, "options": {"lags": 4}}],
                "seed": seed,
            }
        )
    )
    assert one.devices.accelerator == DEVICE
    return one


def weights(folder: Path) -> Weights:
    saved: Weights = torch.load(folder / LAST, weights_only=True, map_location="cpu")["state_dict"]
    return saved


def train_packed(
    cell: str, folder: Path, *, together: bool = True, stop: StopRequest | None = None, **train_options
) -> tuple[list[Record], Sequence[Exception | None]]:
    """Train a pack in the folders `folder/<seed>`; the records, and what ended each."""
    folder.mkdir(exist_ok=True)
    (folder / "choice").write_text(str(int(together)))
    replicates = []
    for seed in SEEDS:
        (folder / str(seed)).mkdir(exist_ok=True)
        replicates.append(Replicate(built(cell, seed, **train_options), folder / str(seed), Record(None)))
    ends: dict[Replicate, Exception | None] = {}
    train_pack(
        replicates,
        stop=stop or StopRequest(),
        on_end=lambda replicate, error: ends.update({replicate: error}),
        progress=False,
        choice=folder / "choice",
    )
    return [replicate.record for replicate in replicates], [ends[replicate] for replicate in replicates]


@pytest.mark.parametrize("together", [True, False], ids=["side by side", "one by one"])
@pytest.mark.parametrize("cell", CELLS)
def test_a_replicate_is_what_it_would_have_been_alone(cell: str, together: bool, tmp_path: Path) -> None:
    records, ends = train_packed(cell, tmp_path / "pack", together=together)
    assert ends == [None] * len(SEEDS)
    for seed, record in zip(SEEDS, records, strict=True):
        folder = tmp_path / f"alone-{seed}"
        folder.mkdir()
        alone = Record(None)
        train(built(cell, seed), folder, record=alone, stop=StopRequest(), progress=False)
        for name in ("train/loss", "val/loss"):
            assert record.latest[name] == pytest.approx(alone.latest[name], rel=1e-4)
        expected = weights(folder)
        for name, tensor in weights(tmp_path / "pack" / str(seed)).items():
            torch.testing.assert_close(tensor, expected[name], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("cell", ["lstm", "mgu"])
def test_mixed_precision_trains_as_full_precision_nearly_does(cell: str, tmp_path: Path) -> None:
    full, _ = train_packed(cell, tmp_path / "full")
    mixed, ends = train_packed(cell, tmp_path / "mixed", precision="bf16-mixed")
    assert ends == [None] * len(SEEDS)
    for one, other in zip(mixed, full, strict=True):
        assert one.latest["val/loss"] == pytest.approx(other.latest["val/loss"], rel=0.05)
        assert one.latest["val/loss"] != other.latest["val/loss"]


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_stopped_and_resumed_pack_has_the_weights_of_an_undisturbed_one(precision: str, tmp_path: Path) -> None:
    options = {"deterministic": True, "precision": precision}
    train_packed("mgu", tmp_path / "whole", **options)
    for _ in range(2):  # each ends after one step more
        stop = StopRequest()
        stop.reason = "the test"
        _, ends = train_packed("mgu", tmp_path / "resumed", stop=stop, **options)
        assert all(isinstance(end, Interrupted) for end in ends)
    train_packed("mgu", tmp_path / "resumed", **options)
    for seed in SEEDS:
        expected = weights(tmp_path / "whole" / str(seed))
        for name, tensor in weights(tmp_path / "resumed" / str(seed)).items():
            assert torch.equal(tensor, expected[name]), name
