"""Replicates in one process: each is recorded as a run of its own, whatever happens to it or to the others."""

import json
from pathlib import Path

import pytest

import undertow
from undertow._system.stopping import StopRequest
from undertow.config.load import load_mapping
from undertow.errors import Interrupted, RequestError
from undertow.runs.experiment import create_folder, resume
from undertow.runs.pack import Member, train_and_record_pack
from undertow.runs.replicates import run_replicates
from undertow.runs.result import Result
from undertow.train.build import build

pytestmark = pytest.mark.usefixtures("settled_home")

SMALL = {
    "task": {"name": "digits-by-pixel", "length": 64},
    "cell": {"name": "mgu", "hidden_size": 4},
    "train": {"max_steps": 8, "val_every": 4, "val_examples": 16, "batch_size": 4, "log_every": 2, "accelerator": "cpu",
              "devices": 1, "precision": "64-true"},
    "probes": [],
}  # fmt: skip
NOISY = """
import torch
from torch import nn
from undertow import Cell, CellSpec, hookimpl


class Noisy(Cell):
    def __init__(self, input_size, hidden_size, options, length):
        super().__init__(input_size, hidden_size, options, length)
        self.input_map = nn.Linear(input_size, hidden_size)

    def initial_state(self, batch_size):
        return (self.input_map.weight.new_zeros(batch_size, self.hidden_size),)

    def step(self, x_BI, state):
        h_BH = torch.tanh(state[0] + self.input_map(x_BI))
        return (h_BH + 0.1 * torch.randn_like(h_BH) if self.training else h_BH,)


@hookimpl
def undertow_register_cells():
    yield CellSpec(name="noisy", summary="adds noise in training", factory=":Noisy", state=("h",))
"""


def loaded(*overrides: str, plugins=()):
    return load_mapping(SMALL, overrides, plugins)


def rows(folder: Path) -> dict[tuple[str, int], float]:
    records = [json.loads(line) for line in (folder / "outbox.jsonl").read_text().splitlines()]
    found = [(key, step, value) for r in records if r["kind"] == "metrics" for key, value, step, _ in r["rows"]]
    assert len(found) == len({(key, step) for key, step, _ in found})
    return {(key, step): value for key, step, value in found if not key.startswith("cost/")}


def tags(folder: Path) -> dict[str, str]:
    records = [json.loads(line) for line in (folder / "outbox.jsonl").read_text().splitlines()]
    return {key: value for record in records for key, value in (record.get("tags") or {}).items()}


def members(home: Path, *overrides: str, seeds: int = 3, plugins=()) -> list[Member]:
    found = []
    for seed in range(seeds):
        built = build(loaded(*overrides, f"seed={seed}", plugins=plugins))
        found.append(Member(create_folder(built, home), built))
    return found


def test_each_replicate_is_a_run_like_any_other(home: Path) -> None:
    results, failures = run_replicates(loaded("track.run_name=mine"), 3, home=home, progress=False)
    assert failures == []
    assert [result.name for result in results] == ["mine-s0", "mine-s1", "mine-s2"]
    packs = set()
    for seed, result in enumerate(results):
        alone = undertow.run(SMALL, set=[f"seed={seed}"], home=home, progress=False)
        assert rows(result.folder) == pytest.approx(rows(alone.folder), rel=1e-9)
        assert {path.name for path in result.folder.iterdir()} == {path.name for path in alone.folder.iterdir()}
        assert (result.shipped, result.steps, result.config.seed) == (True, 8, seed)
        assert result.metrics.keys() == alone.metrics.keys()
        assert json.loads((result.folder / "result.json").read_text())["status"] == "FINISHED"
        found = tags(result.folder)
        assert (found["undertow.pack.size"], found["undertow.seed"]) == ("3", str(seed))
        packs.add(found["undertow.pack"])
    assert len(packs) == 1


def test_replicates_that_cannot_be_packed_run_one_after_another(home: Path) -> None:
    said: list[str] = []
    settings = loaded("cell.layers=2", "cell.dropout=0.5")
    results, _ = run_replicates(settings, 2, home=home, progress=False, note=said.append)
    assert said == [
        "the replicates are trained one after another: cell.dropout: replicates would share one random state"
    ]
    for seed, result in enumerate(results):
        alone = undertow.run(
            SMALL, set=["cell.layers=2", "cell.dropout=0.5", f"seed={seed}"], home=home, progress=False
        )
        assert rows(result.folder) == rows(alone.folder)


@pytest.mark.parametrize(
    ("count", "seed", "reason"),
    [
        (0, 0, "--seeds 0: how many replicates to run, 1 or more"),
        (3, 2**32 - 2, "the last one is not below 4294967296"),
    ],
)
def test_a_wrong_number_of_seeds_is_refused_before_anything_is_written(home: Path, count, seed, reason) -> None:
    with pytest.raises(RequestError, match=reason):
        run_replicates(loaded(f"seed={seed}"), count, home=home, progress=False)
    assert [path for path in home.iterdir() if path.is_dir()] == []


def test_a_cell_that_draws_random_numbers_is_trained_alone(home: Path, tmp_path: Path) -> None:
    plugin = tmp_path / "noisy.py"
    plugin.write_text(NOISY)
    pack = members(home, "cell={name: noisy, hidden_size: 4}", seeds=2, plugins=[plugin])
    results = train_and_record_pack(pack, StopRequest(), progress=False)
    for seed, (member, result) in enumerate(zip(pack, results, strict=True)):
        alone = undertow.run(
            SMALL,
            set=["cell={name: noisy, hidden_size: 4}", f"seed={seed}"],
            plugins=[plugin],
            home=home,
            progress=False,
        )
        assert result.status == "FINISHED"
        assert rows(member.folder.path) == rows(alone.folder)
        assert "draws random numbers" in tags(member.folder.path)["undertow.pack.reason"]


def test_one_whose_record_is_damaged_fails_and_the_others_go_on(home: Path) -> None:
    pack = members(home)
    with pack[1].folder.outbox.open("ab") as outbox:
        outbox.write(b'{"kind": "metrics", "rows": 7}\n')
    results = train_and_record_pack(pack, StopRequest(), progress=False)
    assert [result.status for result in results] == ["FINISHED", "FAILED", "FINISHED"]
    assert "the record of the run cannot be read" in results[1].reason
    assert Result.read(pack[1].folder.result) == results[1]


def test_stopped_replicates_are_resumed_as_a_pack_or_alone(home: Path) -> None:
    stop = StopRequest()
    stop.reason = "a test"
    pack = members(home)
    results = train_and_record_pack(pack, stop, progress=False)
    assert {result.status for result in results} == {"KILLED"}
    assert all(result.reason == "stopped by a test after step 1" for result in results)
    for member in pack:
        member.folder.release()
    alone = resume(str(pack[2].folder.path), home=home, progress=False)
    again = [Member(pack[seed].folder, build(loaded(f"seed={seed}"))) for seed in (0, 1)]
    train_and_record_pack(again, StopRequest(), progress=False)
    for seed, member in enumerate(pack):
        whole = undertow.run(SMALL, set=[f"seed={seed}"], home=home, progress=False)
        assert rows(member.folder.path) == pytest.approx(rows(whole.folder), rel=1e-9)
    assert alone.steps == 8


def test_a_stop_of_replicates_names_how_to_continue_each(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(pack, stop, *, progress):
        stop.reason = "a test"
        return train_and_record_pack(pack, stop, progress=progress)

    monkeypatch.setattr("undertow.runs.replicates.train_and_record_pack", stopped)
    with pytest.raises(Interrupted, match=r"mgu-T64-s0.*Continue with: undertow run --resume (.|\n)*mgu-T64-s1"):
        run_replicates(loaded(), 2, home=home, progress=False)


def test_an_unexpected_error_fails_all_and_is_kept(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(models):
        raise ValueError("no pack today")

    monkeypatch.setattr("undertow.train.pack.job.Pack", broken)
    pack = members(home, seeds=2)
    results = train_and_record_pack(pack, StopRequest(), progress=False)
    assert [result.status for result in results] == ["FAILED", "FAILED"]
    for member, result in zip(pack, results, strict=True):
        assert "no pack today" in result.reason
        assert "no pack today" in (member.folder.path / "traceback.txt").read_text()
        assert tags(member.folder.path)["undertow.end"] == result.reason
