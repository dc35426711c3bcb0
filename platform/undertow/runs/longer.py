"""Training a run further than it was configured: ``undertow run --resume RUN --set train.max_steps=…``.

    require_more_steps(folder, ["train.max_steps=600"])     # refuses everything else
    create_folder(built, home, origin=folder)               # of the longer run; calls `begin_with`

MLflow's parameters cannot change, nor can rows be taken back, such as the final curves of the gradient. So the longer
training is a run of its own: it begins with the checkpoints of the first one and with a copy of its rows, and is what a
run of so many steps would have been from its start. The first run stays as it is.
"""

import json
import shutil
from collections.abc import Iterator, Sequence

from undertow._system.atomic import sync_tree
from undertow.config.source import Source, read_file
from undertow.errors import RequestError
from undertow.runs.result import Result
from undertow.tracking import Outbox, RunFolder

_KEY = "train.max_steps"
_FILES = ("last.ckpt", "best.ckpt")
_AT_THE_END = ("test/", "task/solved")
TAG = "undertow.continues"
"""The tag of a run that began where another one had ended; its value is the folder's name of that one."""


def require_more_steps(folder: RunFolder, overrides: Sequence[str]) -> None:
    """Check that a run can be trained further, and that nothing but its number of steps changes.

    Raises:
        RequestError: An override has another key, or not more steps than before; the run has not finished, ended early,
            or has no checkpoint.
    """
    source = Source({}, {})
    for text in overrides:
        if text.partition("=")[0].strip() != _KEY:
            raise RequestError(
                f"--set {text}: a run that is resumed keeps its configuration, except for `{_KEY}`. To begin with its "
                f"weights and another configuration: `train.start_from: {folder.path}`"
            )
        source.override(text)
    before = int(read_file(folder.config, largest=None).data["train"]["max_steps"])
    steps = source.data["train"]["max_steps"]
    if isinstance(steps, bool) or not isinstance(steps, int) or steps <= before:
        raise RequestError(f"--set {_KEY}={steps}: give a whole number above the {before} steps that the run has now")
    result = Result.read(folder.result) if folder.result.exists() else None
    if result is None or result.status != "FINISHED":
        raise RequestError(
            f"{folder.path.name} has not finished: resume it first, without --set {_KEY}, and then train it further"
        )
    if result.steps < before:
        raise RequestError(
            f"{folder.path.name} ended at step {result.steps} of {before}, before its last one (early stopping): more "
            f"steps would not change that. To go on from its weights: `train.start_from: {folder.path}`"
        )
    if not (folder.checkpoints / _FILES[0]).exists():
        raise RequestError(f"{folder.path.name} has no checkpoint, so that it cannot be trained further")


def begin_with(folder: RunFolder, origin: RunFolder) -> None:
    """Let a new run begin where another one has ended: with its checkpoints, and the rows of its training."""
    for name in _FILES:
        if (origin.checkpoints / name).exists():
            shutil.copyfile(origin.checkpoints / name, folder.checkpoints / name)
            sync_tree(folder.checkpoints / name, folder.path)
    with Outbox(folder.outbox) as outbox:
        outbox.tags({TAG: origin.path.name})
        for rows in _training_rows(origin):
            outbox.metrics(rows)


def _training_rows(origin: RunFolder) -> Iterator[list[tuple[str, float, int]]]:
    """The rows of a run without those written after its last step: test scores, final curves."""
    final = set(Result.read(origin.result).curves)
    for line in origin.outbox.read_text().splitlines():
        record = json.loads(line)
        if record["kind"] == "metrics":
            rows = [(name, value, step) for name, value, step, _ in record["rows"]]
            yield [row for row in rows if row[0] not in final and not row[0].startswith(_AT_THE_END)]
