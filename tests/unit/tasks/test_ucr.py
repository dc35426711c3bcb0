"""The task over series of the UCR and UEA archives, over small files in the archives' format."""

import math
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from undertow import RequestError
from undertow_tasks.series.options import UcrOptions
from undertow_tasks.series.ucr import Ucr

SPLITS = ("train", "val", "test")
DRAWN = np.random.default_rng(1)
CLASSES = ["walk", "run", "rest"]


def drawn(count: int, length: int = 12, width: int = 1) -> list[tuple[np.ndarray, str]]:
    return [(DRAWN.normal(3, 2, (length, width)).round(4), CLASSES[number % 3]) for number in range(count)]


def write(path: Path, series: list[tuple[np.ndarray, str]]) -> str:
    rows = [":".join([*(",".join(map(str, c)) for c in values_TI.T), label]) for values_TI, label in series]
    path.write_text("\n".join(["@problemName Moves", "@classLabel true walk run rest swim", "@data", *rows]) + "\n")
    return str(path)


def task(length: int = 12, **options) -> Ucr:
    return Ucr(UcrOptions(**options), length, 0)


def everything(of: Ucr, split: str):
    return of.batch(split, np.arange(of.size(split)))


def normalised(values_TI: np.ndarray) -> np.ndarray:
    return (values_TI - values_TI.mean(0)) / values_TI.std(0)


def test_series_are_z_normalised_and_followed_by_zeros(tmp_path: Path) -> None:
    series = drawn(9, width=2)
    path = write(tmp_path / "a.ts", series)
    of = task(15, train=write(tmp_path / "train.ts", drawn(30, width=2)), test=path)
    batch = everything(of, "test")
    assert of.inputs.width == 2
    assert batch.input.shape == (9, 15, 2)
    assert batch.input.dtype == torch.float32
    for x_TI, (values_TI, _) in zip(batch.input.numpy(), series, strict=True):
        assert np.allclose(x_TI[:12], normalised(values_TI), atol=1e-5)
        assert not x_TI[12:].any()


def test_classes_are_those_of_the_training_series_sorted_by_name(tmp_path: Path) -> None:
    series = drawn(30)
    of = task(train=write(tmp_path / "train.ts", series), test=write(tmp_path / "test.ts", series))
    assert of.classes == ("rest", "run", "walk")
    assert of.output_size == 3
    labels = [of.classes[label] for label in everything(of, "test").target.tolist()]
    assert labels == [label for _, label in series]
    assert set(of.metrics()) == {"accuracy"}


def test_a_fifth_of_the_training_series_is_held_out_from_every_class(tmp_path: Path) -> None:
    with_test = task(train=write(tmp_path / "a.ts", drawn(60)), test=write(tmp_path / "t.ts", drawn(7)))
    assert [with_test.size(split) for split in SPLITS] == [48, 12, 7]
    assert torch.bincount(everything(with_test, "val").target).tolist() == [4, 4, 4]
    without = task(train=write(tmp_path / "b.ts", drawn(75)))
    assert [without.size(split) for split in SPLITS] == [48, 12, 15]
    read = {x.numpy().tobytes() for split in SPLITS for x in everything(without, split).input}
    assert len(read) == 75


def test_shorter_series_are_followed_by_more_zeros(tmp_path: Path) -> None:
    train = write(tmp_path / "a.ts", drawn(20) + drawn(10, length=5))
    of = task(14, train=train)
    for split in SPLITS:
        batch = everything(of, split)
        for x_TI, cues in zip(batch.input, of.cues(batch).tolist(), strict=True):
            length = 5 if not x_TI[5:].any() else 12
            assert x_TI[:length].ne(0).all()
            assert set(cues) == set(range(length))
            assert len(cues) == 14


def test_resampled_series_fill_every_step(tmp_path: Path) -> None:
    ramp = [(np.arange(6.0)[:, None] * (1 if n % 2 else -1), CLASSES[n % 2]) for n in range(20)]
    of = task(11, train=write(tmp_path / "a.ts", ramp), resample=True)
    batch = everything(of, "train")
    line = torch.linspace(-1, 1, 11) * 2.5 / np.std(np.arange(6))
    for x_TI, label in zip(batch.input, batch.target.tolist(), strict=True):
        assert torch.allclose(x_TI[:, 0], line if of.classes[label] == "run" else -line, atol=1e-6)
    assert task(3, train=str(tmp_path / "a.ts"), resample=True).batch("val", np.array([0])).input.shape == (1, 3, 1)


def test_constant_channel_is_zero(tmp_path: Path) -> None:
    flat = [(np.full((4, 1), 0.1 + n), CLASSES[n % 2]) for n in range(20)]
    of = task(4, train=write(tmp_path / "a.ts", flat))
    batch = everything(of, "train")
    assert not batch.input.any()
    assert of.cues(batch).unique().tolist() == [0]


def test_predicting_by_frequency_costs_the_trivial_loss(tmp_path: Path) -> None:
    balanced = task(train=write(tmp_path / "a.ts", drawn(60)), test=write(tmp_path / "t.ts", drawn(6)))
    assert balanced.trivial_loss == pytest.approx(math.log(3))
    uneven = [(values_TI, "run" if number % 4 else "rest") for number, (values_TI, _) in enumerate(drawn(80))]
    of = task(train=write(tmp_path / "b.ts", uneven), test=str(tmp_path / "b.ts"))
    target = everything(of, "train").target
    share = torch.bincount(target) / len(target)
    losses = of.loss(share.log().expand(len(target), 2), target)
    assert losses.shape == target.shape
    assert losses.mean().item() == pytest.approx(of.trivial_loss)
    assert of.trivial_loss < math.log(2)


def test_missing_source_is_refused_with_the_option_to_set() -> None:
    with pytest.raises(RequestError, match=r"`ucr` has no data: set task\.options\.ucr\.train to a \.ts file"):
        task()
    with pytest.raises(RequestError, match="two sources"):
        task(train="a.ts", dataset="GunPoint")


def test_length_that_would_truncate_series_is_refused(tmp_path: Path) -> None:
    train = write(tmp_path / "a.ts", drawn(30))
    with pytest.raises(
        RequestError, match=r"a\.ts: a series has 12 steps, and task\.length is 11; set it to 12 or more"
    ):
        task(11, train=train)


def test_fault_in_a_file_is_refused_with_its_line(tmp_path: Path) -> None:
    train = write(tmp_path / "train.ts", drawn(30))
    (tmp_path / "unlabelled.ts").write_text("@classLabel true walk run\n@data\n1,2:walk\n1,2\n")
    with pytest.raises(RequestError, match=r"unlabelled\.ts:4: a series without a class"):
        task(train=str(tmp_path / "unlabelled.ts"))
    with pytest.raises(RequestError, match=r"b\.ts:4: class `swim` is not among the training series"):
        task(train=train, test=write(tmp_path / "b.ts", [(np.ones((12, 1)), "swim")] * 2))
    with pytest.raises(RequestError, match=r"c\.ts:4: 2 channels, but 1 at .*train\.ts:4"):
        task(train=train, test=write(tmp_path / "c.ts", drawn(3, width=2)))
    with pytest.raises(RequestError, match=r"d\.ts: every series is of class `run`"):
        task(train=write(tmp_path / "d.ts", [(np.ones((12, 1)), "run")] * 20))
    with pytest.raises(RequestError, match=r"e\.ts: 3 examples are too few to hold 2 out"):
        task(train=write(tmp_path / "e.ts", drawn(3)))
    with pytest.raises(RequestError, match=r"f\.ts:4: the only series"):
        task(train=train, test=write(tmp_path / "f.ts", drawn(1)))


def test_missing_aeon_library_is_refused_with_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aeon.datasets", None)
    with pytest.raises(RequestError, match=r"pip install 'undertow-tasks\[series\]', or set task\.options\.ucr\.train"):
        task(dataset="GunPoint")


@pytest.mark.parametrize("equal", [True, False])
def test_aeon_gives_the_same_batches_as_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, equal: bool) -> None:
    """aeon puts channels before time: one array, or a list of arrays where lengths differ."""
    parts = {"train": drawn(30, width=2) + drawn(0 if equal else 10, length=7, width=2), "test": drawn(9, width=2)}

    def load_classification(name: str, split: str):
        if name != f"Moves{equal}":
            raise ValueError(f"no {name}")
        values = [values_TI.T for values_TI, _ in parts[split]]
        return np.stack(values) if equal or split == "test" else values, np.array([label for _, label in parts[split]])

    monkeypatch.setitem(sys.modules, "aeon.datasets", SimpleNamespace(load_classification=load_classification))
    by_aeon = task(dataset=f"Moves{equal}")
    by_file = task(train=write(tmp_path / "a.ts", parts["train"]), test=write(tmp_path / "t.ts", parts["test"]))
    for split in SPLITS:
        for one, other in zip(everything(by_aeon, split), everything(by_file, split), strict=True):
            assert torch.equal(one, other)
    with pytest.raises(RequestError, match=r"aeon cannot give `Moved`: no Moved; expected a name of the archive"):
        task(dataset="Moved")
