"""Train several runs that differ by their seed alone in this process, side by side where that is possible.

    results = train_and_record_pack([Member(folder, built) for …], StopRequest(), progress=False)

Each of them is a run like any other: it has its folder, its record, its checkpoints, and a status of its own.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from undertow._system.stopping import StopRequest
from undertow.errors import Interrupted, UndertowError
from undertow.runs.experiment import record_end, train_and_record
from undertow.runs.process import known_steps
from undertow.runs.result import Result, failure
from undertow.tracking import Outbox, RunFolder

if TYPE_CHECKING:
    from undertow.train.build import Built
    from undertow.train.pack.replicate import Replicate

PACK_TAG, SIZE_TAG, REASON_TAG = (f"undertow.pack{name}" for name in ("", ".size", ".reason"))
"""Which pack a run was trained in, of how many replicates; why it was not trained side by side."""


@dataclass(frozen=True)
class Member:
    """One replicate.

    Attributes:
        folder: Its run folder, whose lock this process holds, with its record started.
        built: What is trained.
    """

    folder: RunFolder
    built: "Built"


def train_and_record_pack(
    members: Sequence[Member], stop: StopRequest, *, progress: bool, choice: Path | None = None
) -> list[Result]:
    """Train replicates side by side, and record each as `train_and_record` does, as soon as it has ended.

    The replicates of a cell that draws random numbers in training would share them: these are trained one after
    another, as single runs.

    Args:
        members: They differ by their seed alone.
        stop: Set to end after the current step.
        progress: Show the progress on standard error.
        choice: The file in which the first decision, side by side or one by one, is kept for all packs.

    Returns:
        How each of them ended; the same is in its folder.
    """
    from undertow.nn.pack import draws_random_numbers

    if draws_random_numbers(members[0].built.model):
        return [_trained_alone(member, stop, progress=progress) for member in members]
    return _Packed(members).train(stop, choice, progress=progress)


def _trained_alone(member: Member, stop: StopRequest, *, progress: bool) -> Result:
    with Outbox(member.folder.outbox) as outbox:
        outbox.tags({REASON_TAG: "its cell draws random numbers in training, which a pack would share"})
    return train_and_record(member.folder, member.built, stop, progress=progress)


class _Packed:
    """The members of a pack, and the open records of those that are still trained."""

    def __init__(self, members: Sequence[Member]) -> None:
        self._members = members
        self._results: dict[int, Result] = {}
        self._outboxes: dict[int, ExitStack] = {}
        self._places: dict[Replicate, int] = {}

    def train(self, stop: StopRequest, choice: Path | None, *, progress: bool) -> list[Result]:
        """Train all; whatever is raised, each member gets a result."""
        from undertow.train.pack.job import train_pack

        pack = uuid4().hex[:8]
        try:
            for place in range(len(self._members)):
                try:
                    self._open(place, pack)
                except UndertowError as error:
                    self._end(place, error)
            if self._places:
                train_pack(
                    list(self._places),
                    stop=stop,
                    on_end=lambda replicate, error: self._end(self._places[replicate], error),
                    progress=progress,
                    choice=choice,
                )
        except Exception as error:  # noqa: BLE001  (whatever it is, every run must end with a true status)
            for place in range(len(self._members)):
                if place not in self._results:
                    self._end(place, error)
        return [self._results[place] for place in range(len(self._members))]

    def _open(self, place: int, pack: str) -> None:
        from undertow.train.loggers import mirrored
        from undertow.train.pack.replicate import Replicate
        from undertow.train.record import Record

        member = self._members[place]
        self._outboxes[place] = ExitStack()
        outbox = self._outboxes[place].enter_context(Outbox(member.folder.outbox))
        config, folder = member.built.loaded.config, member.folder.path
        journal = self._outboxes[place].enter_context(mirrored(outbox, config, folder))
        record = Record(journal, known_steps(outbox), folder / "traceback.txt")
        outbox.tags({PACK_TAG: pack, SIZE_TAG: str(len(self._members))})
        self._places[Replicate(member.built, member.folder.checkpoints, record)] = place

    def _end(self, place: int, error: Exception | None) -> None:
        """Record how a member ended."""
        self._outboxes[place].close()
        member = self._members[place]
        result = _result(error, member.folder)
        record = next((each.record for each, of in self._places.items() if of == place), None)
        if record is not None:
            curves = {name: (list(curve.steps), list(curve.values)) for name, curve in record.curves.items()}
            result = replace(result, steps=record.steps, metrics=record.latest, curves=curves)
        self._results[place] = record_end(member.folder, member.built.loaded, result)


def _result(error: Exception | None, folder: RunFolder) -> Result:
    if error is None:
        return Result("FINISHED")
    return Result("KILLED", str(error)) if isinstance(error, Interrupted) else failure(error, folder.path)
