"""The setting that the contestants of `loop` train, and the format in which they report."""

import json
import sys
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Outcome:
    """Report of one contestant.

    Attributes:
        steps_per_second: From step `first` to step `last`.
        steps_per_second_from_start: From step `early` to step `last`: what runs beside the first steps counts too.
        loss: Mean training loss of the last `log_every` steps.
    """

    steps_per_second: float
    steps_per_second_from_start: float
    loss: float


@dataclass(frozen=True)
class Setting:
    """What is trained, and which part of it is timed.

    Attributes:
        length: Time steps T of the adding task.
        batch_size: Examples B of one batch.
        hidden_size: Width H of the LSTM.
        early: Steps before the first clock starts.
        first: Steps before the second clock starts.
        last: The last step, when both stop.
        log_every: Steps between two records of the training loss by the platform.
        profile_every: Steps between two gradient profiles of the platform.
        save_every: Steps between two checkpoints of the platform.
        seed: Of weights and examples.
    """

    length: int = 256
    batch_size: int = 64
    hidden_size: int = 128
    early: int = 10
    first: int = 100
    last: int = 300
    log_every: int = 10
    profile_every: int = 100
    save_every: int = 200
    seed: int = 0

    @classmethod
    def from_command_line(cls) -> "Setting":
        """Read the arguments that `loop` passes."""
        return cls(**json.loads(sys.argv[1]))

    def report(self, at: dict[int, float], loss: float) -> None:
        """Report to `loop` on standard output.

        Args:
            at: Seconds on any clock when step `early`, `first` and `last` were done.
            loss: As in `Outcome`.
        """
        whole, early = at[self.last] - at[self.first], at[self.last] - at[self.early]
        outcome = Outcome((self.last - self.first) / whole, (self.last - self.early) / early, loss)
        print(json.dumps(asdict(outcome)))
