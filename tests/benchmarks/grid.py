"""The grid that the contestants of `study` train, and the format in which they report.

grid = Grid.read(Path("tests/benchmarks/study.yaml"), ["study.vary.seed=[0]"])
[combination.name for combination in grid.combinations()][:2]      # ["rnn-T50-s0", "rnn-T100-s0"]
"""

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

from undertow.config.source import read_file


@dataclass(frozen=True)
class Combination:
    """One point of the grid."""

    cell: str
    length: int
    seed: int

    @property
    def name(self) -> str:
        """As the platform names the run."""
        return f"{self.cell}-T{self.length}-s{self.seed}"


@dataclass(frozen=True)
class Outcome:
    """Result of the training of one combination.

    Attributes:
        train_loss: Of the last step's batch.
        val_loss: After the last step.
    """

    train_loss: float
    val_loss: float


@dataclass(frozen=True)
class Report:
    """Report of one contestant.

    Attributes:
        seconds: From its first process's start to the end of the last one; imports and stores are not in it.
        outcomes: By the name of the combination.
    """

    seconds: float
    outcomes: dict[str, Outcome]

    @classmethod
    def from_output(cls, text: str) -> "Report":
        """From a contestant's standard output: the last line."""
        said = json.loads(text.splitlines()[-1])
        return cls(said["seconds"], {name: Outcome(**outcome) for name, outcome in said["outcomes"].items()})

    def write(self) -> None:
        """On standard output."""
        print(json.dumps(asdict(self)))


@dataclass(frozen=True)
class Grid:
    """The combinations, and how each is trained on the adding task.

    Attributes:
        cells: Names of cells.
        lengths: Time steps T.
        seeds: Of weights and examples.
        hidden_size: Width H.
        batch_size: Examples B of one batch.
        train_batches: Training steps.
        val_batches: Batches of the validation after the last step.
        lr: Adam's learning rate.
        threads: CPU threads of one process; None leaves it to torch.
        workers: Processes.
    """

    cells: list[str]
    lengths: list[int]
    seeds: list[int]
    hidden_size: int
    batch_size: int
    train_batches: int
    val_batches: int
    lr: float
    threads: int | None
    workers: int

    @classmethod
    def read(cls, path: Path, overrides: Iterable[str] = ()) -> "Grid":
        """Read a configuration of the platform.

        Args:
            path: The file.
            overrides: As for `--set`.
        """
        source = read_file(path)
        for override in overrides:
            source.override(override)
        train, study = source.data["train"], source.data["study"]
        return cls(
            cells=study["vary"]["cell.name"],
            lengths=study["vary"]["task.length"],
            seeds=study["vary"]["seed"],
            hidden_size=source.data["cell"]["hidden_size"],
            batch_size=train["batch_size"],
            train_batches=train["max_steps"],
            val_batches=train["val_examples"] // train["batch_size"],
            lr=source.data["optim"]["lr"],
            threads=train["threads"],
            workers=study["workers"],
        )

    @classmethod
    def from_command_line(cls) -> "Grid":
        """Read the arguments that `study` passes."""
        return cls(**json.loads(sys.argv[1]))

    def as_argument(self) -> str:
        """The arguments that `from_command_line` reads."""
        return json.dumps(asdict(self))

    def combinations(self) -> list[Combination]:
        """Every combination, in the platform's order: the seed is the fastest."""
        return [Combination(*each) for each in product(self.cells, self.lengths, self.seeds)]
