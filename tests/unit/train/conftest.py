"""A small training job in this process, and its result."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from undertow._system.stopping import StopRequest
from undertow.config.load import load_mapping
from undertow.train.build import build
from undertow.train.callbacks.checkpoints import LAST
from undertow.train.job import train
from undertow.train.pack.job import train_pack
from undertow.train.pack.replicate import Replicate
from undertow.train.record import Record


@dataclass
class Journal:
    """Keeps rows in memory."""

    rows: list[tuple[str, float, int]] = field(default_factory=list)
    tagged: dict[str, str] = field(default_factory=dict)

    def tags(self, tags: Mapping[str, str]) -> None:
        self.tagged |= tags

    @property
    def about_the_run(self) -> dict[str, str]:
        """The tags but those about the machine, which are other ones every time, and the constants of the task."""
        left_out = "undertow.load.", "undertow.task."
        return {name: value for name, value in self.tagged.items() if not name.startswith(left_out)}

    def sync(self) -> None:
        pass

    def metrics(self, rows: Iterable[tuple[str, float, int]]) -> None:
        self.rows += rows

    def known(self) -> dict[str, set[int]]:
        """The steps of the rows, by name."""
        return {name: {step for key, _, step in self.rows if key == name} for name, _, _ in self.rows}

    def series(self, name: str) -> dict[int, float]:
        return {step: value for key, value, step in self.rows if key == name}


@dataclass
class Job:
    """A finished job."""

    steps: int
    journal: Journal
    record: Record
    folder: Path

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        return torch.load(self.folder / LAST, weights_only=True)["state_dict"]


RunJob = Callable[..., Job]


@pytest.fixture
def new_journal() -> type[Journal]:
    """Makes an empty journal."""
    return Journal


@dataclass
class PackJob:
    """The jobs of a pack by seed, and what ended each; None for one that has finished."""

    jobs: dict[int, Job]
    ends: dict[int, Exception | None]


RunPack = Callable[..., PackJob]

BASE: Mapping[str, Any] = {
    "task": {"name": "adding", "length": 20},
    "cell": {"name": "lstm", "hidden_size": 8},
    "train": {
        "max_steps": 50,
        "val_every": 20,
        "val_examples": 64,
        "batch_size": 16,
        "accelerator": "cpu",
        "devices": 1,
    },
    "probes": [],
}


@pytest.fixture
def base() -> Mapping[str, Any]:
    """The configuration that `run_job` trains, as a mapping."""
    return BASE


@pytest.fixture
def run_job(tmp_path: Path) -> RunJob:
    """Train `BASE` with overrides, in the folder of this name."""

    def run(
        *overrides: str, folder: str = "job", plugins: Iterable[Path] = (), stop: StopRequest | None = None,
        known: Mapping[str, set[int]] | None = None, journal: Journal | None = None,
    ) -> Job:  # fmt: skip
        loaded = load_mapping(BASE, overrides, list(plugins))
        path = tmp_path / folder
        path.mkdir(exist_ok=True)
        journal = journal or Journal()
        record = Record(journal, known, path / "traceback.txt")
        steps = train(build(loaded), path, record=record, stop=stop or StopRequest(), progress=False)
        return Job(steps, journal, record, path)

    return run


@pytest.fixture
def run_pack(tmp_path: Path) -> RunPack:
    """Train `BASE` with overrides and these seeds in a pack, in the folders `<folder>-<seed>`.

    `settings` has more overrides for one seed, `together` the way in which the networks run after the first steps.
    """

    def run(
        *overrides: str, seeds: Iterable[int] = range(3), folder: str = "pack", plugins: Iterable[Path] = (),
        stop: StopRequest | None = None, journals: Mapping[int, Journal] | None = None, together: bool | None = True,
        settings: Mapping[int, Iterable[str]] | None = None,
    ) -> PackJob:  # fmt: skip
        replicates = {}
        for seed in seeds:
            loaded = load_mapping(BASE, [*overrides, f"seed={seed}", *(settings or {}).get(seed, ())], list(plugins))
            path = tmp_path / f"{folder}-{seed}"
            path.mkdir(exist_ok=True)
            journal = (journals or {}).get(seed) or Journal()
            record = Record(journal, journal.known(), path / "traceback.txt")
            replicates[Replicate(build(loaded), path, record)] = seed, journal
        choice = tmp_path / f"{folder}-choice"
        if together is not None:
            choice.write_text(str(int(together)))
        ends: dict[int, Exception | None] = {}

        def on_end(replicate: Replicate, error: Exception | None) -> None:
            assert replicates[replicate][0] not in ends
            ends[replicates[replicate][0]] = error

        train_pack(list(replicates), stop=stop or StopRequest(), on_end=on_end, progress=False, choice=choice)
        jobs = {
            seed: Job(replicate.record.steps, journal, replicate.record, replicate.folder)
            for replicate, (seed, journal) in replicates.items()
        }
        return PackJob(jobs, ends)

    return run
